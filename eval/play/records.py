"""Finished games as rows of a file."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from data.common.files import replace_text

T = TypeVar("T")


@dataclass(frozen=True)
class EpisodeRow:
    """A finished episode of any game that tells no more of itself."""

    seed: int
    score: float
    """The return: sum of all rewards, neither discounted nor clipped."""
    steps: int
    """Actions of the player."""
    truncated: bool
    """Ended by a limit on timesteps, of ours or of the environment."""


def write_games(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON object per row, a dataclass, to `path`, replaced atomically."""
    replace_text(path, "".join(json.dumps(asdict(row)) + "\n" for row in rows))


def read_games(path: Path, row: type[T]) -> list[T]:
    """The rows that `write_games` wrote, of the type `row`."""
    return [row(**json.loads(line)) for line in path.read_text().splitlines()]
