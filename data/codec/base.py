"""Consecutive steps of an episode to bytes and back: columns end to end, compressed by zstd, sealed by a checksum.

A record is a header (magic, checksum of all that follows, number of steps, the action before, number of elements of
each column, compressed size of each frame) and two zstd frames: the columns that are painted, which are those of the
game (`data.codec.screens` and `data.codec.frames` make them) and the actions; and the scores.

A frame for every column takes 1 % less, but a reader enters Python's lock once for each, and two threads wait for
it: they unpacked 1.15 times as much as one. A dictionary of 110 KiB would save 8 % of NetHack's records.
"""

import itertools
import math
import struct
import threading
import zlib
from abc import ABC, abstractmethod
from array import array as packed_array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import zstandard
from numba import njit

from data.codec.buffers import BufferPool
from data.spec import Batch, Field, Observation, Rows, Steps

MAX_STEPS = 4096
"""Most steps in one record, so that no header can ask for more memory than this."""

_LEVEL = 9
"""Of 3, 6, 9, 12 and 15: 16.1, 14.0, 13.4, 13.1 and 12.8 bytes a step of NetHack, in 0.3, 0.9, 1.4, 4.7 and 10 us."""


class CorruptChunk(Exception):
    """A record that isn't what `encode` wrote: cut short, altered, or something else altogether."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A record without its compression, checked, from which any step can be painted."""

    steps: int
    action_S: np.ndarray
    """uint8, read-only."""
    arrays: tuple[np.ndarray, ...]
    """The columns, end to end, and what the codec found by checking them; read-only."""
    where: bytes
    """What a kernel wants, as uint64: addresses of the columns and of what was found, the action before, `steps`."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.nbytes for array in self.arrays)


class Span(NamedTuple):
    """A row of a table int64 [P, 4]: steps [start, stop) of a chunk, the batch's row of the first, the episode."""

    start: int
    stop: int
    row: int
    episode: int = 0


class Column(NamedTuple):
    """A column of a record: its dtype, and the least and most elements that a step can have in it."""

    dtype: str
    least: int
    most: int


# Not outside Python's lock: getting it back takes longer.
@njit(cache=True)
def misplaced(parts_PxK, rows):
    """The first part whose steps [start, stop) its chunk lacks, or that would leave the rows; -1 if there is none."""
    for part in range(len(parts_PxK)):
        steps, start, stop, row = parts_PxK[part, -5:-1]
        if start > stop or stop > steps or row > rows or row + stop - start > rows:
            return part
    return -1


_LARGE = 512
"""Bytes of a step from which an array of a batch lies in memory used again."""

_GAINED = "<i4"
"""Of the scores, kept as differences from the step before."""


