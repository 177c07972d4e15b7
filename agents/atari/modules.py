"""The networks of `agents.atari.cnn` and `agents.atari.impala` as Flax modules. N samples."""

from itertools import pairwise

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.atari.blocks import blocks_of, stacks_of
from agents.atari.cnn import CNN, LAYERS
from agents.atari.convolutions import convolution, first_convolution, max_pool, same_convolution
from agents.atari.impala import BLOCKS, IMPALA


class Convolution(nn.Module):
    """Parameters of a convolution, float32."""

    shape: tuple[int, int, int, int]

    @nn.compact
    def __call__(self, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
        """The kernel [rows, columns, in, out] and the bias [1, 1, 1, out], cast to `dtype`."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), self.shape)
        bias = self.param("bias", nn.initializers.zeros_init(), self.shape[-1:])
        return kernel.astype(dtype), bias[None, None, None].astype(dtype)


class Plain(nn.Module):
    """The network of `agents.atari.cnn`."""

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
            kernel, bias = Convolution((side, side, inputs, outputs), name=f"conv{number}")(self.dtype)
            if number == 0:
                x = first_convolution(x, kernel, im2col=self.im2col)
            else:
                x = convolution(x, kernel, stride, im2col=self.im2col)
            x = nn.relu(x + bias)
        return nn.Dense(self.config.actions, dtype=self.dtype, name="head")(x.reshape(len(x), -1))


class Residual(nn.Module):
    """The network of `agents.atari.impala`."""

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
    """Convolution, max-pool, residual blocks."""

    channels: int
    scale: float
    """Factor of the input, applied to the first kernel, which is smaller."""
    dtype: jnp.dtype
    im2col: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[N, rows / 2, columns / 2, channels], halves rounded up."""
        x = max_pool(self._convolve(x, "conv", self.scale))
        for block in range(BLOCKS):
            inner = self._convolve(nn.relu(x), f"block{block}_conv0")
            x = x + self._convolve(nn.relu(inner), f"block{block}_conv1")
        return x

    def _convolve(self, x: jax.Array, name: str, scale: float = 1.0) -> jax.Array:
        """A 3x3 convolution that keeps the size."""
        kernel, bias = Convolution((3, 3, x.shape[-1], self.channels), name=name)(self.dtype)
        return same_convolution(x, kernel * scale, im2col=self.im2col) + bias
