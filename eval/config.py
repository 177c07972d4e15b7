"""What an evaluation is: frozen dataclasses, one line of help per field."""

import os
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from data.common.cli import UserError
from eval.play.options import PlayOptions


@dataclass(frozen=True)
class EvalConfig:
    """Measure the checkpoints of one run."""

    run: Positional[Path]
    """Folder of the run."""
    episodes: int = 100
    """Games to play with each checkpoint; 0 measures the dev loss alone."""
    budgets: tuple[float, ...] = ()
    """Budgets in FLOPs whose checkpoints to evaluate; none names all."""
    seed: int = 0
    """The games' seeds count up from here; also seeds the sampling of actions."""
    temperature: float = 1.0
    """Softmax temperature at which actions are sampled; 0 takes the likeliest action."""
    character: str | None = None
    """NetHack: role, race, alignment and gender as NLE spells them, default mon-hum-neu-mal; @ is random."""
    max_steps: int | None = None
    """Games are truncated after so many timesteps; None plays all to their end."""
    lanes: int = 64
    """Games played at once. Changes nothing about them, nor does `workers`."""
    workers: int = os.cpu_count() or 1
    """Processes (NetHack) or threads (Atari) that step the games."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run; every message names the field."""
        if self.episodes < 0 or self.episodes == 1:
            raise UserError(f"episodes must be 0, or 2 and more for an interval, not {self.episodes}")
        _check_options(self.options, self.episodes)

    @property
    def seeds(self) -> range:
        """The games to play with each checkpoint."""
        return range(self.seed, self.seed + self.episodes)

    @property
    def options(self) -> PlayOptions:
        """How the games are played."""
        return PlayOptions(self.seed, self.temperature, self.max_steps, self.character, self.lanes, self.workers)


@dataclass(frozen=True)
class ExpertConfig:
    """Play games with an expert."""

    game: str = "nethack"
    """nethack, an Atari game such as Breakout, or gym/ENV."""
    expert: str = "embedded"
    """Who plays: embedded, random, module:function, or the path of a trained policy."""
    episodes: int = 100
    """Games to play."""
    seed: int = 0
    """The games' seeds count up from here."""
    character: str | None = None
    """NetHack: role, race, alignment and gender as NLE spells them, default mon-hum-neu-mal; @ is random."""
    max_steps: int | None = None
    """Games are truncated after so many timesteps; None plays all to their end."""
    lanes: int = 16
    """Games played at once by a vector environment."""
    workers: int = os.cpu_count() or 1
    """Processes (NetHack) or threads (Atari) that step the games."""
    out: Path | None = None
    """File for the games, a JSON object per line."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run; every message names the field."""
        if self.episodes < 2:
            raise UserError(f"episodes must be 2 or more for an interval, not {self.episodes}")
        _check_options(self.options, self.episodes)

    @property
    def seeds(self) -> range:
        """The games to play."""
        return range(self.seed, self.seed + self.episodes)

    @property
    def options(self) -> PlayOptions:
        """How the games are played."""
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
