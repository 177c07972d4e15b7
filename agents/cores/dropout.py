"""Dropout whose mask is a function of (seed, step, lane, position), however the lanes are sharded or cut into parts."""

import jax
import jax.numpy as jnp
import numpy as np

from agents.spec import Dropout


def dropped(x_BxTxD: jax.Array, dropout: Dropout | None, layer: int) -> jax.Array:
    """Inverted dropout: a fraction `rate` of the entries is 0, the others are divided by 1 - rate; unchanged if None.

    The mask hashes a lane's bits with the position within the lane (`layer` tells masks of a network apart), so that it
    is the same in a microbatch, on another mesh and when a layer is recomputed, and is never stored.
    """
    if dropout is None:
        return x_BxTxD
    steps, features = x_BxTxD.shape[1:]
    position_TxD = jax.lax.iota(jnp.uint32, steps * features).reshape(steps, features)
    # Weyl sequence: positions of different layers start far apart.
    offset = jnp.uint32((layer + 1) * 0x9E3779B9 % 2**32)
    bits_BxTxD = _mix(dropout.bits[:, None, None] ^ _mix(position_TxD + offset)[None])
    kept_BxTxD = bits_BxTxD >= jnp.uint32(round(dropout.rate * 2**32))
    return jnp.where(kept_BxTxD, x_BxTxD / jnp.asarray(1 - dropout.rate, x_BxTxD.dtype), jnp.zeros((), x_BxTxD.dtype))


def _mix(x: jax.Array) -> jax.Array:
    """The 32-bit finaliser of MurmurHash3 (Appleby 2011, public domain): every input bit changes half the output."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> jnp.uint32(shift))) * jnp.uint32(np.uint32(factor))
    return x ^ (x >> jnp.uint32(16))
