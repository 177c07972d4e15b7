"""Optimisers and learning-rate schedules."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from agents.spec import Agent
from train.config import Optimizer
from train.scaling import mup

_SMALL = 2**16
"""Numbers of an array below which its norm is summed with others'."""


def make_optimizer(
    lr: Callable[[Any], Any],
    *,
    clip: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float | None = None,
) -> optax.GradientTransformation:
    """Clipping by global norm, then Adam; AdamW unless `weight_decay` is None, without decay of biases and scales.

    `lr` maps the optimiser step to the learning rate.
    """
    if weight_decay is None:
        adam = optax.adam(lr, b1=b1, b2=b2, eps=eps)
    else:
        adam = optax.adamw(lr, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=_matrices)
    return optax.chain(clipped(clip), adam)


def clipped(most: float) -> optax.GradientTransformation:
    """Clipping by global norm, as `optax.clip_by_global_norm`, with the norm of `global_norm`."""

    def update(updates: optax.Updates, state: optax.EmptyState, params: optax.Params | None = None) -> Any:
        norm = global_norm(updates)
        factor = jnp.where(norm < most, jnp.float32(1), jnp.float32(most) / norm)
        return jax.tree.map(lambda x: x * factor, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)  # pyright: ignore


def global_norm(tree: Any) -> jax.Array:
    """L2 norm of all numbers of a tree, float32."""
    return jnp.sqrt(sum(squares(tree), start=jnp.float32(0)))


def squares(tree: Any) -> list[jax.Array]:
    """Sums of the squared numbers of a tree, float32: of each large array, and last of all small ones together.

    A GPU launches a kernel for each sum.
    """
    leaves = jax.tree.leaves(tree)
    small = [jnp.zeros(0, jnp.float32), *(x.ravel() for x in leaves if x.size < _SMALL)]
    vectors = [*(x for x in leaves if x.size >= _SMALL), jnp.concatenate(small)]
    return [jnp.vdot(x, x) for x in vectors]


def bc_optimizer(config: Optimizer, batch: int, steps: int, agent: Agent | None = None) -> optax.GradientTransformation:
    """The optimiser of behavioural cloning, for a run of `steps` steps of `batch` samples; µP needs the agent."""
    adam = make_optimizer(
        learning_rate(config, batch, steps),
        clip=config.clip,
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
    )
    if config.scaling == "standard":
        return adam
    assert agent is not None, "learning rates by width need the agent"
    return optax.chain(adam, mup.scale_updates(agent))


def learning_rate(config: Optimizer, batch: int, steps: int) -> Callable[[Any], Any]:
    """The learning-rate schedule of behavioural cloning: from the optimiser step to the learning rate.

    Of `wsd`, the trunk's, which does not depend on `steps`. "auto" is that of a single budget, cosine.
    """
    warmup = max(1, config.warmup_samples // batch)
    if config.schedule != "wsd":
        warmup = max(1, min(warmup, steps // 10))
    if config.schedule in ("auto", "cosine"):
        after = optax.cosine_decay_schedule(config.peak, max(1, steps - warmup), alpha=config.final_lr / config.peak)
    else:
        after = optax.constant_schedule(config.peak)
    rise = optax.linear_schedule(config.peak / warmup, config.peak, warmup)
    return optax.join_schedules([rise, after], [warmup])


def _matrices(params: optax.Params) -> optax.Params:
    return jax.tree.map(lambda x: x.ndim > 1, params)