class Codec(ABC):
    """How the steps of one kind of game become records; what a game must add to what all share."""

    name: str
    """Stored in the manifest: another way to encode has another name."""
    magic: bytes
    """Four bytes that a record begins with."""
    observation: dict[str, Field]
    """What a batch holds of a step."""
    columns: tuple[Column, ...]
    """The game's own columns, in the order of the record: those of two bytes where they are aligned."""
    no_action: int
    """Stands for the action before an episode's first; 255, or one past the last action."""

    @abstractmethod
    def split(self, steps: Any) -> tuple[np.ndarray, ...]:
        """The game's own columns of steps."""

    @abstractmethod
    def check(self, painted: np.ndarray, steps: int, sizes: list[int]) -> tuple[np.ndarray, ...]:
        """Arrays that `draw` wants beside the columns, which lie end to end in `painted`, uint8, by their `sizes`.

        Raises `CorruptChunk` where the columns contradict each other.
        """

    @abstractmethod
    def draw(self, parts_PxK: np.ndarray, rows: Rows) -> None:
        """Fill rows, every array contiguous, from parts, uint64 [P, K].

        A part is the addresses of its chunk's columns, of its actions and of what `check` gave, the action before
        the chunk, its number of steps, and a `Span`. All of them have been checked.
        """

    @abstractmethod
    def steps(self, observation: dict[str, np.ndarray], action_S: np.ndarray, score_S: np.ndarray) -> Any:
        """Steps of the game's own type."""

    @abstractmethod
    def identity(self, steps: Any) -> tuple[np.ndarray, ...]:
        """Arrays [S, ...] that tell two games apart, whatever the codec: their hash is the episode's id."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of a batch's arrays."""
        return tuple(self.observation)

    def arrays(self, lanes: int, window: int, pieces: int, room: BufferPool) -> Observation:
        """Observations of a batch, to be filled; of a lane's window at most `pieces` are of different episodes.

        What is large lies in memory of `room`, which takes it back once nobody holds the batch.
        """
        shapes = {name: (lanes, window, *field.shape) for name, field in self.observation.items()}
        return {
            name: room.take(shape)
            if math.prod(self.observation[name].shape) >= _LARGE
            else np.zeros(shape, self.observation[name].dtype)
            for name, shape in shapes.items()
        }

    def fill(self, chunks: Sequence[Chunk], span_Px4: np.ndarray, batch: Batch) -> None:
        """Paint steps of chunks into a batch of `arrays`, in order of lanes and steps, and set the rest to zero."""
        self.paint(chunks, span_Px4, rows_of(batch))
        if not batch.mask.all():
            for array in batch.observation.values():
                array[~batch.mask] = 0

    def encode(self, steps: Steps, before: int | None = None) -> bytes:
        """Pack S consecutive steps of one episode, 1 <= S <= MAX_STEPS, and the action before them, if there is one."""
        count = len(steps.action_S)
        if not 1 <= count <= MAX_STEPS:
            raise ValueError(f"a chunk holds 1 to {MAX_STEPS} steps, not {count}")
        gained_S = np.diff(steps.score_S.astype(np.int32, copy=False), prepend=np.int32(0))
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
        painted = []
        for array, column in zip(self.split(steps), self.columns, strict=True):
            if not column.least * count <= array.size <= column.most * count:
                raise ValueError(f"{array.size} elements in a column of {count} steps")
            painted.append(array.astype(column.dtype, copy=False))
        contents = (*painted, steps.action_S), (gained_S.astype(_GAINED, copy=False),)
        frames = [compressor.compress(b"".join(array.tobytes() for array in arrays)) for arrays in contents]
        numbers = [count, self.no_action if before is None else before]
        numbers += [array.size for array in painted] + [len(frame) for frame in frames]
        record = self._header.pack(self.magic, 0, *numbers) + b"".join(frames)
        return record[:4] + struct.pack("<I", zlib.crc32(record[8:])) + record[8:]

    def unpack(self, record: bytes) -> Chunk:
        """Undo the compression of a record; raises `CorruptChunk` unless every byte is as `encode` wrote it."""
        return self._unpack(self._open(record))

    def decode(self, record: bytes) -> Any:
        """All steps of a record, scores included; raises `CorruptChunk` as `unpack` does."""
        opened = self._open(record)
        chunk, count = self._unpack(opened), opened.steps
        rows = self.empty_rows(count)
        self.paint([chunk], np.array([Span(0, count, 0)]), rows)
        gained_S = np.frombuffer(_decompressed(opened.scores, count * np.dtype(_GAINED).itemsize), _GAINED)
        return self.steps(rows.observation, chunk.action_S.copy(), np.cumsum(gained_S, dtype=np.int32))

    def empty_rows(self, count: int) -> Rows:
        """Rows to paint into, of arbitrary content, their mask false."""
        observation = {name: np.empty((count, *field.shape), field.dtype) for name, field in self.observation.items()}
        return Rows(observation, np.empty(count, np.int32), np.empty(count, np.int32), np.zeros(count, bool))

    def paint(self, chunks: Sequence[Chunk], span_Px4: np.ndarray, rows: Rows) -> None:
        """Fill rows, given as contiguous arrays, with steps of chunks, and mark them; others stay as they are."""
        if chunks:
            self.draw(parts_of(chunks, span_Px4, len(rows.action_N)), rows)

    def _open(self, record: bytes) -> "_Record":
        """What a record whose checksum is right says of itself."""
        header = self._header
        if len(record) < header.size:
            raise CorruptChunk(f"{len(record)} bytes are too few for a header")
        magic, checksum, count, before, *sizes, painted, scores = header.unpack_from(record)
        if magic != self.magic:
            raise CorruptChunk(f"it begins with {magic!r}, not {self.magic!r}")
        if len(record) != header.size + painted + scores:
            raise CorruptChunk(f"{len(record)} bytes where its header says {header.size + painted + scores}")
        body = memoryview(record)
        if zlib.crc32(body[8:]) != checksum:
            raise CorruptChunk("its checksum does not match")
        if not 1 <= count <= MAX_STEPS:
            raise CorruptChunk(f"it claims {count} steps")
        if before > self.no_action:
            raise CorruptChunk(f"it claims the action {before}")
        for size, column in zip(sizes, self.columns, strict=True):
            if not column.least * count <= size <= column.most * count:
                raise CorruptChunk(f"a column claims {size} elements for {count} steps")
        middle = header.size + painted
        return _Record(count, before, sizes, body[header.size : middle], body[middle:])

    def _unpack(self, record: "_Record") -> Chunk:
        sizes = [size * width for size, width in zip(record.sizes, self._widths, strict=True)]
        *starts, actions = itertools.accumulate(sizes, initial=0)
        painted = np.frombuffer(_decompressed(record.painted, actions + record.steps), np.uint8)
        found = self.check(painted, record.steps, record.sizes)
        for array in found:
            array.setflags(write=False)
        origin, *others = (array.__array_interface__["data"][0] for array in (painted, *found))
        addresses = [*(origin + start for start in (*starts, actions)), *others, record.before, record.steps]
        return Chunk(record.steps, painted[actions:], (painted, *found), packed_array("Q", addresses).tobytes())

    @cached_property
    def _widths(self) -> list[int]:
        """Bytes of an element of each column."""
        return [np.dtype(column.dtype).itemsize for column in self.columns]

    @cached_property
    def _header(self) -> struct.Struct:
        return struct.Struct(f"<4sI{2 + len(self.columns) + 2}I")


