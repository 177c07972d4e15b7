"""What a policy network is: pure functions of its parameters. `agents.ladder.LadderAgent` tells more about itself."""

from typing import Any, NamedTuple, Protocol

import jax

from agents.cost import Cost

Params = Any
"""Pytree of float32 arrays."""
Carry = Any
"""Pytree of arrays with leading axis B: what the core remembers; empty tuple where it remembers nothing."""


class Dropout(NamedTuple):
    """Noise for training: `rate` of the features is dropped before and after the core."""

    rate: float
    key: jax.Array


class Agent(Protocol):
    """A policy network as pure functions of its parameters. Hashable and equal by configuration."""

    @property
    def name(self) -> str:
        """Ladder name, for example `nethack/lstm/64`."""
        ...

    @property
    def core(self) -> str:
        """Name of the sequence core, for example `lstm`."""
        ...

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters, float32."""
        ...

    def initial_carry(self, lanes: int) -> Carry:
        """The carry before anything was seen, leading axis `lanes`."""
        ...

    def apply(
        self,
        params: Params,
        observation: dict[str, jax.Array],
        first: jax.Array,
        carry: Carry,
        dropout: Dropout | None = None,
    ) -> tuple[jax.Array, Carry]:
        """Logits float32 [B, T, actions] for a window, and the carry after it.

        `observation` has leading axes [B, T], `first` is bool [B, T]: where true, the core forgets what came
        before. T may be 1: one step of play gives the same logits as the same step inside a window.
        """
        ...

    def cost(self, window: int) -> Cost:
        """Parameters and FLOPs per sample for training windows of `window` steps, from the configuration alone."""
        ...
