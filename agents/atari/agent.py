"""The Atari agent: a feed-forward network of the last four frames. N samples."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.atari.cnn import CNN, LAYERS
from agents.atari.convolutions import (
    blocks_of,
    convolution,
    first_convolution,
    max_pool,
    same_convolution,
    stacks_of,
)
from agents.atari.impala import IMPALA
from agents.cpu.devices import on_cpu, resolve_dtype
from agents.layers import Dense, biased
from agents.memoryless import Memoryless
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK

MICROBATCH = 8
"""Samples per microbatch on a CPU: of 8, 16, 32 and 256 the fastest for the paper's networks."""


@dataclass(frozen=True)
class AtariAgent(Memoryless):
    """A policy for an Atari game; see `agents.spec.Agent`."""

    network: CNN | IMPALA
    im2col: bool = False
    """Compute for a CPU: convolutions as matrix products, gradients in microbatches."""

    inputs = ("frames", "oldest")

    @property
    def microbatch(self) -> int | None:
        """`MICROBATCH` on a CPU, else None; see `agents.spec.Agent`."""
        return MICROBATCH if self.im2col else None

    def for_backend(self, dtype: str = "auto", backend: str | None = None) -> "AtariAgent":
        """The same agent as JAX's default backend computes it best; see `agents.spec.Agent`."""
        return dataclasses.replace(self, dtype=resolve_dtype(dtype, backend), im2col=on_cpu(backend))

    def example(self) -> Mapping[str, jax.Array]:
        """A stack of black frames."""
        frames = jnp.zeros((1, STACK, FRAME_ROWS, FRAME_COLUMNS), jnp.uint8)
        return {"frames": frames, "oldest": jnp.zeros((1, 1), jnp.int32)}

    def module(self) -> nn.Module:
        """The Flax module, from the observation [B, T, ...] to logits float32 [B T, actions]."""
        kind = Plain if isinstance(self.network, CNN) else Residual
        return kind(self.network, jnp.dtype(self.dtype), self.im2col)  # pyright: ignore[reportArgumentType]


class Convolution(nn.Module):
    """Parameters of a convolution, float32."""

    shape: tuple[int, int, int, int]

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        """The kernel [rows, columns, in, out] and the bias [out]."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), self.shape)
        bias = self.param("bias", nn.initializers.zeros_init(), self.shape[-1:])
        return kernel, bias


class Plain(nn.Module):
    """The network of `agents.atari.cnn`."""

    config: CNN
    dtype: jnp.dtype
    im2col: bool

    @nn.compact
    def __call__(self, observation: Mapping[str, jax.Array]) -> jax.Array:
        """Logits [N, actions]."""
        x = blocks_of(observation["frames"], observation["oldest"])
        for number, ((_, side, stride), (inputs, outputs)) in enumerate(
            zip(LAYERS, pairwise(self.config.channels), strict=True)
        ):
            kernel, bias = Convolution((side, side, inputs, outputs), name=f"conv{number}")()
            if number == 0:
                x = first_convolution(x, kernel, self.dtype, im2col=self.im2col)
            else:
                x = convolution(x, kernel.astype(self.dtype), stride, im2col=self.im2col)
            x = nn.relu(biased(x, bias, self.dtype))
        return Dense(self.config.actions, self.dtype, out=jnp.float32, name="head")(x.reshape(len(x), -1))


class Residual(nn.Module):
    """The network of `agents.atari.impala`."""

    config: IMPALA
    dtype: jnp.dtype
    im2col: bool

    @nn.compact
    def __call__(self, observation: Mapping[str, jax.Array]) -> jax.Array:
        """Logits [N, actions]."""
        x = stacks_of(observation["frames"], observation["oldest"]).astype(self.dtype)
        for number, channels in enumerate(self.config.channels[1:]):
            scale = 1.0 if number else 1 / 255
            x = Section(channels, self.config.blocks, scale, self.dtype, self.im2col, name=f"section{number}")(x)
        return Dense(self.config.actions, self.dtype, out=jnp.float32, name="head")(nn.relu(x).reshape(len(x), -1))


class Section(nn.Module):
    """Convolution, max-pool, residual blocks."""

    channels: int
    blocks: int
    scale: float
    """Factor of the input, applied to the first kernel, which is smaller."""
    dtype: jnp.dtype
    im2col: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[N, rows / 2, columns / 2, channels], halves rounded up."""
        x = max_pool(self._convolve(x, "conv", self.scale))
        for block in range(self.blocks):
            inner = self._convolve(nn.relu(x), f"block{block}_conv0")
            x = x + self._convolve(nn.relu(inner), f"block{block}_conv1")
        return x

    def _convolve(self, x: jax.Array, name: str, scale: float = 1.0) -> jax.Array:
        """A 3x3 convolution that keeps the size."""
        kernel, bias = Convolution((3, 3, x.shape[-1], self.channels), name=name)()
        kernel = (kernel * scale).astype(self.dtype)
        return biased(same_convolution(x, kernel, im2col=self.im2col), bias, self.dtype)
