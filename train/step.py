"""The jitted, donated training step of behavioural cloning."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from agents.ladder import LadderAgent
from agents.spec import Agent, Carry, Dropout, Params
from data.spec import Batch
from train.mesh import over_lanes, replicated
from train.state import TrainState


class StepMetrics(NamedTuple):
    """Float32 scalars of one step, means over the batch's real samples."""

    loss: jax.Array
    """Cross-entropy, nats per sample."""
    top1: jax.Array
    """How often the expert's action is the likeliest."""
    top3: jax.Array
    """How often the expert's action is among the three likeliest."""
    grad_norm: jax.Array
    """Global norm before clipping."""


def make_train_step(
    agent: LadderAgent,
    optimizer: optax.GradientTransformation,
    *,
    average: float,
    dropout: float,
    seed: int,
    mesh: Mesh,
) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
    """Compile `(state, batch) → (state, metrics)`: lanes spread over the mesh, the old state's memory reused."""
    judge = jax.value_and_grad(partial(_judged, agent), has_aux=True)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        noise = None
        if dropout:
            # Hardware generator: with the default one, drawing the noise takes a fifth of a CPU's step.
            noise = Dropout(dropout, jax.random.fold_in(jax.random.key(seed, impl="rbg"), state.step))

        samples = batch.mask.astype(jnp.float32).sum()
        if agent.microbatch is None:
            judged, grads = judge(state.params, batch, state.carry, noise, samples)
        elif noise is None:
            judged, grads = _in_parts(judge, agent.microbatch, mesh)(state.params, batch, state.carry, samples)
        else:
            raise ValueError(f"{agent.name} has no dropout")
        loss, (carry, top1, top3) = judged
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        done = state.step + 1
        kept = _averaged(state.average, params, average, done) if average else ()
        metrics = StepMetrics(loss, top1, top3, optax.tree.norm(grads))
        return TrainState(done, params, kept, opt_state, carry), metrics

    whole, lanes = replicated(mesh), over_lanes(mesh)
    state = TrainState(whole, whole, whole, whole, lanes)  # pyright: ignore[reportArgumentType]
    return jax.jit(step, in_shardings=(state, lanes), out_shardings=(state, whole), donate_argnums=0)


Judged = tuple[jax.Array, tuple[Carry, jax.Array, jax.Array]]
"""The loss, the carry, and how often the expert's action ranks first and among the first three."""


def _judged(
    agent: Agent, params: Params, batch: Batch, carry: Carry, noise: Dropout | None, samples: jax.Array
) -> Judged:
    """What a batch of `samples` real samples says, or a part of it: then its share of the whole batch's means."""
    logits, carry = agent.apply(params, batch.observation, batch.first, carry, noise)
    losses_BxT = optax.softmax_cross_entropy_with_integer_labels(logits, batch.action)
    # Ties count against the expert's action.
    expert_BxT = jnp.take_along_axis(logits, batch.action[:, :, None], axis=-1)
    above_BxT = (logits >= expert_BxT).sum(axis=-1) - 1

    def mean(values_BxT: jax.Array) -> jax.Array:
        return (values_BxT.astype(jnp.float32) * batch.mask.astype(jnp.float32)).sum() / samples

    return mean(losses_BxT), (carry, mean(above_BxT < 1), mean(above_BxT < 3))


def _in_parts(judge: Callable[..., tuple[Judged, Params]], microbatch: int, mesh: Mesh) -> Callable[..., Any]:
    """`judge` of a batch, added up over parts of about `microbatch` samples, on each device over its own lanes.

    The gradients cross between the devices once, not with every part.
    """

    def on_device(params: Params, batch: Batch, carry: Carry, samples: jax.Array) -> tuple[Judged, Params]:
        lanes, window = batch.mask.shape
        each = max(size for size in range(1, max(1, microbatch // window) + 1) if lanes % size == 0)

        def add(sums: Any, part: tuple[Batch, Carry]) -> tuple[Any, Carry]:
            (loss, (after, *ranks)), grads = judge(params, *part, None, samples)
            return jax.tree.map(jnp.add, sums, (loss, ranks, grads)), after

        parts = jax.tree.map(lambda x: x.reshape(-1, each, *x.shape[1:]), (batch, carry))
        zero = jnp.float32(0), [jnp.float32(0)] * 2, jax.tree.map(jnp.zeros_like, params)
        sums, after = jax.lax.scan(add, zero, parts)
        loss, ranks, grads = jax.lax.psum(sums, "data")
        carry = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), after)
        return (loss, (carry, *ranks)), grads

    whole, lanes = PartitionSpec(), PartitionSpec("data")
    judged = whole, (lanes, whole, whole)
    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(whole, lanes, lanes, whole),
        out_specs=(judged, whole),
        # The sums differ between devices until `psum`, which the check would have after every part.
        check_vma=False,
    )


def _averaged(average: Params, params: Params, fraction: float, step: jax.Array) -> Params:
    """Exponential average whose span grows with the run: the last `fraction` of it, whenever it is read.

    With rate 1 / (fraction · step) the weight of a past step s at step t falls as (s / t)^(1/fraction − 1).
    """
    rate = 1 / jnp.maximum(jnp.float32(1), jnp.float32(fraction) * step.astype(jnp.float32))
    return jax.tree.map(lambda a, p: a + rate * (p - a), average, params)
