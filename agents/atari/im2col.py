"""Convolutions over frames as matrix products, and what prepares frames for them.

XLA's convolutions are slow on a CPU, its matrix products fast. So the frames are cut into blocks of 4 x 4 pixels, on
which a convolution of 8 x 8 with stride 4 is one of 2 x 2 with stride 1; that is the product of each block with four
quarters of the kernel, whose results are summed at a shift. The other convolutions are products with copied patches.

N samples (lanes x steps), P = 21 x 21 blocks of a frame, 64 = 4 frames x 4 rows x 4 columns, D features.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from data.spec import FRAME_ROWS, STACK

BLOCK = 4
"""Side of a block: the first convolution's stride, half of its kernel."""
SIDE = FRAME_ROWS // BLOCK
"""Blocks in a row and in a column."""


def blocks_of(frames_BxFx84x84: jax.Array, oldest_BxT: jax.Array) -> jax.Array:
    """Stacks uint8 [N, P, 64] of single frames: step t of lane b shows four frames from `oldest[b, t]` on."""
    lanes, frames = frames_BxFx84x84.shape[:2]
    cut = frames_BxFx84x84.reshape(lanes, frames, SIDE, BLOCK, SIDE, BLOCK).transpose(0, 1, 2, 4, 3, 5)
    blocks = jnp.concatenate(_older_first(cut.reshape(lanes, frames, SIDE**2, BLOCK**2), oldest_BxT), axis=-1)
    return blocks.reshape(-1, *blocks.shape[2:])


def stacks_of(frames_BxFx84x84: jax.Array, oldest_BxT: jax.Array) -> jax.Array:
    """Stacks uint8 [N, 84, 84, 4] of single frames, see `blocks_of`."""
    stacks = jnp.stack(_older_first(frames_BxFx84x84, oldest_BxT), axis=-1)
    return stacks.reshape(-1, *stacks.shape[2:])


def _older_first(frames_BxF: jax.Array, oldest_BxT: jax.Array) -> list[jax.Array]:
    """The four frames of each step, four arrays [B, T, ...].

    Taken lane by lane: where lanes are spread over devices, no frame has to cross.
    """

    def take(frames_F: jax.Array, oldest_T: jax.Array, number: int) -> jax.Array:
        return jnp.take(frames_F, oldest_T + number, axis=0, mode="clip")

    return [jax.vmap(partial(take, number=number))(frames_BxF, oldest_BxT) for number in range(STACK)]


def quarters(kernel_8x8x4xD: jax.Array) -> jax.Array:
    """The first convolution's kernel as [64, 4 D]: for each block that it covers, what its pixels weigh."""
    features = kernel_8x8x4xD.shape[-1]
    halves = kernel_8x8x4xD.reshape(2, BLOCK, 2, BLOCK, STACK, features)
    return halves.transpose(4, 1, 3, 0, 2, 5).reshape(STACK * BLOCK**2, 4 * features)


@jax.custom_vjp
def over_blocks(blocks_NxPx64: jax.Array, kernel_64x4D: jax.Array) -> jax.Array:
    """The first convolution, [N, 20, 20, D] in the kernel's dtype, of blocks uint8 and a kernel of `quarters`.

    The blocks get no gradient.
    """
    flat = blocks_NxPx64.astype(kernel_64x4D.dtype).reshape(-1, kernel_64x4D.shape[0])
    y = (flat @ kernel_64x4D).reshape(-1, SIDE, SIDE, 2, 2, kernel_64x4D.shape[1] // 4)
    return y[:, :-1, :-1, 0, 0] + y[:, :-1, 1:, 0, 1] + y[:, 1:, :-1, 1, 0] + y[:, 1:, 1:, 1, 1]


def _forward(blocks_NxPx64: jax.Array, kernel_64x4D: jax.Array) -> tuple[jax.Array, jax.Array]:
    return over_blocks(blocks_NxPx64, kernel_64x4D), blocks_NxPx64


def _backward(blocks_NxPx64: jax.Array, gradient_Nx20x20xD: jax.Array) -> tuple[np.ndarray, jax.Array]:
    """The kernel's gradient as one product: all samples' blocks end to end, the gradient beside itself at four shifts.

    Left to autodiff the four shifts are scattered into an array of their own: half as fast.
    """
    features = gradient_Nx20x20xD.shape[-1]
    flat = blocks_NxPx64.astype(gradient_Nx20x20xD.dtype).reshape(-1, blocks_NxPx64.shape[-1])
    # Zero in the last row and column of blocks, so that what is shifted past an edge weighs nothing.
    gradient = jnp.pad(gradient_Nx20x20xD, ((0, 0), (0, 1), (0, 1), (0, 0))).reshape(-1, features)
    shifts = (0, 1, SIDE, SIDE + 1)
    late = jnp.pad(gradient, ((shifts[-1], 0), (0, 0)))
    beside = jnp.concatenate([late[shifts[-1] - shift :][: len(flat)] for shift in shifts], axis=1)
    return np.zeros(blocks_NxPx64.shape, jax.dtypes.float0), flat.T @ beside


over_blocks.defvjp(_forward, _backward)


def over_patches(x_NxHxWxC: jax.Array, kernel_KxKxCxD: jax.Array, stride: int) -> jax.Array:
    """A convolution without padding, [N, H', W', D], as a product with each place's K x K patch."""
    side, _, _, features = kernel_KxKxCxD.shape
    return jnp.concatenate(shifted(x_NxHxWxC, side, stride), axis=-1) @ kernel_KxKxCxD.reshape(-1, features)


def shifted(x_NxHxWxC: jax.Array, side: int, stride: int) -> list[jax.Array]:
    """Of the `side` x `side` patches at every `stride`, what each of their places holds: arrays [N, H', W', C]."""
    rows, columns = (stride * ((size - side) // stride) + 1 for size in x_NxHxWxC.shape[1:3])
    return [
        x_NxHxWxC[:, row : row + rows : stride, column : column + columns : stride]
        for row in range(side)
        for column in range(side)
    ]


def first_layer(blocks_NxPx64: jax.Array, kernel_8x8x4xD: jax.Array, *, im2col: bool) -> jax.Array:
    """The first convolution of pixels scaled to [0, 1], [N, 20, 20, D] in the kernel's dtype, in either form."""
    # The weights are scaled instead of the pixels, which are more.
    kernel_64x4D = quarters(kernel_8x8x4xD / 255)
    if im2col:
        return over_blocks(blocks_NxPx64, kernel_64x4D)
    image = blocks_NxPx64.reshape(-1, SIDE, SIDE, len(kernel_64x4D)).astype(kernel_64x4D.dtype)
    return convolve(image, kernel_64x4D.reshape(len(kernel_64x4D), 2, 2, -1).transpose(1, 2, 0, 3), 1)


def layer(x_NxHxWxC: jax.Array, kernel_KxKxCxD: jax.Array, stride: int, *, im2col: bool) -> jax.Array:
    """A later convolution without padding, in either form."""
    return (over_patches if im2col else convolve)(x_NxHxWxC, kernel_KxKxCxD, stride)


def convolve(x_NxHxWxC: jax.Array, kernel_KxKxCxD: jax.Array, stride: int, padding: str = "VALID") -> jax.Array:
    """A convolution as XLA has it, [N, H', W', D]."""
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(x_NxHxWxC, kernel_KxKxCxD, strides, padding, dimension_numbers=layout)
