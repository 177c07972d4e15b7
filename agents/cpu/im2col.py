"""Convolutions as matrix products: XLA's convolutions are slow on a CPU, its matrix products fast.

The first convolution, over blocks of pixels (`agents.atari.convolutions`), is the product of each block with the four
quarters of the kernel that may cover it, summed at an offset. Other convolutions are products with copied patches.

N samples, P blocks of a frame, C channels in, D features out.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np


@jax.custom_vjp
def over_blocks(blocks_NxPxC: jax.Array, kernel_Cx4D: jax.Array) -> jax.Array:
    """A 2x2 convolution of stride 1 over a square of P blocks, [N, sqrt(P) - 1, sqrt(P) - 1, D] in the kernel's dtype.

    `kernel_Cx4D` holds the four offsets side by side (`convolutions.kernel_of_blocks`). The blocks, which are
    data, get no gradient.
    """
    side = math.isqrt(blocks_NxPxC.shape[1])
    flat = blocks_NxPxC.astype(kernel_Cx4D.dtype).reshape(-1, kernel_Cx4D.shape[0])
    y = (flat @ kernel_Cx4D).reshape(-1, side, side, 2, 2, kernel_Cx4D.shape[1] // 4)
    return y[:, :-1, :-1, 0, 0] + y[:, :-1, 1:, 0, 1] + y[:, 1:, :-1, 1, 0] + y[:, 1:, 1:, 1, 1]


def _forward(blocks_NxPxC: jax.Array, kernel_Cx4D: jax.Array) -> tuple[jax.Array, jax.Array]:
    return over_blocks(blocks_NxPxC, kernel_Cx4D), blocks_NxPxC


def _backward(blocks_NxPxC: jax.Array, gradient_NxHxHxD: jax.Array) -> tuple[np.ndarray, jax.Array]:
    """The kernel's gradient as one product: all samples' blocks end to end, the gradient side by side at four offsets.

    Autodiff would scatter each of the four offsets into an array of its own: half as fast.
    """
    side, features = math.isqrt(blocks_NxPxC.shape[1]), gradient_NxHxHxD.shape[-1]
    flat = blocks_NxPxC.astype(gradient_NxHxHxD.dtype).reshape(-1, blocks_NxPxC.shape[-1])
    # Zero in the last row and column of blocks, so that what an offset moves past an edge adds nothing.
    gradient = jnp.pad(gradient_NxHxHxD, ((0, 0), (0, 1), (0, 1), (0, 0))).reshape(-1, features)
    offsets = (0, 1, side, side + 1)
    late = jnp.pad(gradient, ((offsets[-1], 0), (0, 0)))
    beside = jnp.concatenate([late[offsets[-1] - offset :][: len(flat)] for offset in offsets], axis=1)
    return np.zeros(blocks_NxPxC.shape, jax.dtypes.float0), flat.T @ beside


over_blocks.defvjp(_forward, _backward)


def over_patches(x_NxHxWxC: jax.Array, kernel_KxKxCxD: jax.Array, stride: int) -> jax.Array:
    """A convolution without padding, [N, H', W', D], as a product with the K x K patch of each position."""
    side, _, _, features = kernel_KxKxCxD.shape
    return jnp.concatenate(shifted(x_NxHxWxC, side, stride), axis=-1) @ kernel_KxKxCxD.reshape(-1, features)


def shifted(x_NxHxWxC: jax.Array, side: int, stride: int) -> list[jax.Array]:
    """The `side` x `side` patches at every `stride`, one array [N, H', W', C] for each position inside a patch."""
    rows, columns = (stride * ((size - side) // stride) + 1 for size in x_NxHxWxC.shape[1:3])
    return [
        x_NxHxWxC[:, row : row + rows : stride, column : column + columns : stride]
        for row in range(side)
        for column in range(side)
    ]
