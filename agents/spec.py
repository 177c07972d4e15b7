"""The interface of a policy network: pure functions of its parameters."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from agents.cost import Cost

Params = Any
"""Pytree of float32 arrays; the top level of the tree are the groups of `Agent.cost`."""
Carry = Any
"""Pytree of arrays with leading axis B: the recurrent state; an empty tuple if there is none."""


class Dropout(NamedTuple):
    """Dropout for training: `rate` of the features is dropped before and after the core."""

    rate: float
    bits: jax.Array
    """uint32 [B], random bits of each lane; `agents.cores.dropout` derives the masks from them."""


class Agent(Protocol):
    """A policy network. Hashable, and equal to another of the same configuration, so that it can be a static argument.

    B lanes (rows of a batch), T steps of a window.
    """

    @property
    def name(self) -> str:
        """Name in the ladder, for example `nethack/lstm/64`."""
        ...

    @property
    def kind(self) -> str:
        """Kind of the network, for example `lstm`."""
        ...

    @property
    def actions(self) -> int:
        """Number of actions."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the observation's arrays that `apply` reads."""
        ...

    @property
    def recurrent(self) -> bool:
        """Whether it has a carry."""
        ...

    @property
    def microbatch(self) -> int | None:
        """Samples per device in a microbatch of a training step, by default; None for the whole batch at once."""
        ...

    @property
    def dtype(self) -> str:
        """Dtype of the computation; parameters and logits are float32 whatever it is."""
        ...

    @property
    def width(self) -> int:
        """Features of the core."""
        ...

    @property
    def depth(self) -> int:
        """Layers of the core."""
        ...

    def on_host(self, observation: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """What to send to the devices of an observation: all of it, or what `apply` computes the same logits from."""
        ...

    def for_backend(self, dtype: str = "auto", backend: str | None = None) -> "Agent":
        """The same agent as a JAX backend, by default the default one, computes it best; the parameters are the same.

        "auto" is float32 on a CPU and bfloat16 on accelerators.
        """
        ...

    def rematerialised(self) -> "Agent | None":
        """The same agent, with the layers' activations recomputed in the backward pass; None if it has no such mode.

        Only the layers' inputs are kept in memory from the forward pass.
        """
        ...

    def of_width(self, width: int) -> "Agent | None":
        """The same agent `width` features wide, all layers in proportion; None if it has one width only."""
        ...

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters, float32."""
        ...

    def initial_carry(self, lanes: int) -> Carry:
        """The carry at the start of an episode, leading axis `lanes`."""
        ...

    def apply(
        self,
        params: Params,
        observation: Mapping[str, jax.Array],
        first: jax.Array,
        carry: Carry,
        dropout: Dropout | None = None,
    ) -> tuple[jax.Array, Carry]:
        """Logits float32 [B, T, actions] for a window, and the carry after it.

        `observation` has leading axes [B, T]; `first`, bool [B, T], is true on the first step of an episode, where the
        carry is reset. T may be 1: a step gives the same logits on its own as inside a window.
        """
        ...

    def cost(self, window: int) -> Cost:
        """Parameters and FLOPs per sample for training windows of `window` steps, from the configuration alone."""
        ...
