"""The Atari agent: a feed-forward network of the last four frames."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.atari.cnn import CNN
from agents.atari.impala import IMPALA
from agents.atari.modules import Plain, Residual
from agents.cost import Cost
from agents.cpu.devices import on_cpu, resolve_dtype
from agents.spec import Dropout
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK

MICROBATCH = 8
"""Samples per microbatch on a CPU: of 8, 16, 32 and 256 the fastest for the paper's networks."""


@dataclass(frozen=True)
class AtariAgent:
    """A policy for an Atari game; see `agents.spec.Agent`."""

    name: str
    network: CNN | IMPALA
    dtype: str = "float32"
    im2col: bool = False
    """Compute for a CPU: convolutions as matrix products, gradients in microbatches."""

    inputs = ("frames", "oldest")
    recurrent = False

    @property
    def microbatch(self) -> int | None:
        """`MICROBATCH` on a CPU, else None; see `agents.spec.Agent`."""
        return MICROBATCH if self.im2col else None

    @property
    def core(self) -> str:
        """Architecture: `cnn` or `impala`."""
        return self.name.split("/")[1]

    @property
    def actions(self) -> int:
        """Number of actions."""
        return self.network.actions

    @property
    def width(self) -> int:
        """Channels of the first convolution."""
        return self.network.width

    @property
    def depth(self) -> int:
        """Number of convolutions."""
        return self.network.depth

    def for_backend(self, dtype: str = "auto") -> "AtariAgent":
        """The same agent as JAX's default backend computes it best; see `agents.spec.Agent`."""
        return dataclasses.replace(self, dtype=resolve_dtype(dtype), im2col=on_cpu())

    def init(self, key: jax.Array) -> Any:
        """Fresh parameters, float32, by group."""
        frames = jnp.zeros((1, STACK, FRAME_ROWS, FRAME_COLUMNS), jnp.uint8)
        return self._module().init(key, frames, jnp.zeros((1, 1), jnp.int32))["params"]

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
        logits: Any = self._module().apply({"params": params}, observation["frames"], observation["oldest"])
        return logits.astype(jnp.float32).reshape(*first.shape, self.actions), carry

    def cost(self, window: int) -> Cost:
        """Parameters and FLOPs per sample, the same for every window."""
        return self.network.cost()

    def _module(self) -> nn.Module:
        kind = Plain if isinstance(self.network, CNN) else Residual
        return kind(self.network, jnp.dtype(self.dtype), self.im2col)  # pyright: ignore[reportArgumentType]
