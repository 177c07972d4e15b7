"""Consecutive steps of an episode to bytes and back: columns apart, each a zstd frame, sealed by a checksum.

A record is a header (magic, checksum of all that follows, number of steps, the action before, compressed size of
each column) and the columns: those of the game, which `data.screens` and `data.frames` make, then actions and scores.
"""

import itertools
import struct
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import zstandard

from data.spec import Field, Rows, Steps

MAX_STEPS = 4096
"""Most steps in one record, so that no header can ask for more memory than this."""

_LEVEL = 6


class CorruptChunk(Exception):
    """A record that isn't what `encode` wrote: cut short, altered, or something else altogether."""


@dataclass(frozen=True)
class Chunk:
    """A record without its compression, checked, from which any step can be painted."""

    steps: int
    arrays: tuple[np.ndarray, ...]
    """What the codec's kernel reads, in its order; the last is action_S, uint8."""
    before: int
    """The action before the first step; the codec's `no_action` at an episode's start."""

    @cached_property
    def where(self) -> tuple[int, ...]:
        """What a kernel wants of a chunk: the arrays' addresses, the action before."""
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


class Column(NamedTuple):
    """A column of a record: its dtype, and the least and most elements that a step can have in it."""

    dtype: str
    least: int
    most: int


_SHARED = (Column("u1", 1, 1), Column("<i4", 1, 1))
"""Actions, and scores as differences from the step before."""


