"""Results of finished games, stored one per line."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from data.common.files import replace_text

T = TypeVar("T")


@dataclass(frozen=True)
class EpisodeRow:
    """Result of a finished episode, for games without results of their own."""

    seed: int
    score: float
    """The return: sum of undiscounted, unclipped rewards."""
    steps: int
    """Number of actions."""
    truncated: bool
    """Whether the episode was truncated by `max_steps` or by the environment's own limit."""


def write_games(path: Path, rows: Iterable[Any]) -> None:
    """Write dataclass instances to `path` as JSON, one per line. The file is replaced atomically."""
    replace_text(path, "".join(json.dumps(asdict(row)) + "\n" for row in rows))


def read_games(path: Path, row: type[T]) -> list[T]:
    """Read the rows that `write_games` wrote, as instances of the dataclass `row`."""
    return [row(**json.loads(line)) for line in path.read_text().splitlines()]
