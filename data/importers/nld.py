"""Imports ttyrec recordings of NLE with the xlogfiles beside them, as in NLD-AA, and those of HiHack.

A step is a screen and the key press that followed it, exactly as NLE's converter reads them. A screen without a key
press after it, such as the last of a game, is not a step. Key presses that NLE itself sent while it reset the game (a
space or two to dismiss the opening messages) cannot be distinguished from the player's, and are kept.
"""

import fnmatch
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
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
from data.importers.status import Watched
from data.spec import NetHackSteps
from data.store.pack import PackedEpisode

FOREIGN = "with a key outside the action table"
"""Kind of a skipped recording."""

Row = dict[str, str]
"""One line of an xlogfile: text by field name."""


@dataclass(frozen=True)
class TtyrecFile:
    """A ttyrec file: a `data.importers.base.Recording`."""

    path: Path
    source: str
    """Path inside the imported folder."""
    rows: tuple[Row, ...]
    """Lines that name it, of the xlogfiles beside it."""
    unfinished: bool = False
    """Whether it is imported if no line names it."""

    def fingerprint(self) -> str:
        """See `data.importers.base.Recording`."""
        return fingerprint_of([self.path])


def import_nld(
    folder: str | Path,
    store: str | Path,
    *,
    allow_unfinished: bool = False,
    **options: Unpack[Options],
) -> Report:
    """Import every finished game under `folder`.

    Args:
        folder: Folder with recordings and xlogfiles, at any depth.
        store: Folder of the store.
        allow_unfinished: Import the other games too. Their score and character are read off the screen.
        **options: See `data.importers.base.Options`.

    Raises:
        UserError: There is no recording, or see `data.importers.base.import_games`.
    """
    return import_games(
        store,
        nethack.content(),
        Path(folder),
        partial(find, unfinished=allow_unfinished),
        convert,
        importer="nld",
        **options,
    )


def find(folder: Path, *, unfinished: bool = False) -> list[TtyrecFile]:
    """All files `*.ttyrec*.bz2` under `folder`, sorted by name, with their lines of the xlogfiles beside them.

    Raises:
        UserError: There is none, or a folder or xlogfile cannot be read.
    """
    found = []
    for parent, names in folders(folder):
        rows = _read_logs(parent, names)
        for name in fnmatch.filter(names, "*.ttyrec*.bz2"):
            path = parent / name
            found.append(TtyrecFile(path, path.relative_to(folder).as_posix(), rows.get(name, ()), unfinished))
    if not found:
        raise UserError(f"no recording (*.ttyrec*.bz2) under {folder}")
    return sorted(found, key=lambda recording: recording.source)


def _read_logs(folder: Path, names: Iterable[str]) -> dict[str, tuple[Row, ...]]:
    """Lines of the xlogfiles among `names`, by the name of the recording."""
    rows: dict[str, tuple[Row, ...]] = {}
    for log in sorted(fnmatch.filter(names, "*xlogfile")):
        for row in read_log(folder / log):
            name = row.get("ttyrecname", "")
            rows[name] = (*rows.get(name, ()), row)
    return rows


def read_log(path: Path, separator: str = "\t") -> Iterator[Row]:
    """The lines of an xlogfile.

    Raises:
        UserError: It cannot be read.
    """
    for line in read_text(path).split("\n"):
        row: Row = {}
        for field in line.split(separator):
            key, _, value = field.partition("=")
            row[key] = value
        yield row


def read_text(path: Path) -> str:
    """The content of a text file, decoded as Latin-1, which accepts any bytes.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return path.read_text("latin-1")
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from error


def convert(recording: TtyrecFile) -> PackedEpisode:
    """Convert a recording.

    Raises:
        Unusable: It is of no finished game, empty, damaged, without key presses, or has a key outside the action table.
    """
    if not recording.path.stat().st_size:
        raise Unusable(EMPTY, "the file is empty")
    seed, pieces = _seed(recording.path.parent), read_steps(recording.path)
    if not recording.rows:
        if ttyrec.has_only_screens(recording.path):
            raise Unusable(ttyrec.NO_KEYS, ttyrec.ONLY_SCREENS)
        if not recording.unfinished:
            raise Unusable(ABANDONED, "no xlogfile beside it has a row with its name (--allow-unfinished imports it)")
        watched = Watched()
        episode = packed(
            SCREENS, watched.watch(pieces), "key was pressed", source=recording.source, score=0.0, seed=seed
        )
        return replace(episode, **watched.facts())
    row, *others = recording.rows
    if others:
        raise Unusable(DAMAGED, f"{len(recording.rows)} rows of the xlogfile have its name")
    facts = facts_of(row)
    return packed(SCREENS, pieces, "key was pressed", source=recording.source, seed=seed, **facts)


def read_steps(path: Path) -> Iterator[NetHackSteps]:
    """The steps of a recording, with key presses converted to action indices."""
    table, done = action_of_key(), 0
    for chars, colors, cursor, keys, scores, labels in ttyrec.steps(path):
        actions = table[keys]
        if actions.min() < 0:
            step = int(np.argmin(actions >= 0))
            raise Unusable(FOREIGN, f"key {keys[step]} at step {done + step} is not an action")
        yield NetHackSteps(chars, colors, cursor, actions.astype(np.uint8), scores, labels)
        done += len(keys)


def facts_of(row: Row) -> dict[str, Any]:
    """Fields of `PackedEpisode` from a line of an xlogfile.

    Raises:
        Unusable: The line lacks a field, or has an invalid one.
    """
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
    """Parse an integer of at most 63 bits; raises `ValueError` otherwise."""
    number = int(text) if len(text) < 30 else 2**63
    if abs(number) >= 2**63:
        raise ValueError(f"number {text[:30]}")
    return number


def _seed(folder: Path) -> int | None:
    """The seed that `data.collect.nethack` wrote beside the recording; None for recordings of other programs."""
    note = folder / "game.json"
    if not note.exists():
        return None
    try:
        return _whole(str(json.loads(note.read_text())["seed"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unusable(DAMAGED, f"{note.name} beside it is damaged ({error})") from error
