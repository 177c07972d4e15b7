"""The agent for a Gymnasium environment: a network without memory over the observation of one timestep."""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.gym.networks import CHANNELS, CNN, KERNEL, MLP, STRIDE
from agents.layers import Conv, Dense
from agents.memoryless import Memoryless


@dataclass(frozen=True)
class GymAgent(Memoryless):
    """A policy for a Gymnasium environment; see `agents.spec.Agent`."""

    network: MLP | CNN

    @property
    def inputs(self) -> tuple[str, ...]:
        """The fields that it reads: all."""
        return tuple(name for name, _ in self.network.fields)

    def example(self) -> Mapping[str, jax.Array]:
        """Zeros for every field."""
        return {
            name: jnp.zeros((1, 1, *field.shape), jax.dtypes.canonicalize_dtype(field.dtype))
            for name, field in self.network.fields
        }

    def module(self) -> nn.Module:
        """The Flax module, from the observation [B, T, ...] to logits float32 [B T, actions]."""
        kind = Perceptron if isinstance(self.network, MLP) else Convolutional
        return kind(self.network, jnp.dtype(self.dtype))  # pyright: ignore[reportArgumentType]


class Perceptron(nn.Module):
    """`agents.gym.networks.MLP` as a Flax module."""

    config: MLP
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, observation_BxT: Mapping[str, jax.Array]) -> jax.Array:
        """Logits [B T, actions]."""
        x = flat(observation_BxT, self.dtype)
        for number in range(self.config.depth):
            x = nn.relu(Dense(self.config.width, self.dtype, name=f"hidden{number}")(x))
        return Dense(self.config.actions, self.dtype, out=jnp.float32, name="head")(x)


class Convolutional(nn.Module):
    """`agents.gym.networks.CNN` as a Flax module."""

    config: CNN
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, observation_BxT: Mapping[str, jax.Array]) -> jax.Array:
        """Logits [B T, actions]."""
        config = self.config
        others = {name: x for name, x in observation_BxT.items() if name != config.image}
        image = observation_BxT[config.image]
        x = scaled(image.reshape(-1, *image.shape[2:])).astype(self.dtype)
        for number, times in enumerate(CHANNELS):
            convolution = Conv(times * config.width, (KERNEL, KERNEL), self.dtype, stride=STRIDE, name=f"conv{number}")
            x = nn.relu(convolution(x))
        x = x.reshape(len(x), -1)
        if others:
            x = jnp.concatenate([x, flat(others, self.dtype)], axis=-1)
        x = nn.relu(Dense(config.hidden, self.dtype, name="hidden0")(x))
        return Dense(config.actions, self.dtype, out=jnp.float32, name="head")(x)


def flat(observation_BxT: Mapping[str, jax.Array], dtype: jnp.dtype) -> jax.Array:
    """All fields [B, T, ...] side by side, [B T, numbers], scaled in float32 and cast to `dtype`."""
    columns = [scaled(x).reshape(x.shape[0] * x.shape[1], -1) for _, x in sorted(observation_BxT.items())]
    return jnp.concatenate(columns, axis=-1).astype(dtype)


def scaled(x: jax.Array) -> jax.Array:
    """Bytes to [0, 1]; other numbers by symlog, sign(x) ln(1 + |x|); float32."""
    if x.dtype == jnp.uint8:
        return x.astype(jnp.float32) / jnp.float32(255)
    x = x.astype(jnp.float32)
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))
