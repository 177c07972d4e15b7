"""Consecutive steps of an episode to bytes and back: changed cells, columns apart, zstd.

A record is a header (magic, checksum of all that follows, number of steps, compressed size of each column) and
a zstd frame for each column: what `data.screens` makes of the screens, then cursors, actions and scores.
"""

import itertools
import struct
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import zstandard

from data import screens
from data.spec import COLUMNS, NO_ACTION, ROWS, Steps

CODEC = "cells-zstd-1"
"""Name of this encoding, stored in the manifest."""

MAX_STEPS = 4096
"""Most steps in one record, so that no header can ask for more memory than this."""

_MAGIC = b"ISO2"
_COLUMNS = (
    ("base_S", "u1"), ("runs_S", "<u2"), ("run_Rx2", "u1"), ("cell_Cx2", "u1"), ("move_Sx2", "u1"), ("action_S", "u1"),
    ("score_S", "<i4"),
)  # fmt: skip
"""In the order of the record; cursors and scores as differences from the step before."""
_HEADER = struct.Struct(f"<4sI{2 + len(_COLUMNS)}I")
_LEVEL = 6


class CorruptChunk(Exception):
    """A record that isn't what `encode` wrote: cut short, altered, or something else altogether."""


@dataclass(frozen=True)
class Chunk:
    """A record without its compression, checked: about 250 bytes a step, from which any step can be painted."""

    steps: int
    arrays: tuple[np.ndarray, ...]
    """As `data.screens.paint` wants them: columns of screens, their segments, cursor_Sx2 and action_S, uint8."""
    before: int
    """The action before the first step; NO_ACTION at an episode's start."""

    @cached_property
    def where(self) -> tuple[int, ...]:
        """What `data.screens.paint` wants of a chunk: the arrays' addresses, the action before."""
        return (*(array.ctypes.data for array in self.arrays), self.before)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.nbytes for array in self.arrays)


class Part(NamedTuple):
    """Steps [start, stop) of a chunk, the first of the batch's rows that they go to, and their episode's number."""

    chunk: Chunk
    start: int
    stop: int
    row: int
    episode: int = 0


class Rows(NamedTuple):
    """N rows of a batch."""

    chars_Nx24x80: np.ndarray
    """uint8, as the next three."""
    colors_Nx24x80: np.ndarray
    cursor_Nx2: np.ndarray
    prev_action_N: np.ndarray
    action_N: np.ndarray
    """int32."""
    episode_N: np.ndarray
    """int32."""
    mask_N: np.ndarray
    """bool, made true."""


def encode(steps: Steps, before: int = NO_ACTION) -> bytes:
    """Pack S consecutive steps of one episode, 1 <= S <= MAX_STEPS, and the action before; dtypes as in `Steps`."""
    count = len(steps.action_S)
    if not 1 <= count <= MAX_STEPS:
        raise ValueError(f"a chunk holds 1 to {MAX_STEPS} steps, not {count}")
    words = (_words(np.ascontiguousarray(screen)) for screen in (steps.chars_Sx24x80, steps.colors_Sx24x80))
    moved_Sx2 = np.diff(steps.cursor_Sx2, axis=0, prepend=np.zeros((1, 2), np.uint8))
    gained_S = np.diff(steps.score_S.astype(np.int32, copy=False), prepend=np.int32(0))
    columns = (*screens.changed_cells(*words), moved_Sx2, steps.action_S, gained_S)
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
    packed = [
        compressor.compress(column.astype(dtype, copy=False).tobytes())
        for column, (_, dtype) in zip(columns, _COLUMNS, strict=True)
    ]
    body = b"".join(packed)
    sizes = struct.pack(f"<{2 + len(packed)}I", count, before, *map(len, packed))
    return struct.pack("<4sI", _MAGIC, zlib.crc32(body, zlib.crc32(sizes))) + sizes + body


def unpack(record: bytes) -> Chunk:
    """Undo the compression of a record; raises `CorruptChunk` unless every byte is as `encode` wrote it."""
    return _unpacked(*_frames(record))


def decode(record: bytes) -> Steps:
    """All steps of a record, scores included; raises `CorruptChunk` as `unpack` does."""
    count, before, frames = _frames(record)
    chunk = _unpacked(count, before, frames)
    rows = empty_rows(count)
    paint([Part(chunk, 0, count, 0)], rows)
    scores = np.frombuffer(_decompress(frames[-1], 4 * count, 4 * count), "<i4")
    actions = rows.action_N.astype(np.uint8)
    return Steps(*rows[:3], actions, np.cumsum(scores, dtype=np.int32))


