"""How games are played for evaluation, and what a family of games must offer for it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agents.spec import Agent, Params
from data.experts.registry import Expert
from data.games import registry


@dataclass(frozen=True)
class PlayOptions:
    """What the games of an evaluation are a function of, beside who plays them and their seeds; and with what means."""

    seed: int = 0
    """Seed of the sampling of actions."""
    temperature: float = 1.0
    """Softmax temperature at which actions are sampled; 0 takes the likeliest action."""
    max_steps: int | None = None
    """Games are truncated after so many timesteps; None plays all to their end."""
    character: str | None = None
    """NetHack's character; None is the usual one."""
    lanes: int = 64
    """Games played at once. Changes nothing about them."""
    workers: int = os.cpu_count() or 1
    """Processes or threads that step the games. Changes nothing about them."""


class Row(Protocol):
    """A finished game."""

    @property
    def seed(self) -> int:
        """The game's seed."""
        ...

    @property
    def score(self) -> float:
        """The return: final score, or undiscounted and unclipped sum of rewards."""
        ...

    @property
    def steps(self) -> int:
        """Actions of the player."""
        ...


OnGame = Callable[[Any], None]
"""Gets each row as soon as its game is over."""


class Play(Protocol):
    """The module of a family of games in `eval.play`."""

    Row: type[Any]
    """Dataclass of a finished game, see `Row`."""

    def check(self, game: str, options: PlayOptions, seeds: Sequence[int]) -> None:
        """Refuse options or seeds that the family does not have.

        Raises:
            UserError: Names the option and the remedy.
        """
        ...

    def environment(self, game: str, options: PlayOptions) -> str:
        """The environment and its settings in words, a part of the protocol."""
        ...

    def play_agent(
        self,
        agent: Agent,
        params: Params,
        game: str,
        seeds: Sequence[int],
        options: PlayOptions,
        *,
        progress: bool = True,
        on_game: OnGame | None = None,
    ) -> list[Any]:
        """Play the games of these seeds with an agent; rows in order of their seeds."""
        ...

    def play_expert(
        self,
        expert: Expert,
        seeds: Sequence[int],
        options: PlayOptions,
        *,
        progress: bool = True,
        on_game: OnGame | None = None,
    ) -> list[Any]:
        """Play the games of these seeds with an expert, seeded by each game's seed; rows in order of their seeds."""
        ...


def play_of(game: str) -> Play:
    """The module that plays this game."""
    return registry.module("eval.play", registry.find(game).family)


def protocol(game: str, options: PlayOptions, first_seed: int) -> str:
    """How the returns of a game are measured, in words: only rows of the same protocol compare."""
    steps = "to the end" if options.max_steps is None else f"at most {options.max_steps} steps"
    policy = f"sampled at {options.temperature:g}" if options.temperature else "likeliest action"
    return f"{play_of(game).environment(game, options)}, {policy}, {steps}, seeds from {first_seed}"
