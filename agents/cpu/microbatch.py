"""Microbatches so small that a core's cache holds their activations."""

import math
from collections.abc import Callable
from typing import Any

import jax


def in_microbatches(function: Callable[[Any], Any], x_N: Any, samples: int) -> Any:
    """`function` of at most `samples` of the leading axis at a time: [N / n, n, ...], n the largest common divisor.

    `x_N` may be a tree of arrays.
    """
    size = math.gcd(len(jax.tree.leaves(x_N)[0]), samples)
    return jax.lax.map(function, jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), x_N))
