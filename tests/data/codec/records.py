"""Records of the codecs taken apart and put together again, with a right checksum whatever they claim."""

import struct
import zlib
from itertools import pairwise

import numpy as np
import zstandard

from data.codec.base import Codec


def sealed(record: bytes) -> bytes:
    """A record with the checksum that belongs to its content."""
    return record[:4] + zlib.crc32(record[8:]).to_bytes(4, "little") + record[8:]


def packed(codec: Codec, columns: list[bytes]) -> bytes:
    """A record with a right checksum, made of these columns, actions and scores."""
    *own, actions, scores = columns
    frames = [zstandard.ZstdCompressor().compress(content) for content in (b"".join(own) + actions, scores)]
    sizes = [len(column) // int(kind.dtype[-1]) for column, kind in zip(own, codec.columns, strict=True)]
    numbers = struct.pack(f"<{4 + len(own)}I", len(actions), codec.no_action, *sizes, *map(len, frames))
    return sealed(codec.magic + bytes(4) + numbers + b"".join(frames))


def columns_of(codec: Codec, record: bytes) -> list[bytes]:
    """The columns, actions and scores of a record."""
    opened = codec._open(record)
    columns, scores = (zstandard.ZstdDecompressor().decompress(frame) for frame in (opened.columns, opened.scores))
    sizes = [size * int(kind.dtype[-1]) for size, kind in zip(opened.sizes, codec.columns, strict=True)]
    edges = np.cumsum([0, *sizes, opened.steps]).tolist()
    return [*(columns[start:stop] for start, stop in pairwise(edges)), scores]
