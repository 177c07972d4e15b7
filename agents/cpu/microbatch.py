"""Microbatches so small that a core's cache holds their activations."""

import math
from collections.abc import Callable

import jax


def in_microbatches(function: Callable[[jax.Array], jax.Array], x_N: jax.Array, samples: int) -> jax.Array:
    """`function` of at most `samples` of the leading axis at a time: [N / n, n, ...], n the largest common divisor."""
    return jax.lax.map(function, x_N.reshape(-1, math.gcd(len(x_N), samples), *x_N.shape[1:]))
