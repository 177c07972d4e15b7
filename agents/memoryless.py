"""A policy without memory: what the agents of a feed-forward network share."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import flax.linen as nn
import jax
import numpy as np

from agents.cost import Cost
from agents.cpu.devices import resolve_dtype
from agents.spec import Dropout


class Network(Protocol):
    """The configuration of a feed-forward network, a frozen dataclass."""

    @property
    def kind(self) -> str:
        """Kind of the network, for example `cnn`."""
        ...

    @property
    def width(self) -> int:
        """Units of a hidden layer, or channels of the first convolution."""
        ...

    @property
    def depth(self) -> int:
        """Hidden layers, or convolutions."""
        ...

    @property
    def actions(self) -> int:
        """Number of actions."""
        ...

    def cost(self) -> Cost:
        """Parameters and FLOPs per sample."""
        ...


@dataclass(frozen=True)
class Memoryless(ABC):
    """An agent with an empty carry; see `agents.spec.Agent`. A subclass has `inputs`, `example` and `module`."""

    name: str
    network: Network
    dtype: str = "float32"
    """Dtype of products and activations; parameters, sums and logits are float32."""

    recurrent = False
    microbatch = None

    @property
    def kind(self) -> str:
        """Kind of the network."""
        return self.network.kind

    @property
    def actions(self) -> int:
        """Number of actions."""
        return self.network.actions

    @property
    def width(self) -> int:
        """Units of a hidden layer, or channels of the first convolution."""
        return self.network.width

    @property
    def depth(self) -> int:
        """Hidden layers, or convolutions."""
        return self.network.depth

    def on_host(self, observation: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """All of the observation."""
        return observation

    def for_backend(self, dtype: str = "auto", backend: str | None = None) -> Self:
        """The same agent as JAX's default backend computes it best; see `agents.spec.Agent`."""
        return dataclasses.replace(self, dtype=resolve_dtype(dtype, backend))

    def rematerialised(self) -> None:
        """None: there is no such mode; microbatches are as small as memory needs."""
        return

    def of_width(self, width: int) -> Self:
        """The same agent with a network of this width."""
        return dataclasses.replace(self, network=dataclasses.replace(self.network, width=width))  # pyright: ignore

    @abstractmethod
    def example(self) -> Mapping[str, jax.Array]:
        """An observation of one lane and one step, from whose shapes parameters are made."""

    @abstractmethod
    def module(self) -> nn.Module:
        """The Flax module, from the observation [B, T, ...] to logits float32 [B T, actions]."""

    def init(self, key: jax.Array) -> Any:
        """Fresh parameters, float32, by group."""
        return self.module().init(key, self.example())["params"]

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
        """Logits float32 [B, T, actions], and the carry unchanged.

        Raises: ValueError: `dropout` is not None.
        """
        if dropout is not None:
            raise ValueError("this network has no dropout")
        logits: Any = self.module().apply({"params": params}, observation)
        return logits.reshape(*first.shape, self.actions), carry

    def cost(self, window: int) -> Cost:
        """Parameters and FLOPs per sample, the same for every window."""
        return self.network.cost()
