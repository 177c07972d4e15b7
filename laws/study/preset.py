"""Presets of `reproduce`, and the protocol that each game family implements to be studied."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from data.store.reader import TrajectoryStore
from laws.design.config import Shared, SweepConfig


@dataclass(frozen=True)
class Preset:
    """Settings of a study: expert games, model sizes, compute budgets and evaluation games."""

    takes: str
    """Expected duration, and on which hardware."""
    expect: str
    """Expected result."""
    games: int
    """Number of games that the embedded expert plays."""
    dev_fraction: float
    """Fraction of the games held out in the dev split."""
    sweep: SweepConfig
    """The sizes and budgets that are trained, and the games that each checkpoint plays."""
    shared: Shared
    """What all trainings share."""
    baseline_episodes: int
    """Number of games that the random policy and the expert play, with the first seeds of the checkpoints."""
    game_steps: int = 5000
    """Limit on the timesteps of an expert game, for game families that have one."""


StageTimer = Callable[[str], AbstractContextManager[None]]
"""Context manager that announces and times a stage of a study, given its name."""


class Study(Protocol):
    """What the module of a game family in `laws.study` implements."""

    PRESETS: Mapping[str, Preset]
    """Presets by name."""

    def expert_games(
        self, stage: StageTimer, preset: Preset, game: str, folder: Path, store: Path, workers: int
    ) -> None:
        """Fill a store with games of the embedded expert. Games that are already there are kept.

        Args:
            stage: Times each stage.
            preset: The study's settings.
            game: Name of the game.
            folder: Folder of the study.
            store: The store to write.
            workers: Number of processes that play.
        """
        ...

    def character_of(self, store: TrajectoryStore) -> str | None:
        """Return the character that agents play, given the store's games; None for games without characters."""
        ...
