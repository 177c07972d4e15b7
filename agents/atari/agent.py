"""The Atari agent: a network without memory over the last four frames."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.atari.cnn import CNN
from agents.atari.convolutions import Plain, Residual
from agents.atari.impala import IMPALA
from agents.cost import Cost
from agents.spec import Dropout
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK

MICROBATCH = 8
"""Samples at once on a CPU, or one lane's window if that is more: of 8, 16, 32 and 256 the fastest for the paper's."""


@dataclass(frozen=True)
class AtariAgent:
    """A policy for an Atari game; see `agents.spec.Agent`."""

    name: str
    network: CNN | IMPALA
    dtype: str = "float32"
    """Dtype of the computation; parameters and logits are float32."""
    im2col: bool = False
    """Whether convolutions are matrix products, which is faster on a CPU."""

    inputs = ("frames", "oldest")
    """Names of the observation's arrays that it reads."""
    recurrent = False
    """Whether it remembers anything but what it is shown."""

    @property
    def microbatch(self) -> int | None:
        """Samples whose gradient is best computed at once: so few that a core's cache holds them."""
        return MICROBATCH if self.im2col else None

    @property
    def core(self) -> str:
        """Kind of the network: `cnn` or `impala`."""
        return self.name.split("/")[1]

    @property
    def actions(self) -> int:
        """Actions it chooses among."""
        return self.network.actions

    @property
    def width(self) -> int:
        """Channels of the first convolution."""
        return self.network.width

    @property
    def depth(self) -> int:
        """Convolutions."""
        return self.network.depth

    def init(self, key: jax.Array) -> Any:
        """Fresh parameters, float32, by group."""
        frames = jnp.zeros((1, STACK, FRAME_ROWS, FRAME_COLUMNS), jnp.uint8)
        return self._module().init(key, frames, jnp.zeros((1, 1), jnp.int32))["params"]

    def initial_carry(self, lanes: int) -> Any:
        """Nothing: what it remembers are the frames."""
        return ()

    def apply(
        self,
        params: Any,
        observation: dict[str, jax.Array],
        first: jax.Array,
        carry: Any,
        dropout: Dropout | None = None,
    ) -> tuple[jax.Array, Any]:
        """Logits float32 [B, T, actions], and the carry as it was."""
        if dropout is not None:
            raise ValueError("this network has no dropout")
        logits: Any = self._module().apply({"params": params}, observation["frames"], observation["oldest"])
        return logits.astype(jnp.float32).reshape(*first.shape, self.actions), carry

    def cost(self, window: int) -> Cost:
        """Parameters and FLOPs per sample, whatever the window."""
        return self.network.cost()

    def _module(self) -> nn.Module:
        kind = Plain if isinstance(self.network, CNN) else Residual
        return kind(self.network, jnp.dtype(self.dtype), self.im2col)  # pyright: ignore[reportArgumentType]
