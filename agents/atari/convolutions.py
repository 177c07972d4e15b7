"""The networks of `agents.atari.cnn` and `agents.atari.impala`, as Flax modules.

`im2col` says whether convolutions are matrix products (`agents.atari.im2col`), which is for a CPU, or XLA's own.
N samples, C channels in, D out.
"""

import functools
from itertools import pairwise

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.atari.cnn import CNN, LAYERS
from agents.atari.im2col import blocks_of, convolve, first_layer, layer, over_patches, shifted, stacks_of
from agents.atari.impala import BLOCKS, IMPALA


class Weights(nn.Module):
    """Kernel and bias of a convolution, float32."""

    shape: tuple[int, int, int, int]

    @nn.compact
    def __call__(self, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
        """The kernel [rows, columns, C, D] and the bias [1, 1, 1, D], cast."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), self.shape)
        bias = self.param("bias", nn.initializers.zeros_init(), self.shape[-1:])
        return kernel.astype(dtype), bias[None, None, None].astype(dtype)


class Plain(nn.Module):
    """The paper's network."""

    config: CNN
    dtype: jnp.dtype
    im2col: bool

    @nn.compact
    def __call__(self, frames_BxFx84x84: jax.Array, oldest_BxT: jax.Array) -> jax.Array:
        """Logits [N, actions]."""
        x = blocks_of(frames_BxFx84x84, oldest_BxT)
        for number, ((_, side, stride), (inputs, outputs)) in enumerate(
            zip(LAYERS, pairwise(self.config.channels), strict=True)
        ):
            kernel, bias = Weights((side, side, inputs, outputs), name=f"conv{number}")(self.dtype)
            x = layer(x, kernel, stride, im2col=self.im2col) if number else first_layer(x, kernel, im2col=self.im2col)
            x = nn.relu(x + bias)
        return nn.Dense(self.config.actions, dtype=self.dtype, name="head")(x.reshape(len(x), -1))


class Residual(nn.Module):
    """IMPALA's network."""

    config: IMPALA
    dtype: jnp.dtype
    im2col: bool

    @nn.compact
    def __call__(self, frames_BxFx84x84: jax.Array, oldest_BxT: jax.Array) -> jax.Array:
        """Logits [N, actions]."""
        x = stacks_of(frames_BxFx84x84, oldest_BxT).astype(self.dtype)
        for number, channels in enumerate(self.config.channels[1:]):
            scale = 1.0 if number else 1 / 255
            x = Section(channels, scale, self.dtype, self.im2col, name=f"section{number}")(x)
        return nn.Dense(self.config.actions, dtype=self.dtype, name="head")(nn.relu(x).reshape(len(x), -1))


class Section(nn.Module):
    """Convolution, maximum, residual blocks."""

    channels: int
    scale: float
    """What x is multiplied by: in the weights, which are fewer."""
    dtype: jnp.dtype
    im2col: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[N, rows / 2, columns / 2, channels], halves rounded up."""
        x = halved(self._convolve(x, "conv", self.scale))
        for block in range(BLOCKS):
            inner = self._convolve(nn.relu(x), f"block{block}_conv0")
            x = x + self._convolve(nn.relu(inner), f"block{block}_conv1")
        return x

    def _convolve(self, x: jax.Array, name: str, scale: float = 1.0) -> jax.Array:
        """3 x 3, the size kept."""
        kernel, bias = Weights((3, 3, x.shape[-1], self.channels), name=name)(self.dtype)
        kernel = kernel * scale
        if self.im2col:
            return over_patches(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), kernel, 1) + bias
        return convolve(x, kernel, 1, "SAME") + bias


def halved(x: jax.Array) -> jax.Array:
    """The maximum of 3 x 3 places around every second."""
    low = jnp.array(-jnp.inf, x.dtype)
    wider = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=low)
    return functools.reduce(jnp.maximum, shifted(wider, 3, 2))
