"""Imports NLD-NAO, games of people on alt.org. Key presses were not recorded: the store has screens without actions.

The folder is as NLD-NAO is published: one folder per player with files `DATE.TIME.ttyrec.bz2`, and beside these folders
`xlogfile.*` and `blacklist.txt`. A game may span several recordings: each belongs to the player's first game that had
not ended when the recording began, provided that the game began at most five minutes after it.
"""

import fnmatch
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Unpack

import numpy as np

from data.codec.screens import SCREENS
from data.common.cli import UserError
from data.games.nethack import SCREENS_ALONE
from data.importers import ttyrec
from data.importers.base import (
    ABANDONED,
    EMPTY,
    Options,
    Report,
    Unusable,
    fingerprint_of,
    folders,
    import_games,
    packed,
)
from data.importers.nld import Row, facts_of, read_log, read_text
from data.spec import NO_ACTION, NetHackSteps
from data.store.pack import PackedEpisode

LISTED, BRIEF = "blacklisted", "left at once"
"""Kinds of skipped recordings that only this importer has."""

_EARLY = 5 * 60
"""Seconds that a recording may begin before its game, as in NLE."""
_BRIEF_TURNS = 10


@dataclass(frozen=True)
class NaoGame:
    """A game with its recordings, or a recording that belongs to no game: a `data.importers.base.Recording`."""

    source: str
    """Path of its first file inside the imported folder."""
    paths: tuple[Path, ...]
    """Its recordings, in order."""
    row: Row | None
    """Its line of the xlogfile; None if the recording belongs to no game."""
    listed: bool = False
    """Whether `blacklist.txt` lists it."""

    def fingerprint(self) -> str:
        """See `data.importers.base.Recording`."""
        return fingerprint_of(self.paths)


def import_nao(folder: str | Path, store: str | Path, **options: Unpack[Options]) -> Report:
    """Import every game under `folder` into a store of screens without actions.

    Args:
        folder: Folder of NLD-NAO.
        store: Folder of the store.
        **options: See `data.importers.base.Options`.

    Raises:
        UserError: There is no recording, or see `data.importers.base.import_games`.
    """
    return import_games(store, SCREENS_ALONE, Path(folder), find, convert, importer="nao", **options)


def find(folder: Path) -> list[NaoGame]:
    """All games with their recordings, and all recordings without a game, sorted by the name of the first file.

    Raises:
        UserError: There is no recording, or a folder or xlogfile cannot be read.
    """
    files: dict[str, list[Path]] = defaultdict(list)
    games: dict[str, list[Row]] = defaultdict(list)
    listed: set[Path] = set()
    for parent, names in folders(folder):
        for name in names:
            path = parent / name
            if fnmatch.fnmatch(name, "*.ttyrec.bz2"):
                files[parent.name.lower()].append(path)
            elif name.startswith("xlogfile"):
                for row in read_log(path, ":" if name.endswith(".txt") else "\t"):
                    games[row.get("name", "").lower()].append(row)
            elif name == "blacklist.txt":
                listed |= {parent / line.strip() for line in read_text(path).splitlines()}
    if not files:
        raise UserError(f"no recording (*.ttyrec.bz2) under {folder}")
    found = []
    for player, paths in files.items():
        good = [path for path in paths if path not in listed]
        for path in set(paths) & listed:
            found.append(NaoGame(path.relative_to(folder).as_posix(), (path,), None, listed=True))
        for parts, row in _games(good, games[player]):
            found.append(NaoGame(parts[0].relative_to(folder).as_posix(), parts, row))
    return sorted(found, key=lambda recording: recording.source)


def _games(paths: list[Path], rows: list[Row]) -> Iterator[tuple[tuple[Path, ...], Row | None]]:
    """A player's recordings grouped by game; a recording without a game forms a group of its own."""
    begun = sorted((_begun(path), path) for path in paths)
    played = sorted((_second(row, "starttime"), _second(row, "endtime"), number) for number, row in enumerate(rows))
    parts: dict[int, list[Path]] = defaultdict(list)
    for second, path in begun:
        later = (game for game in played if game[1] >= second)
        start, _, number = next(later, (0, 0, -1))
        if number < 0 or second < 0 or second < start - _EARLY:
            yield (path,), None
        else:
            parts[number].append(path)
    for number, mine in parts.items():
        yield tuple(mine), rows[number]


def _begun(path: Path) -> int:
    """Unix time at which a recording began, from its file name; -1 if the name is invalid."""
    text = path.name.removesuffix(".ttyrec.bz2").replace("_", ":")
    try:
        return int(datetime.strptime(text, "%Y-%m-%d.%H:%M:%S").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return -1


def _second(row: Row, name: str) -> int:
    text = row.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else -1


def convert(recording: NaoGame) -> PackedEpisode:
    """Convert a game.

    Raises:
        Unusable: It is blacklisted, abandoned, very short, empty or damaged.
    """
    row = recording.row
    if recording.listed:
        raise Unusable(LISTED, "blacklist.txt lists it")
    if row is None:
        raise Unusable(ABANDONED, "its player played no game at that time")
    facts = facts_of(row)
    if facts["turns"] <= 0 or (facts["turns"] <= _BRIEF_TURNS and row["death"] in ("escaped", "quit")):
        raise Unusable(BRIEF, f"{row['death']} after {facts['turns']} turns")
    if not any(path.stat().st_size for path in recording.paths):
        raise Unusable(EMPTY, "the file is empty")
    return packed(SCREENS, _steps(recording.paths), "screen", source=recording.source, **facts)


def _steps(paths: tuple[Path, ...]) -> Iterator[NetHackSteps]:
    for chars, colors, cursor, _, scores, labels in ttyrec.screens(paths):
        yield NetHackSteps(chars, colors, cursor, np.full(len(chars), NO_ACTION, np.uint8), scores, labels)