class Codec(ABC):
    """How the steps of one kind of game become records; what a game must add to what all share."""

    name: str
    """Stored in the manifest: another way to encode has another name."""
    magic: bytes
    """Four bytes that a record begins with."""
    observation: dict[str, Field]
    """What a batch holds of a step."""
    columns: tuple[Column, ...]
    """The game's own columns, in the order of the record."""
    no_action: int
    """Stands for the action before an episode's first; 255, or one past the last action."""
    step_bytes: int
    """Memory of a step in an unpacked chunk, on average over real games."""

    @abstractmethod
    def split(self, steps: Any) -> tuple[np.ndarray, ...]:
        """The game's own columns of steps."""

    @abstractmethod
    def check(self, steps: int, columns: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The arrays that `draw` reads, actions left out; raises `CorruptChunk` where columns contradict each other."""

    @abstractmethod
    def draw(self, parts_PxK: np.ndarray, rows: Rows) -> None:
        """Fill rows, every array contiguous, from parts, uint64 [P, K].

        A part is the addresses of its chunk's arrays, the action before the chunk, start, stop, row and episode. All
        of them have been checked.
        """

    @abstractmethod
    def steps(self, observation: dict[str, np.ndarray], action_S: np.ndarray, score_S: np.ndarray) -> Any:
        """Steps of the game's own type."""

    @abstractmethod
    def identity(self, steps: Any) -> tuple[np.ndarray, ...]:
        """Arrays [S, ...] that tell two games apart, whatever the codec: their hash is the episode's id."""

    def encode(self, steps: Steps, before: int | None = None) -> bytes:
        """Pack S consecutive steps of one episode, 1 <= S <= MAX_STEPS, and the action before them, if there is one."""
        count = len(steps.action_S)
        if not 1 <= count <= MAX_STEPS:
            raise ValueError(f"a chunk holds 1 to {MAX_STEPS} steps, not {count}")
        gained_S = np.diff(steps.score_S.astype(np.int32, copy=False), prepend=np.int32(0))
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
        packed = []
        for array, column in zip((*self.split(steps), steps.action_S, gained_S), self.columns + _SHARED, strict=True):
            if not column.least * count <= array.size <= column.most * count:
                raise ValueError(f"{array.size} elements in a column of {count} steps")
            packed.append(compressor.compress(array.astype(column.dtype, copy=False).tobytes()))
        body = b"".join(packed)
        sizes = struct.pack(
            f"<{2 + len(packed)}I", count, self.no_action if before is None else before, *map(len, packed)
        )
        return struct.pack("<4sI", self.magic, zlib.crc32(body, zlib.crc32(sizes))) + sizes + body

    def unpack(self, record: bytes) -> Chunk:
        """Undo the compression of a record; raises `CorruptChunk` unless every byte is as `encode` wrote it."""
        return self._unpack(*self._frames(record))

    def decode(self, record: bytes) -> Any:
        """All steps of a record, scores included; raises `CorruptChunk` as `unpack` does."""
        count, before, frames = self._frames(record)
        chunk = self._unpack(count, before, frames)
        rows = self.empty_rows(count)
        self.paint([Part(chunk, 0, count, 0)], rows)
        gained_S = _column(frames[-1], count, _SHARED[-1])
        return self.steps(rows.observation, chunk.arrays[-1].copy(), np.cumsum(gained_S, dtype=np.int32))

    def empty_rows(self, count: int) -> Rows:
        """Rows to paint into, of arbitrary content, their mask false."""
        observation = {name: np.empty((count, *field.shape), field.dtype) for name, field in self.observation.items()}
        return Rows(observation, np.empty(count, np.int32), np.empty(count, np.int32), np.zeros(count, bool))

    def paint(self, parts: Sequence[Part], rows: Rows) -> None:
        """Fill rows, given as contiguous arrays, with the steps of chunks, and mark them; others stay as they are."""
        if not parts:
            return
        chunks, *spans = zip(*parts, strict=True)
        start_P, stop_P, row_P, _ = spans = np.array(spans, np.int64)
        steps_P, count = np.array([chunk.steps for chunk in chunks]), len(rows.action_N)
        end_P = row_P + stop_P - start_P
        wrong_P = (start_P < 0) | (start_P > stop_P) | (stop_P > steps_P) | (row_P < 0) | (end_P > count)
        if wrong_P.any():
            part = int(wrong_P.argmax())
            raise IndexError(
                f"steps [{start_P[part]}, {stop_P[part]}) of {steps_P[part]} to row {row_P[part]} of {count}"
            )
        where_PxK = np.array([chunk.where for chunk in chunks], np.uint64)
        self.draw(np.concatenate([where_PxK, spans.T.astype(np.uint64)], axis=1), rows)

    def _frames(self, record: bytes) -> tuple[int, int, list[memoryview]]:
        """Number of steps, the action before and the zstd frames of a record whose checksum is right."""
        header = struct.Struct(f"<4sI{2 + len(self.columns + _SHARED)}I")
        if len(record) < header.size:
            raise CorruptChunk(f"{len(record)} bytes are too few for a header")
        magic, checksum, count, before, *sizes = header.unpack_from(record)
        if magic != self.magic:
            raise CorruptChunk(f"it begins with {magic!r}, not {self.magic!r}")
        if len(record) != header.size + sum(sizes):
            raise CorruptChunk(f"{len(record)} bytes where its header says {header.size + sum(sizes)}")
        body = memoryview(record)
        if zlib.crc32(body[8:]) != checksum:
            raise CorruptChunk("its checksum does not match")
        if not 1 <= count <= MAX_STEPS:
            raise CorruptChunk(f"it claims {count} steps")
        if before > self.no_action:
            raise CorruptChunk(f"it claims the action {before}")
        ends = itertools.accumulate(sizes, initial=header.size)
        return count, before, [body[start:end] for start, end in itertools.pairwise(ends)]

    def _unpack(self, count: int, before: int, frames: list[memoryview]) -> Chunk:
        *own, action_S = (
            _column(frame, count, column)
            for frame, column in zip(frames[:-1], (*self.columns, _SHARED[0]), strict=True)
        )
        arrays = self.check(count, own)
        for array in arrays:
            array.setflags(write=False)
        return Chunk(count, (*arrays, action_S), before)


def _column(packed: memoryview, steps: int, column: Column) -> np.ndarray:
    """The elements of a column; the size that it claims is checked before anything is allocated."""
    size = np.dtype(column.dtype).itemsize
    least, most = (steps * size * elements for elements in column[1:])
    try:
        claimed = zstandard.frame_content_size(packed)
        if not least <= claimed <= most or claimed % size:
            raise CorruptChunk(f"a column claims {claimed} bytes instead of {least} to {most}")
        return np.frombuffer(_per_thread.decompressor.decompress(packed), column.dtype)
    except zstandard.ZstdError as error:
        raise CorruptChunk(f"a column does not decompress ({error})") from error


class _PerThread(threading.local):
    """A decompressor serves one thread at a time and is costly to make."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_per_thread = _PerThread()
