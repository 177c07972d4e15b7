"""NetHack recordings to a store: ttyrec files of NLE's recorder, with the xlogfile beside them.

A step is a screen and the key press that followed it, exactly as NLE's own converter reads them. A screen
that no key followed, such as the last of a game, is not a step. Keys that NLE itself pressed while it reset
the game (a space or two past the opening messages) can't be told from the player's and are kept.
"""

import fnmatch
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from data.codec.screens import SCREENS
from data.common.cli import UserError
from data.games import nethack
from data.games.keys import action_of_key
from data.importers import ttyrec
from data.importers.base import (
    ABANDONED,
    DAMAGED,
    EMPTY,
    Options,
    Report,
    Unusable,
    fingerprint_of,
    folders,
    import_games,
    packed,
)
from data.spec import NetHackSteps
from data.store.writer import Game

NO_KEYS, FOREIGN = "without key presses", "with a key outside the action table"
"""Further kinds of recordings that are skipped."""

Row = dict[str, str]
"""One line of an xlogfile, as text."""


@dataclass(frozen=True)
class Recording:
    """A file to import."""

    path: Path
    source: str
    """The path inside the imported folder."""
    rows: tuple[Row, ...]
    """Lines of the xlogfiles beside it that name it."""

    def fingerprint(self) -> str:
        """See `data.importers.base.Recording`."""
        return fingerprint_of([self.path])


def import_nld(
    folder: str | Path,
    store: str | Path,
    **options: Unpack[Options],
) -> Report:
    """Import every finished game under `folder` into a store, new or not; see `data.importers.base.import_games`."""
    return import_games(
        store,
        nethack.content(),
        Path(folder),
        find,
        convert,
        importer="nld",
        **options,
    )


def find(folder: Path) -> list[Recording]:
    """Every `*.ttyrec*.bz2` under `folder`, by name, with its lines of the xlogfiles in the same folder."""
    found = []
    for parent, names in folders(folder):
        rows = _read_logs(parent, names)
        for name in fnmatch.filter(names, "*.ttyrec*.bz2"):
            path = parent / name
            found.append(Recording(path, path.relative_to(folder).as_posix(), rows.get(name, ())))
    if not found:
        raise UserError(f"no recording (*.ttyrec*.bz2) under {folder}")
    return sorted(found, key=lambda recording: recording.source)


def _read_logs(folder: Path, names: Iterable[str]) -> dict[str, tuple[Row, ...]]:
    """Lines of the xlogfiles among `names`, by the recording they name."""
    rows: dict[str, tuple[Row, ...]] = {}
    for log in sorted(fnmatch.filter(names, "*xlogfile")):
        for row in read_log(folder / log):
            name = row.get("ttyrecname", "")
            rows[name] = (*rows.get(name, ()), row)
    return rows


def read_log(path: Path, separator: str = "\t") -> Iterator[Row]:
    """The lines of an xlogfile."""
    for line in read_text(path).split("\n"):
        row: Row = {}
        for field in line.split(separator):
            key, _, value = field.partition("=")
            row[key] = value
        yield row


def read_text(path: Path) -> str:
    """What is in a file of a data set, whatever its bytes."""
    try:
        return path.read_text("latin-1")
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from error


def convert(recording: Recording) -> Game:
    """A recording as a game for the store; raises `Unusable` if it can't be one."""
    version = version_of(recording.path)
    if not recording.path.stat().st_size:
        raise Unusable(EMPTY, "the file is empty")
    if not recording.rows:
        raise Unusable(ABANDONED, "no xlogfile beside it has a row with its name")
    row, *others = recording.rows
    if others:
        raise Unusable(DAMAGED, f"{len(recording.rows)} rows of the xlogfile have its name")
    facts = facts_of(row)
    seed = _seed(recording.path.parent)
    pieces = _steps(recording.path, version)
    return packed(SCREENS, pieces, "key was pressed", source=recording.source, seed=seed, **facts)


def _steps(path: Path, version: int) -> Iterator[NetHackSteps]:
    """The steps of a recording, keys as indices into the action table."""
    table, done = action_of_key(), 0
    for chars, colors, cursor, keys, scores in ttyrec.steps(path, version):
        actions = table[keys]
        if actions.min() < 0:
            step = int(np.argmin(actions >= 0))
            raise Unusable(FOREIGN, f"key {keys[step]} at step {done + step} is no action")
        yield NetHackSteps(chars, colors, cursor, actions.astype(np.uint8), scores)
        done += len(keys)


def version_of(path: Path) -> int:
    """The ttyrec version that a file name tells; records without key presses are refused."""
    text = path.name.removesuffix(".bz2").rpartition("ttyrec")[2]
    if text in ("", "1"):
        raise Unusable(NO_KEYS, "ttyrec version 1 records screens alone: --allow-no-actions makes a store of them")
    if text not in ("2", "3"):
        raise Unusable(DAMAGED, f"ttyrec version {text} is unknown")
    return int(text)


def facts_of(row: Row) -> dict[str, Any]:
    """What an xlogfile row says of a game, as fields of `Game`."""
    try:
        return {
            "score": float(_whole(row["points"])),
            "role": "-".join(row[name] for name in ("role", "race", "align0", "gender0")).lower(),
            "turns": _whole(row["turns"]),
            "depth": _whole(row["maxlvl"]),
            "death": row["death"] + (f", while {row['while']}" if "while" in row else ""),
        }
    except (KeyError, ValueError) as error:
        raise Unusable(DAMAGED, f"its xlogfile row is incomplete ({error})") from error


def _whole(text: str) -> int:
    """A number that fits 63 bits; `ValueError` otherwise."""
    number = int(text) if len(text) < 30 else 2**63
    if abs(number) >= 2**63:
        raise ValueError(f"number {text[:30]}")
    return number


def _seed(folder: Path) -> int | None:
    """The seed that `data.collect.nethack` notes beside the one game of a folder; NLE's recorder notes none."""
    note = folder / "game.json"
    if not note.exists():
        return None
    try:
        return _whole(str(json.loads(note.read_text())["seed"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unusable(DAMAGED, f"{note.name} beside it is damaged ({error})") from error
