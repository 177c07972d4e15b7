"""Recordings of a terminal, packed by bzip2: versions 2 and 3 of NLE, and version 1, which holds screens alone.

What NLE writes is read by `data.importers.terminal`: 3.3 times as fast as by NLE's converter, which decides what a
screen is.
The converter takes a recording that breaks off for one that ends, and writes past its buffers where the order of
frames is wrong, so that it is only given what was checked before.
"""

import bz2
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nle.dataset import Converter

from data.importers import terminal
from data.importers.base import DAMAGED, Unusable, stop_if_asked
from data.spec import COLUMNS, NO_SCORE, ROWS
from data.store.reader import CHUNK_STEPS

_BLOCK = 1 << 24
_TRAP = "a trap: a character to be repeated for hours"
_HEADER_1 = struct.Struct("<iii")


class Played(NamedTuple):
    """Consecutive steps of a recording; arrays that the next ones overwrite."""

    chars_Sx24x80: np.ndarray
    """uint8."""
    colors_Sx24x80: np.ndarray
    """uint8, NLE's tty colours."""
    cursor_Sx2: np.ndarray
    """uint8."""
    key_S: np.ndarray
    """uint8, the key press that followed the screen; 0 in version 1."""
    score_S: np.ndarray
    """int32; NO_SCORE where the version holds none."""


def steps(path: Path, version: int) -> Iterator[Played]:
    """The steps of a recording of version 2 or 3, all but the last CHUNK_STEPS at a time.

    Raises `data.importers.base.Unusable` for what is damaged, maybe after steps that are right.
    """
    arrays = _arrays()
    flat = _flat(arrays)
    screen, done, step = terminal.new_terminal(), 0, 0
    for data in _Frames(path):
        while True:
            read, step, why = terminal.read(data.left, version, screen, *flat, step, True)
            data.skip(int(read))
            if why != terminal.FULL:
                break
            stop_if_asked()
            yield arrays
            done, step = done + step, 0
        if why == terminal.STRANGE:
            yield from _converted(path, version, done)
            return
        data.complain(why, done + step)
    if step:
        yield Played(*(array[:step] for array in arrays))


def screens(paths: Sequence[Path]) -> Iterator[Played]:
    """Every frame of recordings of version 1, one after the other on the same terminal, as a step without a key."""
    converter = Converter(ROWS, COLUMNS, 1)
    for path in paths:
        frames = _count_frames(path)
        converter.load_ttyrec(str(path))
        yield from _convert(converter, frames, None)


def _arrays() -> Played:
    return Played(
        np.empty((CHUNK_STEPS, ROWS, COLUMNS), np.uint8),
        np.empty((CHUNK_STEPS, ROWS, COLUMNS), np.uint8),
        np.empty((CHUNK_STEPS, 2), np.uint8),
        np.zeros(CHUNK_STEPS, np.uint8),
        np.full(CHUNK_STEPS, NO_SCORE, np.int32),
    )


def _flat(played: Played) -> Played:
    """The same arrays with a screen's cells in one axis, as `data.importers.terminal.read` fills them."""
    chars, colors, *others = played
    return Played(chars.reshape(CHUNK_STEPS, -1), colors.reshape(CHUNK_STEPS, -1), *others)


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


def _converted(path: Path, version: int, skip: int) -> Iterator[Played]:
    """The steps after the first `skip` (a multiple of CHUNK_STEPS), by NLE's converter."""
    keys = _keys(path, version)
    converter = Converter(ROWS, COLUMNS, version)
    converter.load_ttyrec(str(path))
    for number, played in enumerate(_convert(converter, len(keys), keys)):
        if number * CHUNK_STEPS >= skip:
            yield played


def _convert(converter: Converter, steps: int, keys: np.ndarray | None) -> Iterator[Played]:
    """So many steps of the recording that the converter has loaded, with these keys.

    The last may be missing: the converter leaves out a frame with which the bzip2 stream ends.
    """
    buffers = chars, colors, cursor, _, pressed, scores = converter_buffers()
    for start in range(0, steps, CHUNK_STEPS):
        count = CHUNK_STEPS - converter.convert(*buffers)
        told = keys is None or np.array_equal(pressed[:count], keys[start : start + count])
        if count < min(CHUNK_STEPS, steps - 1 - start) or not told:
            raise Unusable(DAMAGED, f"NLE's converter stops or differs after step {start}")
        stop_if_asked()
        if not count:
            return
        yield Played(
            chars[:count],
            colors[:count].view(np.uint8),
            cursor[:count].astype(np.uint8),
            pressed[:count],
            scores[:count],
        )


def _keys(path: Path, version: int) -> np.ndarray:
    """Keys uint8 [steps] of a recording, after checking all of it but what it writes to the terminal."""
    flat = _flat(_arrays())
    screen, found = terminal.new_terminal(), [np.zeros(0, np.uint8)]
    for data in _Frames(path):
        while True:
            read, step, why = terminal.read(data.left, version, screen, *flat, 0, False)
            data.skip(int(read))
            found.append(flat.key_S[:step].copy())
            if why != terminal.FULL:
                break
        data.complain(why, sum(map(len, found)))
    return np.concatenate(found)


def _count_frames(path: Path) -> int:
    """Number of frames of a recording of version 1, after checking that they are whole."""
    count, (_, _, state) = 0, terminal.new_terminal()
    for data in _Frames(path):
        left, at = data.left.data, 0
        while len(left) - at >= _HEADER_1.size:
            _, _, size = _HEADER_1.unpack_from(left, at)
            if not 0 < size <= terminal.MAX_PAYLOAD:
                raise Unusable(DAMAGED, f"a frame of {size} bytes")
            if at + _HEADER_1.size + size > len(left):
                break
            at += _HEADER_1.size + size
            if terminal.trapped(data.left, at - size, at, state):
                raise Unusable(DAMAGED, _TRAP)
            count += 1
        data.skip(at)
    return count


class _Frames:
    """The bytes of a recording, block by block; what is left of one goes in front of the next."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.left = np.zeros(0, np.uint8)

    def __iter__(self) -> Iterator["_Frames"]:
        for block in _decompressed(self._path):
            self.left = np.concatenate([self.left, np.frombuffer(block, np.uint8)])
            yield self
        if len(self.left):
            raise Unusable(DAMAGED, "cut short inside a frame")

    def skip(self, count: int) -> None:
        """So many bytes are read."""
        self.left = self.left[count:]

    def complain(self, why: int, keys: int) -> None:
        """Raise what `data.importers.terminal.read` found wrong."""
        if why == terminal.SIZE:
            size = int(self.left[8:12].view("<i4")[0])
            raise Unusable(DAMAGED, f"a frame of {size} bytes")
        if why == terminal.TRAP:
            raise Unusable(DAMAGED, _TRAP)
        if why == terminal.PLACE:
            raise Unusable(DAMAGED, f"a frame out of place after {keys} key presses")


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
