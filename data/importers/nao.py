"""Games of people on alt.org (NLD-NAO) to a store of screens: nobody recorded the keys.

The folder is as NLD-NAO is published: one folder a player with `DATE.TIME.ttyrec.bz2`, and `xlogfile.*` and
`blacklist.txt` beside these folders. A game may be in several recordings: each belongs to the player's first game
that had not ended when the recording began, if that game had begun by then or did within five minutes.
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
from data.store.writer import Game

LISTED, BRIEF = "blacklisted", "left at once"
"""Further kinds of recordings that are skipped."""

_EARLY = 5 * 60
"""Seconds by which a recording may begin before its game, as NLE allows."""
_BRIEF_TURNS = 10


@dataclass(frozen=True)
class Recording:
    """A game to import, or a recording that belongs to none."""

    source: str
    """The path of its first file inside the imported folder."""
    paths: tuple[Path, ...]
    row: Row | None
    listed: bool = False
    """Whether the data set's own black list names it."""

    def fingerprint(self) -> str:
        """See `data.importers.base.Recording`."""
        return fingerprint_of(self.paths)


def import_nao(folder: str | Path, store: str | Path, **options: Unpack[Options]) -> Report:
    """Import every game under `folder` into a store of screens; see `data.importers.base.import_games`."""
    return import_games(store, SCREENS_ALONE, Path(folder), find, convert, importer="nao", **options)


def find(folder: Path) -> list[Recording]:
    """Every game with its recordings, and every recording without a game, by name of the first file."""
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
            found.append(Recording(path.relative_to(folder).as_posix(), (path,), None, listed=True))
        for parts, row in _games(good, games[player]):
            found.append(Recording(parts[0].relative_to(folder).as_posix(), parts, row))
    return sorted(found, key=lambda recording: recording.source)


def _games(paths: list[Path], rows: list[Row]) -> Iterator[tuple[tuple[Path, ...], Row | None]]:
    """A player's recordings by game, each game once; recordings without one by themselves."""
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
    """Second at which a recording began, by its name; -1 if that tells none."""
    text = path.name.removesuffix(".ttyrec.bz2").replace("_", ":")
    try:
        return int(datetime.strptime(text, "%Y-%m-%d.%H:%M:%S").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return -1


def _second(row: Row, name: str) -> int:
    text = row.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else -1


def convert(recording: Recording) -> Game:
    """A game for the store; raises `Unusable` if it can't be one."""
    row = recording.row
    if recording.listed:
        raise Unusable(LISTED, "blacklist.txt names it")
    if row is None:
        raise Unusable(ABANDONED, "no game of its player was played then")
    facts = facts_of(row)
    if facts["turns"] <= 0 or (facts["turns"] <= _BRIEF_TURNS and row["death"] in ("escaped", "quit")):
        raise Unusable(BRIEF, f"{row['death']} after {facts['turns']} turns")
    if not any(path.stat().st_size for path in recording.paths):
        raise Unusable(EMPTY, "the file is empty")
    return packed(SCREENS, _steps(recording.paths), "screen", source=recording.source, **facts)


def _steps(paths: tuple[Path, ...]) -> Iterator[NetHackSteps]:
    for chars, colors, cursor, _, scores in ttyrec.screens(paths):
        yield NetHackSteps(chars, colors, cursor, np.full(len(chars), NO_ACTION, np.uint8), scores)
