"""Convolutions as matrix products: XLA's convolutions are slow on a CPU, its matrix products fast.

The first convolution, over blocks of pixels (`agents.atari.convolutions`), is the product of each block with the four
quarters of the kernel that may cover it, summed at an offset. Other convolutions are products with copied patches.

Of 3x3 convolutions that keep the size, in 16 and more channels, only the kernel's gradient is slow (`same_3x3`).

N samples, P blocks of a frame, C channels in, D features out.
"""

import math
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np

from agents.cpu.microbatch import in_microbatches

MICROBATCH = 8
"""Samples of which a kernel's gradient is computed at once: their patches fit a core's cache."""


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


@jax.custom_vjp
def same_3x3(x_NxHxWxC: jax.Array, kernel_3x3xCxD: jax.Array) -> jax.Array:
    """A 3x3 convolution of stride 1 that keeps the size, [N, H, W, D], by XLA."""
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x_NxHxWxC, kernel_3x3xCxD, (1, 1), "SAME", dimension_numbers=layout)


def _same_forward(x_NxHxWxC: jax.Array, kernel_3x3xCxD: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return same_3x3(x_NxHxWxC, kernel_3x3xCxD), (x_NxHxWxC, kernel_3x3xCxD)


def _same_backward(residuals: tuple[jax.Array, jax.Array], gradient_NxHxWxD: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The kernel's gradient as a product for each sample, of inputs side by side at three columns with gradients side
    by side at three rows: XLA's convolution takes twice as long, more in a larger batch.
    """
    x_NxHxWxC, kernel_3x3xCxD = residuals
    channels, features = kernel_3x3xCxD.shape[2:]

    def of_kernel(samples: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, gradient = samples
        rows, columns = x.shape[1:3]
        x = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
        gradient = jnp.pad(gradient, ((0, 0), (1, 1), (0, 0), (0, 0)))
        x = jnp.concatenate([x[:, :, place : place + columns] for place in range(3)], axis=-1)
        gradient = jnp.concatenate([gradient[:, 2 - place : 2 - place + rows] for place in range(3)], axis=-1)
        return jnp.einsum("nhwi,nhwo->nio", x, gradient, preferred_element_type=jnp.float32).sum(axis=0)

    parts = in_microbatches(of_kernel, (x_NxHxWxC, gradient_NxHxWxD), MICROBATCH)
    of_columns_and_rows = parts.sum(axis=0).reshape(3, channels, 3, features).transpose(2, 0, 1, 3)
    mirrored = kernel_3x3xCxD[::-1, ::-1].swapaxes(2, 3)
    return same_3x3(gradient_NxHxWxD, mirrored), of_columns_and_rows.astype(kernel_3x3xCxD.dtype)


same_3x3.defvjp(_same_forward, _same_backward)


def max_pool(x_NxHxWxC: jax.Array) -> jax.Array:
    """`nn.max_pool` of 3x3, stride 2 and padding SAME, as maxima of rows, then of columns: a tie shares the gradient.

    XLA's own, which finds the first of the largest again, takes five times as long on a CPU.
    """
    for axis in (1, 2):
        size = x_NxHxWxC.shape[axis]
        # SAME pads an odd size on both sides, an even one after the last.
        padding = [(0, 0)] * x_NxHxWxC.ndim
        padding[axis] = (size % 2, 1)
        padded = jnp.pad(x_NxHxWxC, padding, constant_values=jnp.array(-jnp.inf, x_NxHxWxC.dtype))
        stop = 2 * (-(-size // 2)) - 1
        shifts = [jax.lax.slice_in_dim(padded, place, place + stop, 2, axis) for place in range(3)]
        x_NxHxWxC = reduce(jnp.maximum, shifts)
    return x_NxHxWxC