def empty_rows(count: int) -> Rows:
    """Rows to paint into, of arbitrary content."""
    chars, colors = (np.empty((count, ROWS, COLUMNS), np.uint8) for _ in range(2))
    cursor, prev_action = np.empty((count, 2), np.uint8), np.empty(count, np.uint8)
    action, episode = np.empty(count, np.int32), np.empty(count, np.int32)
    return Rows(chars, colors, cursor, prev_action, action, episode, np.zeros(count, bool))


def paint(parts: Sequence[Part], rows: Rows) -> None:
    """Fill rows, given as contiguous arrays, with the steps of chunks; the other rows stay as they are."""
    if not parts:
        return
    chunks, *spans = zip(*parts, strict=True)
    start_P, stop_P, row_P, _ = spans = np.array(spans, np.int64)
    steps_P, count = np.array([chunk.steps for chunk in chunks]), len(rows.action_N)
    wrong_P = (start_P < 0) | (start_P > stop_P) | (stop_P > steps_P) | (row_P < 0) | (row_P + stop_P - start_P > count)
    if wrong_P.any():
        part = int(wrong_P.argmax())
        raise IndexError(f"steps [{start_P[part]}, {stop_P[part]}) of {steps_P[part]} to row {row_P[part]} of {count}")
    where_Px8 = np.array([chunk.where for chunk in chunks], np.uint64)
    parts_Px12 = np.concatenate([where_Px8, spans.T.astype(np.uint64)], axis=1)
    chars, colors, *others = rows
    screens.paint(parts_Px12, chars.reshape(count, screens.CELLS), colors.reshape(count, screens.CELLS), *others)


def _frames(record: bytes) -> tuple[int, int, list[memoryview]]:
    """Number of steps, the action before and the zstd frames of a record whose checksum is right."""
    if len(record) < _HEADER.size:
        raise CorruptChunk(f"{len(record)} bytes are too few for a header")
    magic, checksum, count, before, *sizes = _HEADER.unpack_from(record)
    if magic != _MAGIC:
        raise CorruptChunk(f"it begins with {magic!r}, not {_MAGIC!r}")
    if len(record) != _HEADER.size + sum(sizes):
        raise CorruptChunk(f"{len(record)} bytes where its header says {_HEADER.size + sum(sizes)}")
    body = memoryview(record)
    if zlib.crc32(body[8:]) != checksum:
        raise CorruptChunk("its checksum does not match")
    if not 1 <= count <= MAX_STEPS:
        raise CorruptChunk(f"it claims {count} steps")
    if before > NO_ACTION:
        raise CorruptChunk(f"it claims the action {before}")
    ends = itertools.accumulate(sizes, initial=_HEADER.size)
    return count, before, [body[start:end] for start, end in itertools.pairwise(ends)]


def _unpacked(count: int, before: int, frames: list[memoryview]) -> Chunk:
    most = 2 * count * screens.CELLS
    limits = ((count, count), (2 * count, 2 * count), (0, most), (0, most), (2 * count, 2 * count), (count, count))
    base, runs, run, cell, move, action = (
        np.frombuffer(_decompress(frame, *limit), dtype)
        for frame, limit, (_, dtype) in zip(frames[:-1], limits, _COLUMNS[:-1], strict=True)
    )
    if len(run) % 2 or len(cell) % 2:
        raise CorruptChunk("half a run or half a cell")
    run_Rx2, cell_Cx2 = run.reshape(-1, 2), cell.reshape(-1, 2)
    begin = screens.segments(base, runs, run_Rx2, len(cell_Cx2))
    if not len(begin):
        raise CorruptChunk("its changed cells leave the screen")
    cursor_Sx2 = np.cumsum(move.reshape(-1, 2), axis=0, dtype=np.uint8)
    for array in (begin, cursor_Sx2):
        array.setflags(write=False)
    return Chunk(count, (base, runs, run_Rx2, cell_Cx2, begin, cursor_Sx2, action), before)


def _words(screens_Sx24x80: np.ndarray) -> np.ndarray:
    return screens_Sx24x80.reshape(-1, screens.CELLS).view(np.uint64)


class _PerThread(threading.local):
    """A decompressor serves one thread at a time and is costly to make."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_per_thread = _PerThread()


def _decompress(packed: memoryview, least: int, most: int) -> bytes:
    """`packed` undone; the size that it claims is checked before anything is allocated."""
    try:
        claimed = zstandard.frame_content_size(packed)
        if not least <= claimed <= most:
            raise CorruptChunk(f"a column claims {claimed} bytes instead of {least} to {most}")
        return _per_thread.decompressor.decompress(packed)
    except zstandard.ZstdError as error:
        raise CorruptChunk(f"a column does not decompress ({error})") from error
