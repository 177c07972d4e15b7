"""What is compared: agents, and batches of the shape that they are trained with."""

from dataclasses import dataclass
from typing import Any, Literal

from agents.ladder import find
from data.common.cli import UserError

AGENTS = {
    "nethack": (
        "nethack/lstm/16",
        "nethack/lstm/64",
        "nethack/lstm/256",
        "nethack/transformer/64",
        "nethack/transformer/256x4",
        "nethack/paper/520k",
        "nethack/paper/2.6M",
    ),
    "atari": ("atari/cnn/3", "atari/cnn/13", "atari/cnn/50", "atari/cnn/167"),
}
"""Agents by default, by family."""


@dataclass(frozen=True)
class Shape:
    """A family's batches."""

    batch: int
    """Samples by default."""
    window: int
    """Steps of a lane."""
    order: Literal["lanes", "windows"]
    """Order of the data (`TrainConfig.order`)."""


SHAPES = {"nethack": Shape(2048, 32, "lanes"), "atari": Shape(256, 8, "windows")}


@dataclass(frozen=True)
class Case:
    """An agent and the shape of its batches."""

    agent: Any
    lanes: int
    window: int
    order: Literal["lanes", "windows"]
