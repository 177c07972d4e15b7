"""The agent for a Gymnasium environment: a network without memory over the observation of one timestep."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from agents.cost import Cost
from agents.cpu.devices import resolve_dtype
from agents.gym.networks import CHANNELS, CNN, HIDDEN, KERNEL, MLP, STRIDE
from agents.layers import Conv, Dense
from agents.spec import Dropout


@dataclass(frozen=True)
class GymAgent:
    """A policy for a Gymnasium environment; see `agents.spec.Agent`."""

    name: str
    network: MLP | CNN
    dtype: str = "float32"
    """Dtype of products and activations; parameters, sums and logits are float32."""

    recurrent = False
    microbatch = None

    @property
    def core(self) -> str:
        """Kind of the network: `mlp` or `cnn`."""
        return self.network.kind

    @property
    def actions(self) -> int:
        """Actions it chooses among."""
        return self.network.actions

    @property
    def inputs(self) -> tuple[str, ...]:
        """The fields that it reads: all."""
        return tuple(name for name, _ in self.network.fields)

    @property
    def width(self) -> int:
        """Units of a hidden layer, or channels of the first convolution."""
        return self.network.width

    @property
    def depth(self) -> int:
        """Hidden layers, or convolutions."""
        return self.network.depth

    def on_host(self, observation: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """All of it; see `agents.spec.Agent`."""
        return observation

    def for_backend(self, dtype: str = "auto") -> "GymAgent":
        """The same agent as JAX's default backend computes it best; see `agents.spec.Agent`."""
        return dataclasses.replace(self, dtype=resolve_dtype(dtype))

    def rematerialised(self) -> None:
        """None: there is no such mode; microbatches are as small as memory needs."""
        return

    def init(self, key: jax.Array) -> Any:
        """Fresh parameters, float32, by group."""
        observation = {
            name: jnp.zeros((1, 1, *field.shape), jax.dtypes.canonicalize_dtype(field.dtype))
            for name, field in self.network.fields
        }
        return self._module().init(key, observation)["params"]

    def initial_carry(self, lanes: int) -> tuple[()]:
        """Empty: the network has no memory."""
        return ()

    def apply(
        self,
        params: Any,
        observation: Mapping[str, jax.Array],
        first: jax.Array,
        carry: Any,
        dropout: Dropout | None = None,
    ) -> tuple[jax.Array, Any]:
        """Logits float32 [B, T, actions], and the carry as it was."""
        if dropout is not None:
            raise ValueError("this network has no dropout")
        logits: Any = self._module().apply({"params": params}, observation)
        return logits.reshape(*first.shape, self.actions), carry

    def cost(self, window: int) -> Cost:
        """Parameters and FLOPs per sample, whatever the window."""
        return self.network.cost()

    def _module(self) -> nn.Module:
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
        for number in range(HIDDEN):
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
