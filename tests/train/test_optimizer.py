"""Learning-rate schedules and weight decay."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from train.config import Optimizer
from train.optimizer import bc_optimizer, clipped, global_norm, learning_rate


def test_the_schedule_rises_and_falls() -> None:
    optimizer = Optimizer(lr=1e-2, final_lr=1e-4, warmup_samples=100)
    rate = learning_rate(optimizer, 10, 1000)
    assert float(rate(0)) == pytest.approx(1e-3)
    assert float(rate(10)) == pytest.approx(1e-2)
    assert float(rate(1000)) == pytest.approx(1e-4, rel=1e-3)
    constant = learning_rate(dataclasses.replace(optimizer, schedule="constant"), 10, 1000)
    assert float(constant(999)) == pytest.approx(1e-2)


def test_weight_decay_spares_vectors() -> None:
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    optimizer = bc_optimizer(Optimizer(weight_decay=0.5, warmup_samples=0, lr=1e-2), 1, 100)
    grads = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    after: Any = optax.apply_updates(params, updates)
    assert float(after["bias"][0]) == 1.0
    assert float(after["kernel"][0, 0]) < 1.0


@pytest.mark.parametrize("most", [0.1, 1e6])
def test_clipping_is_optaxs(most: float) -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = {"large": (300, 300), "small": (7, 5), "scalar": ()}
    grads = {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=True)}
    np.testing.assert_allclose(global_norm(grads), optax.tree.norm(grads), rtol=1e-6)
    found, expected = (
        clip.update(grads, clip.init(grads))[0] for clip in (clipped(most), optax.clip_by_global_norm(most))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)
