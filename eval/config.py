"""Configuration of an evaluation: frozen dataclasses whose field docstrings are the command line help."""

import os
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from data.common.cli import UserError
from eval.play.options import PlayOptions


@dataclass(frozen=True)
class EvalConfig:
    """Configuration of the evaluation of a run's checkpoints."""

    run: Positional[Path]
    """Folder of the run."""
    episodes: int = 100
    """Number of games per checkpoint; 0 measures the dev loss only."""
    budgets: tuple[float, ...] = ()
    """Budgets (FLOPs) of the checkpoints to evaluate; empty selects all."""
    seed: int = 0
    """Seed of the first game, later games use the next integers; also seeds the sampling of actions."""
    temperature: float = 1.0
    """Softmax temperature at which actions are sampled; 0 selects the most probable action."""
    character: str | None = None
    """NetHack: role, race, alignment and gender as NLE spells them, default mon-hum-neu-mal; @ is random."""
    max_steps: int | None = None
    """Truncate games after this many timesteps; None sets no limit."""
    lanes: int = 64
    """Number of games played in parallel. Does not change the results; neither does `workers`."""
    workers: int = os.cpu_count() or 1
    """Number of processes (NetHack) or threads (Atari) that step the games."""

    def __post_init__(self) -> None:
        """Validate the fields.

        Raises:
            UserError: A field is out of range; the message names it.
        """
        if self.episodes < 0 or self.episodes == 1:
            raise UserError(f"episodes must be 0, or 2 and more for an interval, not {self.episodes}")
        _check_options(self.options, self.episodes)

    @property
    def seeds(self) -> range:
        """Seeds of the games that each checkpoint plays."""
        return range(self.seed, self.seed + self.episodes)

    @property
    def options(self) -> PlayOptions:
        """The options with which games are played."""
        return PlayOptions(self.seed, self.temperature, self.max_steps, self.character, self.lanes, self.workers)


@dataclass(frozen=True)
class ExpertConfig:
    """Configuration of the evaluation of an expert."""

    game: str = "nethack"
    """nethack, an Atari game such as Breakout, or gym/ENV."""
    expert: str = "embedded"
    """Policy: embedded, random, module:function, or the path of a trained policy."""
    episodes: int = 100
    """Number of games."""
    seed: int = 0
    """Seed of the first game; later games use the next integers."""
    character: str | None = None
    """NetHack: role, race, alignment and gender as NLE spells them, default mon-hum-neu-mal; @ is random."""
    max_steps: int | None = None
    """Truncate games after this many timesteps; None sets no limit."""
    lanes: int = 16
    """Number of games that a vector environment plays in parallel."""
    workers: int = os.cpu_count() or 1
    """Number of processes (NetHack) or threads (Atari) that step the games."""
    out: Path | None = None
    """Write the games to this file, one JSON object per line."""

    def __post_init__(self) -> None:
        """Validate the fields.

        Raises:
            UserError: A field is out of range; the message names it.
        """
        if self.episodes < 2:
            raise UserError(f"episodes must be 2 or more for an interval, not {self.episodes}")
        _check_options(self.options, self.episodes)

    @property
    def seeds(self) -> range:
        """Seeds of the games."""
        return range(self.seed, self.seed + self.episodes)

    @property
    def options(self) -> PlayOptions:
        """The options with which games are played."""
        return PlayOptions(self.seed, 1.0, self.max_steps, self.character, self.lanes, self.workers)


def _check_options(options: PlayOptions, episodes: int) -> None:
    if options.temperature < 0:
        raise UserError(f"temperature must not be negative, not {options.temperature}")
    limits = {"lanes": options.lanes, "workers": options.workers, "max-steps": options.max_steps}
    for name, value in limits.items():
        if value is not None and value < 1:
            raise UserError(f"{name} must be at least 1, not {value}")
    if not 0 <= options.seed < 2**32 - episodes:
        raise UserError(f"seed must lie between 0 and 2^32 - episodes, not {options.seed}")
