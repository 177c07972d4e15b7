"""What a study of `reproduce` is, and what each family of games must offer for it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from data.store.reader import TrajectoryStore


@dataclass(frozen=True)
class Preset:
    """Games to learn from, sizes to train, budgets to stop at, games to play."""

    takes: str
    """How long it takes and where that was measured."""
    expect: str
    """What comes out."""
    games: int
    """Games that the embedded expert plays."""
    dev_fraction: float
    """Share of the games held out."""
    family: str
    """Of the ladder."""
    sizes: tuple[str, ...]
    """Of the family; each is trained once, through all budgets."""
    budgets: tuple[float, ...]
    """Training FLOPs, counted exactly."""
    episodes: int
    """Games that each checkpoint plays."""
    play_steps: int
    """Steps after which one of those is stopped."""
    baseline_episodes: int
    """Games of the random policy and of the expert, on the first of the checkpoints' seeds."""
    lanes: int
    window: int
    order: Literal["lanes", "windows"] = "lanes"
    game_steps: int = 5000
    """Timesteps after which a game of the expert is quit, where the family of games has such a limit."""
    lr: float = 3e-3
    """Learning rate after the warmup: constant, because each training passes every budget."""
    average: float = 0.15
    """Fraction of the run that the kept average of the parameters spans, in place of a falling learning rate."""
    warmup_samples: int = 20_000
    """Samples over which the learning rate rises."""


Stage = Callable[[str], AbstractContextManager[None]]
"""Names and times a stage of a study while it is entered."""


class Study(Protocol):
    """The module of a family of games in `laws.study`."""

    PRESETS: Mapping[str, Preset]

    def expert_games(self, stage: Stage, preset: Preset, game: str, folder: Path, store: Path, workers: int) -> None:
        """Let the embedded expert fill a store; goes on with what is missing."""
        ...

    def character_of(self, store: TrajectoryStore) -> str | None:
        """The character that agents play, given what the store's games played; None where games have none."""
        ...