def parts_of(chunks: Sequence[Chunk], span_Px4: np.ndarray, rows: int) -> np.ndarray:
    """What kernels read, uint64 [P, K], see `Codec.draw`: checked that the steps exist, and the rows."""
    where_PxK = np.frombuffer(b"".join([chunk.where for chunk in chunks]), np.uint64).reshape(len(chunks), -1)
    parts_PxK = np.concatenate([where_PxK, span_Px4.astype(np.uint64)], axis=1)
    part = misplaced(parts_PxK, rows)
    if part >= 0:
        start, stop, row, _ = span_Px4[part]
        raise IndexError(f"steps [{start}, {stop}) of {chunks[part].steps} to row {row} of {rows}")
    return parts_PxK


def rows_of(batch: Batch) -> Rows:
    """A batch whose first two axes are one, in the same memory."""
    flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in batch.observation.items()}
    return Rows(flat, batch.action.reshape(-1), batch.episode.reshape(-1), batch.mask.reshape(-1))


class _Record(NamedTuple):
    """A record taken apart; its frames are still compressed."""

    steps: int
    before: int
    sizes: list[int]
    """Elements of the game's own columns."""
    painted: memoryview
    scores: memoryview


def _decompressed(frame: memoryview, size: int) -> bytes:
    """The content of a zstd frame, which is checked to claim `size` bytes before anything is allocated."""
    try:
        claimed = zstandard.frame_content_size(frame)
        if claimed != size:
            raise CorruptChunk(f"a frame claims {claimed} bytes instead of {size}")
        return _per_thread.decompressor.decompress(frame)
    except zstandard.ZstdError as error:
        raise CorruptChunk(f"a frame does not decompress ({error})") from error


class _PerThread(threading.local):
    """A decompressor serves one thread at a time and is costly to make."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_per_thread = _PerThread()
