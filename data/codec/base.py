"""The codec interface and the record format that all codecs share.

A record holds consecutive steps of one episode: a header (magic, CRC-32 of the rest, number of steps, the action
before the first step, number of elements of each column, compressed size of each frame) and two zstd frames. The
first frame holds the codec's own columns followed by the actions; the second holds the scores, and the labels if there
are any.

One frame per column would be 1 % smaller, but decompressing each frame acquires the GIL, and two threads then reach
only 1.15 times the speed of one. A zstd dictionary of 110 KiB would make NetHack's records 8 % smaller.
"""

import itertools
import math
import struct
import threading
import zlib
from abc import ABC, abstractmethod
from array import array as packed_array
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import zstandard

from data.codec.buffers import BufferPool
from data.codec.chunk import Chunk, CorruptChunk, Span, parts_of
from data.spec import NO_LABEL, Batch, Field, Observation, Rows, Steps

MAX_STEPS = 4096
"""Maximum number of steps in a record. Bounds the memory that a forged header can make a reader allocate."""

_LEVEL = 9
"""zstd level. Levels 3, 6, 9, 12, 15 give 16.1, 14.0, 13.4, 13.1, 12.8 bytes and 0.3, 0.9, 1.4, 4.7, 10 us per step
of NetHack."""

_LARGE = 512
"""Observation arrays with at least this many bytes per step are taken from a `BufferPool`."""

_DELTA = "<i4"
"""Dtype of the scores, which are stored as differences from the step before."""


class Column(NamedTuple):
    """A column of a record: its dtype, and the minimum and maximum number of elements per step."""

    dtype: str
    least: int
    most: int


