"""Configuration of `python -m train bench`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.common.cli import UserError
from data.games.nethack import NAME

Order = Literal["lanes", "windows"]


@dataclass(frozen=True)
class Setting:
    """How a game's agents are trained."""

    family: str
    """Beginning of the names of agents that can be compared."""
    agents: tuple[str, ...]
    """The agents by default."""
    batch: int
    """Samples per optimiser step, by default."""
    window: int
    """Steps of a lane and batch."""
    order: Order
    """Order of the data (`TrainConfig.order`)."""


NETHACK = Setting(
    "nethack/",
    (
        "nethack/lstm/16",
        "nethack/lstm/64",
        "nethack/lstm/256",
        "nethack/transformer/64",
        "nethack/transformer/256x4",
        "nethack/paper/520k",
        "nethack/paper/2.6M",
    ),
    2048,
    32,
    "lanes",
)
ATARI = Setting("atari/cnn/", ("atari/cnn/3", "atari/cnn/13", "atari/cnn/50", "atari/cnn/167"), 256, 8, "windows")


@dataclass(frozen=True)
class BenchConfig:
    """Options of `python -m train bench`."""

    game: str = "Breakout"
    """Name of an Atari game, or nethack."""
    agents: tuple[str, ...] = ()
    """Agents of the game to compare: NetHack's, or atari/cnn/...; by default a selection of sizes."""
    batch: int | None = None
    """Samples per optimiser step, in windows of 8 steps (NetHack: 32); by default 256 (NetHack: 2,048)."""
    members: int = 1
    """Runs of a population, compared with one run alone in place of PyTorch."""
    seconds: float = 4.0
    """Seconds of each measurement."""
    rounds: int = 3
    """Number of measurements, of which the median is printed."""
    store: Path | None = None
    """Store to learn from; by default a few games of random play."""
    json: bool = False
    """Print one JSON object instead."""

    def __post_init__(self) -> None:
        """Raise `UserError` if a value is out of range."""
        if not 0 < self.seconds < math.inf or self.rounds < 1 or self.members < 1:
            raise UserError("--seconds, --rounds and --members: give more than 0 of each")
        window = self.setting.window
        if self.lanes < 1 or self.samples % window:
            raise UserError(f"--batch {self.batch}: give a multiple of {window}")

    @property
    def setting(self) -> Setting:
        """How the game's agents are trained."""
        return NETHACK if self.game == NAME else ATARI

    @property
    def lanes(self) -> int:
        """Lanes of a batch."""
        return self.samples // self.setting.window

    @property
    def samples(self) -> int:
        """Samples of a batch."""
        return self.setting.batch if self.batch is None else self.batch
