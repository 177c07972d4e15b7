"""NetHack recordings to a store: ttyrec files of NLE's recorder, with the xlogfile beside them.

A step is a screen and the key press that followed it, exactly as NLE's own converter reads them. A screen
that no key followed, such as the last of a game, is not a step. Keys that NLE itself pressed while it reset
the game (a space or two past the opening messages) can't be told from the player's and are kept.
"""

import bz2
import fnmatch
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from nle.dataset import Converter

from data.command import UserError
from data.importer import (
    ABANDONED,
    DAMAGED,
    EMPTY,
    Options,
    Report,
    Unusable,
    fingerprint_of,
    folders,
    import_games,
    stop_if_asked,
)
from data.screens import SCREENS
from data.spec import COLUMNS, NO_SCORE, ROWS, NetHackSteps, action_of_key
from data.store import CHUNK_STEPS
from data.writer import NETHACK, Game, pack

NO_KEYS, FOREIGN = "without key presses", "with a key outside the action table"
"""Further kinds of recordings that are skipped."""

_HEADER = struct.Struct("<iiiB")
_OUTPUT, _KEY, _SCORE = 0, 1, 2
_MAX_PAYLOAD = 1 << 20
_BLOCK = 1 << 24

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
        """See `data.importer.Recording`."""
        return fingerprint_of([self.path])


