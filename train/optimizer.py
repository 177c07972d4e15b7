"""The optimiser: AdamW behind gradient clipping, with warmup and a schedule counted in steps."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from train.config import Optimizer


def learning_rate(config: Optimizer, batch: int, steps: int) -> Callable[[Any], Any]:
    """Step to learning rate for a run of `steps` steps of `batch` samples."""
    warmup = max(1, min(config.warmup_samples // batch, steps // 10))
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(config.lr, max(1, steps - warmup), alpha=config.final_lr / config.lr)
    else:
        after = optax.constant_schedule(config.lr)
    rise = optax.linear_schedule(config.lr / warmup, config.lr, warmup)
    return optax.join_schedules([rise, after], [warmup])


def make_optimizer(config: Optimizer, batch: int, steps: int) -> optax.GradientTransformation:
    """Clipping by global norm, then AdamW whose decay spares vectors (biases, scales)."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(
            learning_rate(config, batch, steps),
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=_matrices,
        ),
    )


def _matrices(params: optax.Params) -> optax.Params:
    return jax.tree.map(lambda x: x.ndim > 1, params)
