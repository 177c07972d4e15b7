"""Configuration of an evaluation: frozen dataclasses whose field docstrings are the command line help."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from data.common.cli import UserError
from data.common.cores import cores
from eval.play.options import PlayOptions


@dataclass(frozen=True, kw_only=True)
class GamesConfig:
    """Configuration of evaluation games."""

    episodes: int = 100
    """Number of games; for each checkpoint of a run, where 0 measures the dev loss only."""
    seed: int = 0
    """Seed of the first game, later games use the next integers; also seeds the sampling of actions."""
    character: str | None = None
    """NetHack: role, race, alignment and gender as NLE spells them, default mon-hum-neu-mal; @ is random."""
    max_steps: int | None = None
    """Truncate games after this many timesteps; None sets no limit."""
    lanes: int | None = None
    """Number of games played in parallel; by default as many as keep the workers busy. Does not change the results;
    neither does `workers`."""
    workers: int = cores()
    """Number of processes (NetHack) or threads (Atari) that step the games."""

    fewest = 2
    """Fewest games, for an interval."""
    temperature = 1.0

    def __post_init__(self) -> None:
        """Validate the fields.

        Raises:
            UserError: A field is out of range; the message names it.
        """
        if self.episodes < self.fewest or self.episodes == 1:
            fewest = "2 or more" if self.fewest else "0, or 2 and more"
            raise UserError(f"episodes must be {fewest} for an interval, not {self.episodes}")
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
        """Seeds of the games."""
        return range(self.seed, self.seed + self.episodes)

    @property
    def options(self) -> PlayOptions:
        """The options with which games are played."""
        return PlayOptions(self.seed, self.temperature, self.max_steps, self.character, self.lanes, self.workers)


@dataclass(frozen=True)
class EvalConfig(GamesConfig):
    """Configuration of the evaluation of the checkpoints of runs."""

    runs: Positional[tuple[Path, ...]]
    """Folders of runs."""
    budgets: tuple[float, ...] = ()
    """Budgets (FLOPs) of the checkpoints to evaluate; empty selects all."""
    temperature: float = 1.0
    """Softmax temperature at which actions are sampled; 0 selects the most probable action."""
    compute: Literal["float32", "bfloat16"] | None = None
    """Dtype of the computation; None is the dtype that the run was trained in."""

    store: tuple[Path, ...] = ()
    """Where the stores that the runs were trained on are now; empty: where they were."""
    shard: str | None = None
    """i/n: play only every n-th game, from the i-th on (1 to n); other machines play the rest. The rows are written
    once all games are in the runs' folders."""

    fewest = 0

    def __post_init__(self) -> None:
        """Validate the fields.

        Raises:
            UserError: A field is out of range; the message names it.
        """
        super().__post_init__()
        if not self.runs:
            raise UserError("name the folder of a run")
        shard, shards = self.part
        if not 0 <= shard < shards:
            raise UserError(f"shard is {self.shard}: give i/n with i from 1 to n, for example 1/4")

    @property
    def part(self) -> tuple[int, int]:
        """The shard, from 0, and the number of shards; (-1, 0) if they are not numbers."""
        shard, slash, shards = (self.shard or "1/1").partition("/")
        return (int(shard) - 1, int(shards)) if slash and shard.isdecimal() and shards.isdecimal() else (-1, 0)


@dataclass(frozen=True)
class ExpertConfig(GamesConfig):
    """Configuration of the evaluation of an expert."""

    game: str = "nethack"
    """nethack, an Atari game such as Breakout, or gym/ENV."""
    expert: str = "embedded"
    """Policy: embedded, random, module:function, or the path of a trained policy."""
    lanes: int | None = 16
    """Number of games that a vector environment plays in parallel."""
    out: Path | None = None
    """Write the games to this file, one JSON object per line."""


@dataclass(frozen=True)
class BenchConfig:
    """Options of `python -m eval bench`."""

    seconds: float = 3.0
    """Seconds of each measurement."""
    games: tuple[int, ...] = (2, 8, 32, 128)
    """Numbers of games per core that are stepped in turn."""
    gymnasium: tuple[int, ...] = (8, 32)
    """Numbers of games for Gymnasium's AsyncVectorEnv, which starts a process for each."""
    agent: str = "nethack/lstm/64"
    """Agent with random parameters that plays."""
    run: Path | None = None
    """Folder of a run, whose last checkpoint plays instead."""
    lanes: int | None = None
    """Games that the agent plays in parallel; by default four tiles."""
    json: bool = False
    """Print one JSON object."""

    def __post_init__(self) -> None:
        """Raise `UserError` if a value is out of range."""
        if not 0 < self.seconds < math.inf:
            raise UserError(f"--seconds {self.seconds:g}: give more than 0")
        if any(count < 1 for count in (*self.games, *self.gymnasium, self.lanes or 1)):
            raise UserError("--games, --gymnasium and --lanes: give 1 or more")
