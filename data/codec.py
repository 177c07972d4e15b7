"""Consecutive steps of an episode to bytes and back: frames as differences, columns apart, zstd.

A record is a header (magic, checksum of all that follows, number of steps, compressed size of each column)
and four zstd frames: screens, cursors, actions, scores. Of the screens only the first is kept whole; each
other is the XOR with the one before, which is zero wherever nothing changed.
"""

import struct
import threading
import zlib

import numpy as np
import zstandard

from data.spec import COLUMNS, ROWS, Steps

CODEC = "xor-zstd-1"
"""Name of this encoding, stored in the manifest."""

MAX_STEPS = 4096
"""Most steps in one record, so that no header can ask for more memory than this."""

CELLS = ROWS * COLUMNS
FRAME_BYTES = 2 * CELLS
STEP_BYTES = FRAME_BYTES + 2 + 1 + 4
"""Bytes of one decoded step: screen and colours, cursor, action, score."""

_MAGIC = b"ISO1"
_HEADER = struct.Struct("<4sI5I")
_COLUMN_BYTES = (FRAME_BYTES, 2, 1, 4)
_LEVEL = 3


class CorruptChunk(Exception):
    """A record that isn't what `encode` wrote: cut short, altered, or something else altogether."""


def encode(steps: Steps) -> bytes:
    """Pack S consecutive steps of one episode, 1 <= S <= MAX_STEPS; dtypes as in `Steps`."""
    count = len(steps.action_S)
    if not 1 <= count <= MAX_STEPS:
        raise ValueError(f"a chunk holds 1 to {MAX_STEPS} steps, not {count}")
    frames_SxF = np.empty((count, FRAME_BYTES), np.uint8)
    frames_SxF[:, :CELLS] = steps.chars_Sx24x80.reshape(count, CELLS)
    frames_SxF[:, CELLS:] = steps.colors_Sx24x80.reshape(count, CELLS)
    changed = frames_SxF.view(np.uint64).copy()
    changed[1:] ^= frames_SxF.view(np.uint64)[:-1]
    scores = steps.score_S.astype("<i4", copy=False)
    columns = (changed, steps.cursor_Sx2, steps.action_S, np.diff(scores, prepend=np.int32(0)))
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
    packed = [compressor.compress(column.tobytes()) for column in columns]
    body = b"".join(packed)
    sizes = struct.pack("<5I", count, *map(len, packed))
    return struct.pack("<4sI", _MAGIC, zlib.crc32(body, zlib.crc32(sizes))) + sizes + body


def decode(record: bytes) -> Steps:
    """Unpack a record of `encode`; raises `CorruptChunk` unless every byte is as it was written.

    The arrays are read-only, so that callers may share them.
    """
    if len(record) < _HEADER.size:
        raise CorruptChunk(f"{len(record)} bytes are too few for a header")
    magic, checksum, count, *sizes = _HEADER.unpack_from(record)
    if magic != _MAGIC:
        raise CorruptChunk(f"it begins with {magic!r}, not {_MAGIC!r}")
    if len(record) != _HEADER.size + sum(sizes):
        raise CorruptChunk(f"{len(record)} bytes where its header says {_HEADER.size + sum(sizes)}")
    if zlib.crc32(memoryview(record)[8:]) != checksum:
        raise CorruptChunk("its checksum does not match")
    if not 1 <= count <= MAX_STEPS:
        raise CorruptChunk(f"it claims {count} steps")
    start = _HEADER.size
    columns = []
    for size, width in zip(sizes, _COLUMN_BYTES, strict=True):
        columns.append(_decompress(record[start : start + size], count * width))
        start += size
    changed = np.frombuffer(columns[0], np.uint64).reshape(count, -1)
    frames_SxF = np.bitwise_xor.accumulate(changed, axis=0).view(np.uint8)
    scores = np.cumsum(np.frombuffer(columns[3], "<i4"), dtype=np.int32)
    frames_SxF.setflags(write=False)
    scores.setflags(write=False)
    return Steps(
        frames_SxF[:, :CELLS].reshape(count, ROWS, COLUMNS),
        frames_SxF[:, CELLS:].reshape(count, ROWS, COLUMNS),
        np.frombuffer(columns[1], np.uint8).reshape(count, 2),
        np.frombuffer(columns[2], np.uint8),
        scores,
    )


class _PerThread(threading.local):
    """A decompressor serves one thread at a time and is costly to make."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_per_thread = _PerThread()


def _decompress(packed: bytes, size: int) -> bytes:
    """`packed` as exactly `size` bytes; the claimed size is checked before anything is allocated."""
    try:
        claimed = zstandard.frame_content_size(packed)
        if claimed != size:
            raise CorruptChunk(f"a column claims {claimed} bytes instead of {size}")
        return _per_thread.decompressor.decompress(packed)
    except zstandard.ZstdError as error:
        raise CorruptChunk(f"a column does not decompress ({error})") from error
