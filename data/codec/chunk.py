"""Chunks: decompressed records, and the table of steps that decoding kernels read from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data.codec.kernels import kernel


class CorruptChunk(Exception):
    """A record is not what `Codec.encode` wrote: truncated, altered, or not a record at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A decompressed and validated record. Any of its steps can be decoded without further checks."""

    steps: int
    action_S: np.ndarray
    """uint8, read-only."""
    arrays: tuple[np.ndarray, ...]
    """The concatenated columns, uint8, then the arrays that `Codec.check` returned; read-only."""
    addresses: bytes
    """uint64 values for a kernel: address of each column, of `action_S` and of each array from `Codec.check`, the
    action before the chunk, and `steps`."""

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return sum(array.nbytes for array in self.arrays)


class Span(NamedTuple):
    """Steps [start, stop) of a chunk and the batch row of the first of them; one row of an int64 [P, 4] table."""

    start: int
    stop: int
    row: int
    episode: int = 0
    """Written to the `episode` array of each of these rows."""


# Holds the GIL: this is so short that acquiring it again would take longer.
@kernel()
def _first_out_of_bounds(parts_PxK, rows):
    """Index of the first part with steps outside its chunk or rows outside [0, rows); -1 if there is none."""
    for part in range(len(parts_PxK)):
        steps, start, stop, row = parts_PxK[part, -5:-1]
        if start > stop or stop > steps or row > rows or row + stop - start > rows:
            return part
    return -1


def parts_of(chunks: Sequence[Chunk], span_Px4: np.ndarray, rows: int) -> np.ndarray:
    """The table that kernels read, uint64 [P, K]: each chunk's addresses followed by its `Span`.

    Raises:
        IndexError: A span has steps outside its chunk or rows outside [0, rows).
    """
    addresses_PxK = np.frombuffer(b"".join([chunk.addresses for chunk in chunks]), np.uint64).reshape(len(chunks), -1)
    parts_PxK = np.concatenate([addresses_PxK, span_Px4.astype(np.uint64)], axis=1)
    part = _first_out_of_bounds(parts_PxK, rows)
    if part >= 0:
        start, stop, row, _ = span_Px4[part]
        raise IndexError(f"steps [{start}, {stop}) of {chunks[part].steps} to row {row} of {rows}")
    return parts_PxK
