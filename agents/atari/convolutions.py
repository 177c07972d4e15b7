"""Stacks of frames and the convolutions over them, by XLA or, for a CPU, as matrix products (`agents.cpu.im2col`).

A batch holds single frames; a network reads stacks of four, or stacks cut into blocks of 4x4 pixels. On blocks, an 8x8
convolution of stride 4 is a 2x2 convolution of stride 1.

N samples (lanes x steps), P = 21 x 21 blocks of a frame, 64 = 4 frames x 4 rows x 4 columns, K the kernel's size, C
channels in, D features out.
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp

from agents.cpu.im2col import over_blocks, over_patches, shifted
from data.spec import FRAME_ROWS, STACK

BLOCK = 4
"""Side of a block: the first convolution's stride, half of its kernel."""
SIDE = FRAME_ROWS // BLOCK
"""Blocks in a row and in a column."""


def blocks_of(frames_BxFx84x84: jax.Array, oldest_BxT: jax.Array) -> jax.Array:
    """Stacks uint8 [N, P, 64] in blocks: step t of lane b shows the four frames from `oldest[b, t]` on."""
    lanes, frames = frames_BxFx84x84.shape[:2]
    cut = frames_BxFx84x84.reshape(lanes, frames, SIDE, BLOCK, SIDE, BLOCK).transpose(0, 1, 2, 4, 3, 5)
    blocks = jnp.concatenate(_oldest_first(cut.reshape(lanes, frames, SIDE**2, BLOCK**2), oldest_BxT), axis=-1)
    return blocks.reshape(-1, *blocks.shape[2:])


def stacks_of(frames_BxFx84x84: jax.Array, oldest_BxT: jax.Array) -> jax.Array:
    """Stacks uint8 [N, 84, 84, 4], newest frame last; arguments as of `blocks_of`."""
    stacks = jnp.stack(_oldest_first(frames_BxFx84x84, oldest_BxT), axis=-1)
    return stacks.reshape(-1, *stacks.shape[2:])


def _oldest_first(frames_BxF: jax.Array, oldest_BxT: jax.Array) -> list[jax.Array]:
    """The four frames of each step, four arrays [B, T, ...].

    Taken lane by lane: where lanes are sharded over devices, no frame crosses between them.
    """

    def take(frames_F: jax.Array, oldest_T: jax.Array, number: int) -> jax.Array:
        return jnp.take(frames_F, oldest_T + number, axis=0, mode="clip")

    return [jax.vmap(partial(take, number=number))(frames_BxF, oldest_BxT) for number in range(STACK)]


def kernel_of_blocks(kernel_8x8x4xD: jax.Array) -> jax.Array:
    """The first convolution's kernel as [64, 4 D]: the weights of a block's pixels at each of the four offsets."""
    features = kernel_8x8x4xD.shape[-1]
    halves = kernel_8x8x4xD.reshape(2, BLOCK, 2, BLOCK, STACK, features)
    return halves.transpose(4, 1, 3, 0, 2, 5).reshape(STACK * BLOCK**2, 4 * features)


def first_convolution(
    blocks_NxPx64: jax.Array, kernel_8x8x4xD: jax.Array, dtype: jnp.dtype, *, im2col: bool
) -> jax.Array:
    """The 8x8 convolution of stride 4 of pixels scaled to [0, 1], [N, 20, 20, D], computed in `dtype`."""
    # The kernel is scaled instead of the pixels, which are more and which bfloat16 holds exactly.
    kernel_64x4D = kernel_of_blocks((kernel_8x8x4xD / 255).astype(dtype))
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
    return reduce(jnp.maximum, shifted(padded, 3, 2))


def _by_xla(x_NxHxWxC: jax.Array, kernel_KxKxCxD: jax.Array, stride: int, padding: str) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x_NxHxWxC, kernel_KxKxCxD, (stride, stride), padding, dimension_numbers=layout)
