"""The jitted, donated training step of behavioural cloning."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

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
    agent: Agent,
    optimizer: optax.GradientTransformation,
    *,
    average: float,
    dropout: float,
    seed: int,
    mesh: Mesh,
) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
    """Compile `(state, batch) → (state, metrics)`: lanes spread over the mesh, the old state's memory reused."""

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        noise = None
        if dropout:
            # Hardware generator: with the default one, drawing the noise takes a fifth of a CPU's step.
            noise = Dropout(dropout, jax.random.fold_in(jax.random.key(seed, impl="rbg"), state.step))

        def loss_fn(params: Params) -> tuple[jax.Array, tuple[Carry, jax.Array, jax.Array]]:
            logits, carry = agent.apply(params, batch.observation, batch.first, state.carry, noise)
            return cross_entropy(logits, batch), (carry, *accuracy(logits, batch))

        (loss, (carry, top1, top3)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        done = state.step + 1
        kept = _averaged(state.average, params, average, done) if average else ()
        metrics = StepMetrics(loss, top1, top3, optax.tree.norm(grads))
        return TrainState(done, params, kept, opt_state, carry), metrics

    whole, lanes = replicated(mesh), over_lanes(mesh)
    state = TrainState(whole, whole, whole, whole, lanes)  # pyright: ignore[reportArgumentType]
    return jax.jit(step, in_shardings=(state, lanes), out_shardings=(state, whole), donate_argnums=0)


def cross_entropy(logits_BxTxA: jax.Array, batch: Batch) -> jax.Array:
    """Mean negative log-likelihood of the expert's actions, nats per real sample."""
    losses_BxT = optax.softmax_cross_entropy_with_integer_labels(logits_BxTxA, batch.action)
    return _mean(losses_BxT, batch.mask)


def accuracy(logits_BxTxA: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """How often the expert's action ranks first, and among the first three; ties count against it."""
    expert_BxT = jnp.take_along_axis(logits_BxTxA, batch.action[:, :, None], axis=-1)
    above_BxT = (logits_BxTxA >= expert_BxT).sum(axis=-1) - 1
    return _mean(above_BxT < 1, batch.mask), _mean(above_BxT < 3, batch.mask)


def _mean(values_BxT: jax.Array, mask_BxT: jax.Array) -> jax.Array:
    weights = mask_BxT.astype(jnp.float32)
    return (values_BxT.astype(jnp.float32) * weights).sum() / weights.sum()


def _averaged(average: Params, params: Params, fraction: float, step: jax.Array) -> Params:
    """Exponential average whose span grows with the run: the last `fraction` of it, whenever it is read.

    With rate 1 / (fraction · step) the weight of a past step s at step t falls as (s / t)^(1/fraction − 1).
    """
    rate = 1 / jnp.maximum(jnp.float32(1), jnp.float32(fraction) * step.astype(jnp.float32))
    return jax.tree.map(lambda a, p: a + rate * (p - a), average, params)
