"""Convolutions of Atari networks, each either by XLA or, for a CPU, as matrix products (`agents.cpu.im2col`).

N samples, P = 21 x 21 blocks of a frame, K the kernel's size, C channels in, D features out.
"""

import functools

import jax
import jax.numpy as jnp

from agents.atari.blocks import SIDE, kernel_of_blocks
from agents.cpu.im2col import over_blocks, over_patches, shifted


def first_convolution(blocks_NxPx64: jax.Array, kernel_8x8x4xD: jax.Array, *, im2col: bool) -> jax.Array:
    """The 8x8 convolution of stride 4 of pixels scaled to [0, 1], [N, 20, 20, D] in the kernel's dtype."""
    # The kernel is scaled instead of the pixels, which are more.
    kernel_64x4D = kernel_of_blocks(kernel_8x8x4xD / 255)
    if im2col:
        return over_blocks(blocks_NxPx64, kernel_64x4D)
    image = blocks_NxPx64.reshape(-1, SIDE, SIDE, len(kernel_64x4D)).astype(kernel_64x4D.dtype)
    return _by_xla(image, kernel_64x4D.reshape(len(kernel_64x4D), 2, 2, -1).transpose(1, 2, 0, 3), 1, "VALID")


def convolution(x_NxHxWxC: jax.Array, kernel_KxKxCxD: jax.Array, stride: int, *, im2col: bool) -> jax.Array:
    """A convolution without padding, [N, H', W', D]."""
    if im2col:
        return over_patches(x_NxHxWxC, kernel_KxKxCxD, stride)
    return _by_xla(x_NxHxWxC, kernel_KxKxCxD, stride, "VALID")


def same_convolution(x_NxHxWxC: jax.Array, kernel_3x3xCxD: jax.Array, *, im2col: bool) -> jax.Array:
    """A 3x3 convolution of stride 1 that keeps the size, [N, H, W, D]."""
    if im2col:
        return over_patches(jnp.pad(x_NxHxWxC, ((0, 0), (1, 1), (1, 1), (0, 0))), kernel_3x3xCxD, 1)
    return _by_xla(x_NxHxWxC, kernel_3x3xCxD, 1, "SAME")


def max_pool(x_NxHxWxC: jax.Array) -> jax.Array:
    """3x3 max-pool of stride 2, padded by one on every side: [N, H / 2, W / 2, C], halves rounded up."""
    low = jnp.array(-jnp.inf, x_NxHxWxC.dtype)
    padded = jnp.pad(x_NxHxWxC, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=low)
    return functools.reduce(jnp.maximum, shifted(padded, 3, 2))


def _by_xla(x_NxHxWxC: jax.Array, kernel_KxKxCxD: jax.Array, stride: int, padding: str) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x_NxHxWxC, kernel_KxKxCxD, (stride, stride), padding, dimension_numbers=layout)
