"""Options of evaluation games, and the protocol that each game family implements to be evaluated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agents.spec import Agent, Params
from data.common.machine import cores
from data.experts.registry import Expert
from data.games import registry
from eval.film import Film
from eval.play.sampling import Sampling


@dataclass(frozen=True)
class PlayOptions:
    """Options of evaluation games.

    With the policy and the seeds, these determine the games; only `lanes` and `workers` do not change them.
    """

    seed: int = 0
    """Seed for sampling actions."""
    sampling: Sampling = Sampling()  # noqa: RUF009 frozen
    """How actions are chosen."""
    max_steps: int | None = None
    """Truncate games after this many timesteps; None sets no limit."""
    character: str | None = None
    """NetHack's character; None selects the default, `data.games.challenge.CHARACTER`."""
    setting: str = "paper"
    """How Atari games are emulated, a name of `data.games.arcade.SETTINGS`."""
    lanes: int | None = None
    """Number of games played in parallel; by default as many as keep the workers busy. Does not change the results."""
    workers: int = cores()
    """Number of processes or threads that step the games. Does not change the results."""
    name: str = ""
    """Name of the protocol, if it has one."""


class Row(Protocol):
    """The result of a finished game."""

    @property
    def seed(self) -> int:
        """The game's seed."""
        ...

    @property
    def score(self) -> float:
        """The return: final score, or sum of undiscounted, unclipped rewards."""
        ...

    @property
    def steps(self) -> int:
        """Number of actions."""
        ...


OnGame = Callable[[Any], None]
"""Callback for the row of each game that has ended."""


@dataclass(frozen=True)
class Task:
    """The games of one policy."""

    agent: Agent
    params: Callable[[], Params]
    """Loads its parameters."""
    seeds: Sequence[int]
    """Seeds of its games, distinct."""
    on_game: OnGame
    """Called with the row of each game as soon as it has ended."""
    record: Path | None = None
    """NetHack: folder in which the games are recorded, each in a folder of its own (`eval.engine.recording`)."""


def number_of_games(tasks: Sequence[Task]) -> int:
    """The number of games of tasks.

    Raises:
        ValueError: The seeds of a task are not distinct or out of range.
    """
    for task in tasks:
        check_seeds(task.seeds)
    return sum(len(task.seeds) for task in tasks)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise `ValueError` if seeds are not distinct or out of range."""
    if len(set(seeds)) != len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
        raise ValueError("seeds must be distinct integers from 0 to 2**32 - 1")


class Play(Protocol):
    """What `PLAY`, in the module of a game family in `eval.play`, implements."""

    @property
    def Row(self) -> type[Any]:
        """Dataclass for the result of a game; implements the protocol `Row`."""
        ...

    records: bool
    """Whether games can be recorded (`Task.record`)."""

    def check(self, game: str, options: PlayOptions, seeds: Sequence[int]) -> None:
        """Check that the game family supports these options and seeds.

        Raises:
            UserError: An option or seed is not supported; the message names it and says what to do.
        """
        ...

    def environment(self, game: str, options: PlayOptions) -> str:
        """Return a description of the environment and its settings, which becomes part of the protocol."""
        ...

    def play_agents(self, tasks: Sequence[Task], game: str, options: PlayOptions, *, progress: bool = True) -> None:
        """Play the games of agents, one per seed each.

        Args:
            tasks: The agents, their seeds, and whom to tell of each game that has ended.
            game: Name of the game.
            options: How to play.
            progress: Whether to show a progress bar on stderr.
        """
        ...

    def film_agents(self, tasks: Sequence[Task], game: str, options: PlayOptions) -> list[dict[int, Film]]:
        """Play the games of agents; for each task their films, by seed. Arguments as of `play_agents`."""
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
        """Play one game per seed with an expert, whose player is seeded with the game's seed.

        Args:
            expert: The expert, which names its game.
            seeds: Seeds of the games, distinct.
            options: How to play.
            progress: Whether to show a progress bar on stderr.
            on_game: Called with each row as soon as its game has ended.

        Returns:
            One row per game, ordered by seed.
        """
        ...


def play_of(game: str) -> Play:
    """Return what plays a game.

    Raises:
        UserError: There is no such game.
    """
    return registry.module("eval.play", registry.find(game).family).PLAY


def protocol(game: str, options: PlayOptions, first_seed: int) -> str:
    """Return a description of how the returns of a game are measured.

    Returns are comparable only between rows of the same protocol.
    """
    if options.name:
        return options.name + (f", seeds from {first_seed}" if first_seed else "")
    steps = "to the end" if options.max_steps is None else f"at most {options.max_steps} steps"
    return f"{play_of(game).environment(game, options)}, {options.sampling}, {steps}, seeds from {first_seed}"
