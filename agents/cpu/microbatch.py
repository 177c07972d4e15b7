"""Microbatches: a batch in parts so small that a core's cache holds their activations.

B lanes, T steps of a window.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from agents.spec import Carry, Params
from data.spec import Batch


def accumulated(loss_and_grad: Callable[..., Any], samples: int, mesh: Mesh) -> Callable[..., Any]:
    """Gradient accumulation over microbatches of about `samples` samples, on each device over its own lanes.

    `loss_and_grad(params, batch, carry, None, total)` returns `((loss, (carry, *metrics)), grads)`, where `loss` and
    the three `metrics` are sums over the batch divided by `total`, so that they add up over microbatches. The returned
    function takes the same arguments without the `None`. Gradients cross between devices once, at the end.
    """

    def on_device(params: Params, batch: Batch, carry: Carry, total: jax.Array) -> Any:
        lanes, window = batch.mask.shape
        size = max(n for n in range(1, max(1, samples // window) + 1) if lanes % n == 0)

        def add(sums: Any, part: tuple[Batch, Carry]) -> tuple[Any, Carry]:
            (loss, (after, *metrics)), grads = loss_and_grad(params, *part, None, total)
            return jax.tree.map(jnp.add, sums, (loss, metrics, grads)), after

        parts = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), (batch, carry))
        zero = jnp.float32(0), [jnp.float32(0)] * 3, jax.tree.map(jnp.zeros_like, params)
        sums, after = jax.lax.scan(add, zero, parts)
        loss, metrics, grads = jax.lax.psum(sums, "data")
        carry = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), after)
        return (loss, (carry, *metrics)), grads

    whole, lanes = PartitionSpec(), PartitionSpec("data")
    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(whole, lanes, lanes, whole),
        out_specs=((whole, (lanes, whole, whole, whole)), whole),
        # The check would insert a psum after every microbatch.
        check_vma=False,
    )


def in_microbatches(function: Callable[[jax.Array], jax.Array], x_N: jax.Array, samples: int) -> jax.Array:
    """`function` of at most `samples` of the leading axis at a time: [N / n, n, ...], n the largest common divisor."""
    return jax.lax.map(function, x_N.reshape(-1, math.gcd(len(x_N), samples), *x_N.shape[1:]))