class Codec(ABC):
    """Encodes and decodes the steps of one kind of observation. Subclasses define the columns of a record."""

    name: str
    """Stored in the manifest of a store. Changes whenever the encoding changes."""
    magic: bytes
    """The first four bytes of a record."""
    observation: dict[str, Field]
    """The observation spec of a step."""
    columns: tuple[Column, ...]
    """The codec's own columns, in record order; 2-byte columns must be at even offsets."""
    no_action: int
    """Marks "no action before this step"; larger than any action index."""

    @abstractmethod
    def encode_columns(self, steps: Any) -> tuple[np.ndarray, ...]:
        """The codec's own columns of the given steps, in the order of `columns`."""

    @abstractmethod
    def check(self, content: np.ndarray, steps: int, sizes: list[int]) -> tuple[np.ndarray, ...]:
        """Validate the columns of a record, so that decoding cannot read or write out of bounds.

        Args:
            content: uint8, the columns and actions, concatenated.
            steps: Number of steps.
            sizes: Number of elements of each column.

        Returns:
            Arrays that `decode_rows` needs in addition to the columns, such as an index of them.

        Raises:
            CorruptChunk: The columns are inconsistent.
        """

    @abstractmethod
    def decode_rows(self, parts_PxK: np.ndarray, rows: Rows) -> None:
        """Decode steps into rows of a batch; the kernel behind `decode_into`.

        Args:
            parts_PxK: uint64. Each part is `Chunk.addresses` followed by a `Span`; both are already validated.
            rows: The arrays to write; all are contiguous.
        """

    @abstractmethod
    def make_steps(
        self, observation: dict[str, np.ndarray], action_S: np.ndarray, score_S: np.ndarray, label_S: np.ndarray
    ) -> Any:
        """Build the game's own steps type from its arrays; `label_S` is left out where it has no labels."""

    def labels(self, steps: Any) -> np.ndarray | None:
        """The labels of steps, int8 [S]; None for games that have none."""
        return None

    @abstractmethod
    def identity(self, steps: Any) -> tuple[np.ndarray, ...]:
        """Arrays [S, ...] that identify a game independently of the encoding. An episode's id is their hash."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the arrays in a batch's observation."""
        return tuple(self.observation)

    def empty_observation(self, lanes: int, window: int, pieces: int, buffers: BufferPool) -> Observation:
        """Observation arrays of a batch, for `decode_batch` to fill.

        Args:
            lanes: Number of lanes B.
            window: Steps per lane T.
            pieces: Maximum number of episodes in the window of one lane.
            buffers: Where large arrays are allocated. Their memory is reused once the batch is garbage collected.
        """
        shapes = {name: (lanes, window, *field.shape) for name, field in self.observation.items()}
        return {
            name: buffers.take(shape)
            if math.prod(self.observation[name].shape) >= _LARGE
            else np.zeros(shape, self.observation[name].dtype)
            for name, shape in shapes.items()
        }

    def decode_batch(self, chunks: Sequence[Chunk], span_Px4: np.ndarray, batch: Batch) -> None:
        """Decode steps into a batch made with `empty_observation`, and set everything else in it to zero.

        Args:
            chunks: P chunks.
            span_Px4: int64, a `Span` for each chunk, ordered by row; rows count all lanes: lane * window + step.
            batch: The batch to fill.

        Raises:
            IndexError: A span has steps outside its chunk or rows outside the batch.
        """
        self.decode_into(chunks, span_Px4, rows_of(batch))
        if not batch.mask.all():
            for array in batch.observation.values():
                array[~batch.mask] = 0

    def encode(self, steps: Steps, before: int | None = None) -> bytes:
        """Encode S consecutive steps of one episode, 1 <= S <= MAX_STEPS, as a record.

        Args:
            steps: The steps.
            before: The action before the first of them; None at the start of an episode.

        Raises:
            ValueError: S is out of range, or a column has an impossible size.
        """
        count = len(steps.action_S)
        if not 1 <= count <= MAX_STEPS:
            raise ValueError(f"a chunk holds 1 to {MAX_STEPS} steps, not {count}")
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
        columns = []
        for array, column in zip(self.encode_columns(steps), self.columns, strict=True):
            if not column.least * count <= array.size <= column.most * count:
                raise ValueError(f"{array.size} elements in a column of {count} steps")
            columns.append(array.astype(column.dtype, copy=False))
        contents = (*columns, steps.action_S), _scores(steps.score_S, self.labels(steps))
        frames = [compressor.compress(b"".join(array.tobytes() for array in arrays)) for arrays in contents]
        numbers = [count, self.no_action if before is None else before]
        numbers += [array.size for array in columns] + [len(frame) for frame in frames]
        record = self._header.pack(self.magic, 0, *numbers) + b"".join(frames)
        return record[:4] + struct.pack("<I", zlib.crc32(record[8:])) + record[8:]

    def unpack(self, record: bytes) -> Chunk:
        """Decompress and validate a record.

        Raises:
            CorruptChunk: The record is not exactly what `encode` wrote.
        """
        return self._unpack(self._open(record))

    def decode(self, record: bytes) -> Any:
        """Decode all steps of a record, scores included, to the game's own steps type.

        Raises:
            CorruptChunk: The record is not exactly what `encode` wrote.
        """
        opened = self._open(record)
        chunk, count = self._unpack(opened), opened.steps
        rows = self.empty_rows(count)
        self.decode_into([chunk], np.array([Span(0, count, 0)]), rows)
        return self.make_steps(rows.observation, chunk.action_S.copy(), *_scores_of(opened.scores, count))

    def empty_rows(self, count: int) -> Rows:
        """Uninitialised rows for `decode_into`, with a mask of False."""
        observation = {name: np.empty((count, *field.shape), field.dtype) for name, field in self.observation.items()}
        return Rows(observation, np.empty(count, np.int32), np.empty(count, np.int32), np.zeros(count, bool))

    def decode_into(self, chunks: Sequence[Chunk], span_Px4: np.ndarray, rows: Rows) -> None:
        """Decode steps of chunks into rows and set their mask; other rows keep their content.

        Raises:
            IndexError: A span has steps outside its chunk or rows outside `rows`.
        """
        if chunks:
            self.decode_rows(parts_of(chunks, span_Px4, len(rows.action_N)), rows)

    def _open(self, record: bytes) -> "_Record":
        """Parse and validate the header of a record and compare its checksum."""
        header = self._header
        if len(record) < header.size:
            raise CorruptChunk(f"{len(record)} bytes are too few for a header")
        magic, checksum, count, before, *sizes, columns, scores = header.unpack_from(record)
        if magic != self.magic:
            raise CorruptChunk(f"it begins with {magic!r}, not {self.magic!r}")
        if len(record) != header.size + columns + scores:
            raise CorruptChunk(f"{len(record)} bytes where its header says {header.size + columns + scores}")
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
        middle = header.size + columns
        return _Record(count, before, sizes, body[header.size : middle], body[middle:])

    def _unpack(self, record: "_Record") -> Chunk:
        sizes = [size * width for size, width in zip(record.sizes, self._widths, strict=True)]
        *starts, actions = itertools.accumulate(sizes, initial=0)
        content = np.frombuffer(_decompressed(record.columns, actions + record.steps), np.uint8)
        extra = self.check(content, record.steps, record.sizes)
        for array in extra:
            array.setflags(write=False)
        origin, *others = (array.__array_interface__["data"][0] for array in (content, *extra))
        addresses = [*(origin + start for start in (*starts, actions)), *others, record.before, record.steps]
        return Chunk(record.steps, content[actions:], (content, *extra), packed_array("Q", addresses).tobytes())

    @cached_property
    def _widths(self) -> list[int]:
        """Item size of each column, in bytes."""
        return [np.dtype(column.dtype).itemsize for column in self.columns]

    @cached_property
    def _header(self) -> struct.Struct:
        return struct.Struct(f"<4sI{2 + len(self.columns) + 2}I")