def import_nld(
    folder: str | Path,
    store: str | Path,
    **options: Unpack[Options],
) -> Report:
    """Import every finished game under `folder` into a store, new or not; see `data.importer.import_games`."""
    return import_games(
        store,
        NETHACK,
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
        try:
            lines = (folder / log).read_text("latin-1").split("\n")
        except OSError as error:
            raise UserError(f"can't read {folder / log}: {error.strerror}") from error
        for line in lines:
            row: Row = {}
            for field in line.split("\t"):
                key, _, value = field.partition("=")
                row[key] = value
            name = row.get("ttyrecname", "")
            rows[name] = (*rows.get(name, ()), row)
    return rows


def convert(recording: Recording) -> Game:
    """A recording as a game for the store; raises `Unusable` if it can't be one."""
    if not recording.path.stat().st_size:
        raise Unusable(EMPTY, "the file is empty")
    if not recording.rows:
        raise Unusable(ABANDONED, "no xlogfile beside it has a row with its name")
    row, *others = recording.rows
    if others:
        raise Unusable(DAMAGED, f"{len(recording.rows)} rows of the xlogfile have its name")
    version = version_of(recording.path)
    facts = _facts(row)
    seed = _seed(recording.path.parent)
    keys = scan(recording.path, version)
    if not len(keys):
        raise Unusable(EMPTY, "no key was pressed")
    actions = action_of_key()[keys]
    if actions.min() < 0:
        step = int(np.argmin(actions >= 0))
        raise Unusable(FOREIGN, f"key {keys[step]} at step {step} is no action")
    steps = _steps(recording.path, version, keys, actions.astype(np.uint8))
    return pack(SCREENS, steps, source=recording.source, seed=seed, **facts)


def version_of(path: Path) -> int:
    """The ttyrec version that a file name tells; records without key presses are refused."""
    text = path.name.removesuffix(".bz2").rpartition("ttyrec")[2]
    if text in ("", "1"):
        raise Unusable(NO_KEYS, "ttyrec version 1 records screens alone")
    if text not in ("2", "3"):
        raise Unusable(DAMAGED, f"ttyrec version {text} is unknown")
    return int(text)


def _facts(row: Row) -> dict[str, Any]:
    """What an xlogfile row says of a game, as fields of `Game`."""
    try:
        return {
            "score": float(int(row["points"])),
            "role": "-".join(row[name] for name in ("role", "race", "align0", "gender0")).lower(),
            "turns": int(row["turns"]),
            "depth": int(row["maxlvl"]),
            "death": row["death"] + (f", while {row['while']}" if "while" in row else ""),
        }
    except (KeyError, ValueError) as error:
        raise Unusable(DAMAGED, f"its xlogfile row is incomplete ({error})") from error


def _seed(folder: Path) -> int | None:
    """The seed that `data.collect` notes beside the one game of a folder; NLE's recorder notes none."""
    note = folder / "game.json"
    if not note.exists():
        return None
    try:
        return int(json.loads(note.read_text())["seed"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unusable(DAMAGED, f"{note.name} beside it is damaged ({error})") from error


def scan(path: Path, version: int) -> np.ndarray:
    """Keys uint8 [steps] of a recording, after checking all of it.

    NLE's converter takes a recording that breaks off for one that ends, and writes past its buffers where the
    order of frames is wrong, so it is only given what passes here.
    """
    keys = bytearray()
    scored = False
    for channel, payload in _frames(path):
        if channel == _KEY and len(payload) == 1 and (scored or version < 3):
            keys += payload
            scored = False
        elif channel == _SCORE and version == 3 and len(payload) == 4 and not scored:
            scored = True
        elif channel != _OUTPUT:
            raise Unusable(DAMAGED, f"a frame out of place after {len(keys)} key presses")
    return np.frombuffer(keys, np.uint8)


def _frames(path: Path) -> Iterator[tuple[int, memoryview]]:
    """Channel and payload of each frame of a recording of version 2 or 3."""
    rest = b""
    for block in _decompressed(path):
        data = memoryview(rest + block)
        at = 0
        while at + _HEADER.size <= len(data):
            _, _, size, channel = _HEADER.unpack_from(data, at)
            if not 0 < size <= _MAX_PAYLOAD:
                raise Unusable(DAMAGED, f"a frame of {size} bytes")
            end = at + _HEADER.size + size
            if end > len(data):
                break
            yield channel, data[at + _HEADER.size : end]
            at = end
        rest = bytes(data[at:])
    if rest:
        raise Unusable(DAMAGED, "cut short inside a frame")


def _decompressed(path: Path) -> Iterator[bytes]:
    """The content of a bzip2 file, in blocks, of exactly one whole stream: the converter reads no further."""
    unzip = bz2.BZ2Decompressor()
    packed = path.read_bytes()
    try:
        while not unzip.eof:
            block = unzip.decompress(packed, _BLOCK)
            packed = b""
            if not block and unzip.needs_input:
                raise Unusable(DAMAGED, "cut short")
            yield block
    except OSError as error:
        raise Unusable(DAMAGED, "not valid bzip2 data") from error
    if unzip.unused_data:
        raise Unusable(DAMAGED, f"{len(unzip.unused_data)} bytes follow the end of its bzip2 stream")


def converter_buffers() -> tuple[np.ndarray, ...]:
    """A chunk's arrays as NLE's converter fills them: characters, colours, cursors, times, keys, scores."""
    return (
        np.zeros((CHUNK_STEPS, ROWS, COLUMNS), np.uint8),
        np.zeros((CHUNK_STEPS, ROWS, COLUMNS), np.int8),
        np.zeros((CHUNK_STEPS, 2), np.int16),
        np.zeros(CHUNK_STEPS, np.int64),
        np.zeros(CHUNK_STEPS, np.uint8),
        np.full(CHUNK_STEPS, NO_SCORE, np.int32),
    )


def _steps(path: Path, version: int, keys: np.ndarray, actions: np.ndarray) -> Iterator[NetHackSteps]:
    """A recording's steps a chunk at a time, in arrays that the next chunk overwrites."""
    buffers = chars, colors, cursor, _, pressed, scores = converter_buffers()
    converter = Converter(ROWS, COLUMNS, version)
    converter.load_ttyrec(str(path))
    for start in range(0, len(keys), CHUNK_STEPS):
        count = CHUNK_STEPS - converter.convert(*buffers)
        expected = keys[start : start + CHUNK_STEPS]
        if not np.array_equal(pressed[:count], expected):
            raise Unusable(DAMAGED, f"NLE's converter stops or differs after key press {start}")
        stop_if_asked()
        yield NetHackSteps(
            chars[:count],
            colors[:count].view(np.uint8),
            cursor[:count].astype(np.uint8),
            actions[start : start + count],
            scores[:count],
        )
