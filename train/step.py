"""The jitted training step of behavioural cloning. B lanes, T steps of a window."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from agents.spec import Agent, Carry, Dropout, Params
from data.spec import Batch
from train.config import TrainConfig
from train.failure.skipping import all_finite, skip_nonfinite
from train.input.blocks import jitted
from train.mesh import over_fsdp
from train.optimizer import global_norm, squares
from train.schedule.decay import decay_factor
from train.state import TrainState, state_shardings


class StepMetrics(NamedTuple):
    """Float32 scalars of one step: means over the samples of the batch, without padding."""

    loss: jax.Array
    """Cross-entropy, nats per sample."""
    top1: jax.Array
    """Fraction of samples whose action is the most probable one."""
    top3: jax.Array
    """Fraction of samples whose action is among the three most probable ones."""
    entropy: jax.Array
    """Entropy of the policy, nats per sample."""
    grad_norm: jax.Array
    """Global norm of the gradient before clipping."""
    update_norm: jax.Array
    """Global norm of the change of the parameters."""
    skipped: jax.Array
    """Steps skipped in a row up to this one, int32; 0 if the step was applied."""


def make_train_step(
    agent: Agent,
    optimizer: optax.GradientTransformation,
    *,
    average: float,
    dropout: float,
    seed: int,
    mesh: Mesh,
    microbatch: int | None = None,
    max_skipped: int = TrainConfig.max_skipped,
    decay_to: float | None = None,
    block: int | None = None,
) -> jax.stages.Wrapped:
    """The jitted `(state, batch) → (state, metrics)`, with lanes sharded over the mesh. The state is donated.

    With `block`, the jitted steps of a block of that size (`train.input.blocks.jitted`).

    `average` is `Optimizer.average`, `dropout` the rate, `seed` that of the dropout, `microbatch` the most samples per
    device whose gradients are computed at once (None: `agent.microbatch`). A state with an empty carry begins every
    batch with the initial carry and ends it with an empty one. A step whose loss, gradient or carry is not finite is
    skipped, as is every step after `max_skipped` in a row. `decay_to` is the share of the optimiser's learning rate to
    which it decays in a branch (`TrainState.decay`); None: there are no branches.

    Raises: ValueError: the agent has no dropout (when the step is traced).
    """
    step = train_step(
        agent,
        optimizer,
        average=average,
        dropout=dropout,
        seed=seed,
        mesh=mesh,
        microbatch=microbatch,
        max_skipped=max_skipped,
        decay_to=decay_to,
    )
    state = state_shardings(agent, optimizer, mesh, averaged=average > 0)
    return jitted(step, state, mesh, block)


def train_step(
    agent: Agent,
    optimizer: optax.GradientTransformation,
    *,
    average: float,
    dropout: float,
    seed: int | jax.Array,
    mesh: Mesh | AbstractMesh,
    microbatch: int | None,
    max_skipped: int,
    decay_to: float | jax.Array | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
    """The function that `make_train_step` jits; hyperparameters of the optimiser, and `seed`, may be traced."""
    gradients = accumulated(partial(_loss, agent, dropout), microbatch or agent.microbatch, mesh)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        bits = jax.random.bits(key, batch.mask.shape[:1], jnp.uint32) if dropout else ()
        samples = batch.mask.astype(jnp.float32).sum()
        lanes = Lanes(batch, state.carry, bits)
        (loss, (carry, top1, top3, entropy)), grads = gradients(state.params, lanes, samples)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        if decay_to is not None:
            updates = optax.tree.scale(decay_factor(state.step, state.decay, decay_to), updates)
        params = optax.apply_updates(state.params, updates)
        done = state.step + 1
        kept = _averaged(state.average, params, average, done) if average else ()
        norm, (*large, small) = global_norm(grads), squares(updates)
        finite = all_finite(loss, norm, carry)
        # XLA is to read the moments of small arrays for this sum before it writes the new ones in their place, or it
        # copies them. Of a large array one kernel does both.
        finite, small = jax.lax.optimization_barrier((finite, small))
        after = TrainState(done, params, kept, opt_state, carry, state.skipped, state.decay, state.hyper)
        after = skip_nonfinite(state, after, finite, max_skipped)._replace(decay=state.decay)
        update_norm = jnp.sqrt(sum(large, start=small))
        return after, StepMetrics(loss, top1, top3, entropy, norm, update_norm, after.skipped)

    return step


class Lanes(NamedTuple):
    """What a batch has for each lane: arrays with leading axis B."""

    batch: Batch
    carry: Carry
    bits: Any
    """uint32 [B], random bits for dropout; an empty tuple without dropout."""


def accumulated(
    loss: Callable[..., Any], samples: int | None, mesh: Mesh | AbstractMesh
) -> Callable[[Params, Lanes, jax.Array], Any]:
    """Value and gradient of `loss`, accumulated in float32 over microbatches of each device's lanes.

    `loss(params, lanes, total)` returns `(loss, (carry, *metrics))`, where `loss` and the `metrics` are sums over the
    lanes divided by `total`, so that they add up. The result takes the same arguments, with the lanes of all devices,
    and returns `((loss, (carry, *metrics)), gradient)`. A device's lanes are cut into equal parts of at most `samples`
    samples, but at least one lane; None makes one part. Lanes keep their carry and dropout bits, so that the number of
    parts changes nothing but rounding. Gradients cross the mesh axis `data` once, after the last microbatch.
    """
    loss_and_grad = jax.value_and_grad(loss, has_aux=True)
    data, fsdp = mesh.shape["data"], mesh.shape["fsdp"]

    def on_data_shard(params: Params, of_lanes: Lanes, total: jax.Array) -> Any:
        lanes, window = of_lanes.batch.mask.shape
        parts = parts_of(lanes // fsdp, window, samples)

        def add(sums: Any, part: Lanes) -> tuple[Any, Carry]:
            (value, (after, *metrics)), grads = loss_and_grad(params, part, total)
            return sharded(jax.tree.map(jnp.add, sums, (value, metrics, grads))), after

        zero = sharded((jnp.float32(0), [jnp.float32(0)] * 3, jax.tree.map(jnp.zeros_like, params)))
        if parts == 1:
            sums, carry = add(zero, of_lanes)
        else:
            # Every device has lanes in every part: [fsdp parts n, ...] to [parts, fsdp n, ...].
            cut = jax.tree.map(lambda x: x.reshape(fsdp, parts, -1, *x.shape[1:]).swapaxes(0, 1), of_lanes)
            sums, after = jax.lax.scan(add, zero, jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[3:]), cut))
            carry = jax.tree.map(lambda x: x.reshape(parts, fsdp, -1, *x.shape[2:]).swapaxes(0, 1), after)
            carry = jax.tree.map(lambda x: x.reshape(lanes, *x.shape[3:]), carry)
        value, metrics, grads = jax.lax.psum(sums, "data") if data > 1 else sums
        return (value, (carry, *metrics)), grads

    def sharded(tree: Any) -> Any:
        # Inside of `shard_map` the mesh is another, of which only `fsdp` is left to XLA.
        within = jax.sharding.get_abstract_mesh()
        return jax.lax.with_sharding_constraint(tree, over_fsdp(within, tree)) if fsdp > 1 else tree

    if data == fsdp == 1:
        return on_data_shard
    whole, over_data = PartitionSpec(), PartitionSpec("data")
    return jax.shard_map(
        on_data_shard,
        mesh=mesh,
        in_specs=(whole, over_data, whole),
        out_specs=((whole, (over_data, whole, whole, whole)), whole),
        # Over `fsdp`, XLA shards by itself.
        axis_names={"data"} if fsdp > 1 else set(mesh.axis_names),
        # The check would insert a psum after every microbatch.
        check_vma=False,
    )


def parts_of(lanes: int, window: int, samples: int | None) -> int:
    """Number of equal parts of a device's `lanes`, each of at most `samples` samples and at least one lane."""
    most = lanes if samples is None else max(1, samples // window)
    return next(parts for parts in range(1, lanes + 1) if lanes % parts == 0 and lanes // parts <= most)


def _loss(
    agent: Agent, dropout: float, params: Params, lanes: Lanes, samples: jax.Array
) -> tuple[jax.Array, tuple[Carry, jax.Array, jax.Array, jax.Array]]:
    """Cross-entropy, and the carry, top-1 and top-3 accuracy and entropy: sums over the lanes divided by `samples`.

    `samples` counts those of the whole batch, of which `lanes` may be a part.
    """
    batch, noise = lanes.batch, Dropout(dropout, lanes.bits) if dropout else None
    carried = bool(jax.tree.leaves(lanes.carry))
    carry = lanes.carry if carried else agent.initial_carry(len(batch.mask))
    logits, after = agent.apply(params, batch.observation, batch.first, carry, noise)
    losses_BxT = optax.softmax_cross_entropy_with_integer_labels(logits, batch.action)
    # Ties count as errors, and so does a loss that is not finite.
    expert_BxT = jnp.take_along_axis(logits, batch.action[:, :, None], axis=-1)
    above_BxT = jnp.where(jnp.isfinite(losses_BxT), (logits >= expert_BxT).sum(axis=-1) - 1, logits.shape[-1])
    log_policy = jax.nn.log_softmax(logits)
    entropy_BxT = -(jnp.exp(log_policy) * log_policy).sum(axis=-1)

    of_samples_4xBxT = jnp.stack(
        [losses_BxT, *((above_BxT < most).astype(jnp.float32) for most in (1, 3)), entropy_BxT]
    )
    loss, *metrics = (of_samples_4xBxT * batch.mask.astype(jnp.float32)[None]).sum(axis=(1, 2)) / samples
    return loss, (after if carried else (), *metrics)


def _averaged(average: Params, params: Params, fraction: float, step: jax.Array) -> Params:
    """Moving average over about the last `fraction` of the steps so far.

    With rate 1 / (fraction · t) at step t, the weight of step s is proportional to (s / t)^(1/fraction − 1).
    """
    rate = 1 / jnp.maximum(jnp.float32(1), jnp.float32(fraction) * step.astype(jnp.float32))
    return jax.tree.map(lambda a, p: a + rate * (p - a), average, params)