def rows_of(batch: Batch) -> Rows:
    """A view of a batch with the lane and step axes merged into one."""
    flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in batch.observation.items()}
    return Rows(flat, batch.action.reshape(-1), batch.episode.reshape(-1), batch.mask.reshape(-1))


class _Record(NamedTuple):
    """The parsed header of a record and its two frames, still compressed."""

    steps: int
    before: int
    sizes: list[int]
    """Number of elements of each of the codec's own columns."""
    columns: memoryview
    """The codec's own columns and the actions."""
    scores: memoryview
    """The scores, and the labels if there are any."""


def _scores(score_S: np.ndarray, label_S: np.ndarray | None) -> list[np.ndarray]:
    """What the second frame holds: the scores as differences and, if there are any, the labels."""
    delta_S = np.diff(score_S.astype(np.int32, copy=False), prepend=np.int32(0)).astype(_DELTA, copy=False)
    if label_S is None or (label_S == NO_LABEL).all():
        return [delta_S]
    return [delta_S, label_S.astype(np.int8, copy=False)]


def _scores_of(frame: memoryview, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of the second frame of a record."""
    size = count * np.dtype(_DELTA).itemsize
    content = _decompressed(frame, size, size + count)
    score_S = np.cumsum(np.frombuffer(content[:size], _DELTA), dtype=np.int32)
    labels = content[size:]
    return score_S, np.frombuffer(labels, np.int8).copy() if labels else np.full(count, NO_LABEL, np.int8)


def _decompressed(frame: memoryview, *sizes: int) -> bytes:
    """The content of a zstd frame; its claimed size must be one of `sizes`, before memory is allocated."""
    try:
        claimed = zstandard.frame_content_size(frame)
        if claimed not in sizes:
            raise CorruptChunk(f"a frame claims {claimed} bytes instead of {sizes[0]}")
        return _per_thread.decompressor.decompress(frame)
    except zstandard.ZstdError as error:
        raise CorruptChunk(f"a frame does not decompress ({error})") from error


class _PerThread(threading.local):
    """A decompressor for each thread: they are not thread-safe, and expensive to create."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_per_thread = _PerThread()
