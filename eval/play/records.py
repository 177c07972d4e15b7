"""What a finished game leaves: a row, and a file of them."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from data.common.files import replace_text

Scripted = Literal["random", "expert"]
"""Players that need no network."""


@dataclass(frozen=True)
class GameRow:
    """A finished game of NetHack."""

    seed: int
    score: int
    """The return: final points, as NetHack's xlogfile (and so a recorded expert's episode) has them. They
    differ from `score_shown` by what the last action and the end itself give and take, such as a tenth of the
    gold on death."""
    score_shown: int
    """In-game score on the last screen that the player acted on: the sum of NLE's score rewards."""
    steps: int
    """Actions of the player."""
    turns: int
    """The game's own clock."""
    depth: int
    """Deepest dungeon level reached."""
    role: str
    """Three letters, for example `Mon`; empty where a random role left no xlogfile row."""
    death: str
    """The xlogfile's words, for example `killed by a jackal`; `quit` when the player or a limit ended the
    game; `unrecorded` when the game broke down and left no xlogfile row: `score` is then `score_shown`."""
    truncated: bool
    """Stopped by the limit on steps."""
    stalled: bool
    """Stopped by NetHackChallenge because the game's clock had stood still for too long."""


@dataclass(frozen=True)
class AtariRow:
    """A finished game of Atari."""

    seed: int
    score: float
    """The return: sum of all rewards, neither discounted nor clipped."""
    steps: int
    """Actions of the player."""
    truncated: bool
    """Stopped by a limit on steps, of ours or of ALE."""


def write_games(path: Path, rows: Iterable[GameRow | AtariRow]) -> None:
    """Write one JSON object per game to `path`, replaced atomically."""
    replace_text(path, "".join(json.dumps(asdict(row)) + "\n" for row in rows))


def read_games(path: Path) -> list[GameRow | AtariRow]:
    """The rows that `write_games` wrote: those of NetHack tell the turns."""
    values = [json.loads(line) for line in path.read_text().splitlines()]
    return [GameRow(**row) if "turns" in row else AtariRow(**row) for row in values]
