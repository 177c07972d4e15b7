"""Results of finished games, stored one per line."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from data.common.cli import UserError
from data.common.files import replace_text

T = TypeVar("T")

ABOUT = "about.json"
"""File with the protocol and the digest of the parameters."""


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

    @property
    def end(self) -> str:
        """Why the episode ended."""
        return "truncated" if self.truncated else "terminated"


def write_games(path: Path, rows: Iterable[Any]) -> None:
    """Write dataclass instances to `path` as JSON, one per line. The file is replaced atomically."""
    replace_text(path, "".join(_line(row) for row in rows))


def read_games(path: Path, row: type[T]) -> list[T]:
    """Read rows as instances of the dataclass `row`. A last line without an end, cut off by a crash, is left out."""
    lines = path.read_text().splitlines(keepends=True)
    return [row(**json.loads(line)) for line in lines if line.endswith("\n")]


def _line(row: Any) -> str:
    return json.dumps(asdict(row)) + "\n"


class Games:
    """The games that one checkpoint has played by one protocol: files to which games are only ever added.

    They are in a folder of their own, `budgets/B/games/NAME`, that of earlier versions in `budgets/B/games.jsonl`.
    """

    def __init__(self, checkpoint: Path, digest: str, protocol: str, row: type[Any], shard: str = "") -> None:
        """Find the games played so far.

        Args:
            checkpoint: Folder of the checkpoint, `budgets/B`.
            digest: Digest of its parameters.
            protocol: How the games are played.
            row: Dataclass of their results.
            shard: Name of the part of the games that this process plays, if others play the rest.
        """
        self._about = {"digest": digest, "protocol": protocol}
        self.folder = folder_of(checkpoint, digest, protocol)
        self._file = self.folder / (f"games-{shard}.jsonl" if shard else "games.jsonl")
        mark = checkpoint / "games.json"
        of_earlier_versions = mark.exists() and json.loads(mark.read_text()) == self._about
        self._earlier = [checkpoint / "games.jsonl"] if of_earlier_versions else []
        self._row, self._appended = row, False
        self.refresh()

    def refresh(self) -> None:
        """Read the files again, to which others may have added games."""
        files = [*sorted(self.folder.glob("games*.jsonl")), *(path for path in self._earlier if path.exists())]
        self._rows = {game.seed: game for path in files for game in read_games(path, self._row)}

    @property
    def rows(self) -> list[Any]:
        """The results of these games, by seed."""
        return [self._rows[seed] for seed in sorted(self._rows)]

    @property
    def seeds(self) -> set[int]:
        """The seeds of these games."""
        return set(self._rows)

    def add(self, game: Any) -> None:
        """Keep the result of a game, in the file, too."""
        if not (self.folder / ABOUT).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_text(self.folder / ABOUT, json.dumps(self._about, indent=1))
        if not self._appended and self._file.exists():
            _cut_off(self._file)
        self._appended = True
        with self._file.open("a") as file:
            file.write(_line(game))
        self._rows[game.seed] = game


def _cut_off(path: Path) -> None:
    """Remove a last line without an end."""
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(path, whole)


def folder_of(checkpoint: Path, digest: str, protocol: str) -> Path:
    """Folder of the results of a checkpoint by one protocol."""
    name = hashlib.sha256(f"{digest} {protocol}".encode()).hexdigest()[:12]
    return checkpoint / "games" / name


def recordings(folder: Path, checkpoint: Path, digest: str, protocol: str) -> Path:
    """The folder for the recordings of a checkpoint, RUN/BUDGET/PROTOCOL in that of all; made if it is not there.

    Args:
        folder: That of all recordings.
        checkpoint: Folder of the checkpoint, `RUN/budgets/B`.
        digest: Digest of its parameters.
        protocol: How the games are played.

    Raises:
        UserError: It has recordings of other parameters, or cannot be made.
    """
    found = folder / checkpoint.parent.parent.name / checkpoint.name / as_folder(protocol)
    about, mark = {"digest": digest, "protocol": protocol}, found / ABOUT
    if mark.exists() and json.loads(mark.read_text()) != about:
        raise UserError(f"{found} has recordings of other parameters: name another folder")
    try:
        found.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't make {found}: {error.strerror}") from None
    replace_text(mark, json.dumps(about, indent=1))
    return found


def as_folder(protocol: str) -> str:
    """A protocol as the name of a folder, to read."""
    kept = "".join(letter if letter.isalnum() or letter in "-.@" else " " for letter in protocol)
    return "_".join(kept.split())[:100]


def protocols_of(checkpoint: Path, digest: str) -> list[str]:
    """The protocols by which these parameters of a checkpoint have played games."""
    marks = [*checkpoint.glob(f"games/*/{ABOUT}"), *checkpoint.glob("games.json")]
    found = [json.loads(path.read_text()) for path in marks]
    return sorted({about["protocol"] for about in found if about["digest"] == digest})
