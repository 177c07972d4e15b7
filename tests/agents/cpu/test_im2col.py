"""What a CPU computes otherwise gives XLA's values and gradients."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.cpu.im2col import max_pool, same_3x3


def by_xla(x: jax.Array, kernel: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)


def value_and_gradients(function: Callable[..., jax.Array], *inputs: jax.Array) -> list[np.ndarray]:
    weights = jax.random.normal(jax.random.key(2), jax.eval_shape(function, *inputs).shape)
    gradient = jax.grad(lambda *x: (function(*x) * weights).sum(), argnums=tuple(range(len(inputs))))
    return [np.asarray(x) for x in (function(*inputs), *gradient(*inputs))]


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 12, 16])
def test_a_convolution_and_its_gradients_are_xlas(samples: int) -> None:
    x = jax.random.normal(jax.random.key(0), (samples, 5, 7, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 4))
    found, expected = (value_and_gradients(function, x, kernel) for function in (same_3x3, by_xla))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "columns"), [(21, 80), (11, 40), (6, 3)])
def test_a_pool_and_its_gradient_are_flaxs(rows: int, columns: int) -> None:
    """Without ties, of which ours shares the gradient."""
    x = jax.random.normal(jax.random.key(0), (2, rows, columns, 3))
    found = value_and_gradients(max_pool, x)
    expected = value_and_gradients(lambda x: nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME"), x)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_what_ties_shares_the_gradient() -> None:
    gradient = jax.grad(lambda x: max_pool(x).sum())(jnp.zeros((1, 2, 2, 1)))
    assert float(gradient.sum()) == 1
