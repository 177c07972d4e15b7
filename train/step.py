"""The jitted training step of behavioural cloning. B lanes, T steps of a window."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from agents.cpu.microbatch import accumulated
from agents.spec import Agent, Carry, Dropout, Params
from data.spec import Batch
from train.mesh import over_lanes, replicated
from train.state import TrainState


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


def make_train_step(
    agent: Agent,
    optimizer: optax.GradientTransformation,
    *,
    average: float,
    dropout: float,
    seed: int,
    mesh: Mesh,
) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
    """Compile `(state, batch) → (state, metrics)`, with lanes sharded over the mesh. The state is donated.

    `average` is `Optimizer.average`, `dropout` the rate, `seed` that of the dropout.

    Raises: ValueError: the agent has no dropout (when the step is traced).
    """
    loss_and_grad = jax.value_and_grad(partial(_loss, agent), has_aux=True)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        noise = None
        if dropout:
            # With the default generator, drawing the noise takes a fifth of a CPU's step.
            noise = Dropout(dropout, jax.random.fold_in(jax.random.key(seed, impl="rbg"), state.step))

        samples = batch.mask.astype(jnp.float32).sum()
        if agent.microbatch is None:
            (loss, aux), grads = loss_and_grad(state.params, batch, state.carry, noise, samples)
        elif noise is None:
            in_parts = accumulated(loss_and_grad, agent.microbatch, mesh)
            (loss, aux), grads = in_parts(state.params, batch, state.carry, samples)
        else:
            raise ValueError(f"{agent.name} has no dropout")
        carry, top1, top3, entropy = aux
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        done = state.step + 1
        kept = _averaged(state.average, params, average, done) if average else ()
        metrics = StepMetrics(loss, top1, top3, entropy, optax.tree.norm(grads), optax.tree.norm(updates))
        return TrainState(done, params, kept, opt_state, carry), metrics

    whole, lanes = replicated(mesh), over_lanes(mesh)
    state = TrainState(whole, whole, whole, whole, lanes)  # pyright: ignore[reportArgumentType]
    return jax.jit(step, in_shardings=(state, lanes), out_shardings=(state, whole), donate_argnums=0)


def _loss(
    agent: Agent, params: Params, batch: Batch, carry: Carry, noise: Dropout | None, samples: jax.Array
) -> tuple[jax.Array, tuple[Carry, jax.Array, jax.Array, jax.Array]]:
    """Cross-entropy, and the carry, top-1 and top-3 accuracy and entropy: sums over the batch divided by `samples`.

    `samples` counts those of the whole batch, of which `batch` may be a part.
    """
    logits, carry = agent.apply(params, batch.observation, batch.first, carry, noise)
    losses_BxT = optax.softmax_cross_entropy_with_integer_labels(logits, batch.action)
    # Ties count as errors.
    expert_BxT = jnp.take_along_axis(logits, batch.action[:, :, None], axis=-1)
    above_BxT = (logits >= expert_BxT).sum(axis=-1) - 1
    log_policy = jax.nn.log_softmax(logits)
    entropy_BxT = -(jnp.exp(log_policy) * log_policy).sum(axis=-1)

    def mean(values_BxT: jax.Array) -> jax.Array:
        return (values_BxT.astype(jnp.float32) * batch.mask.astype(jnp.float32)).sum() / samples

    return mean(losses_BxT), (carry, mean(above_BxT < 1), mean(above_BxT < 3), mean(entropy_BxT))


def _averaged(average: Params, params: Params, fraction: float, step: jax.Array) -> Params:
    """Moving average over about the last `fraction` of the steps so far.

    With rate 1 / (fraction · t) at step t, the weight of step s is proportional to (s / t)^(1/fraction − 1).
    """
    rate = 1 / jnp.maximum(jnp.float32(1), jnp.float32(fraction) * step.astype(jnp.float32))
    return jax.tree.map(lambda a, p: a + rate * (p - a), average, params)
