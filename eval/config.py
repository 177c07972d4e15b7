"""How a run's checkpoints are evaluated: one frozen dataclass, one line of help per field."""

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
    """Actions are sampled from the policy at this temperature; 0 takes the likeliest."""
    character: str | None = None
    """NetHack: role, race, alignment and gender as NLE spells them, default mon-hum-neu-mal; @ is random."""
    max_steps: int | None = None
    """Games longer than this are stopped there and say so; None plays all to their end."""
    lanes: int = 64
    """Games played at once."""
    workers: int = os.cpu_count() or 1
    """Processes (NetHack) or threads (Atari) that step the games."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run; every message names the field."""
        if self.episodes < 0 or self.episodes == 1:
            raise UserError(f"episodes must be 0, or 2 and more for an interval, not {self.episodes}")
        if self.temperature < 0:
            raise UserError(f"temperature must not be negative, not {self.temperature}")
        limits = {"lanes": self.lanes, "workers": self.workers, "max-steps": self.max_steps}
        for name, value in limits.items():
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, not {value}")
        if not 0 <= self.seed < 2**32 - self.episodes:
            raise UserError(f"seed must lie between 0 and 2^32 - episodes, not {self.seed}")

    @property
    def seeds(self) -> range:
        """The games to play with each checkpoint."""
        return range(self.seed, self.seed + self.episodes)

    @property
    def options(self) -> PlayOptions:
        """How the games are played."""
        return PlayOptions(self.seed, self.temperature, self.max_steps, self.character, self.lanes, self.workers)
