"""Writes one shard of a store: an ArrayRecord file of records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordWriter

from data.common.files import sync
from data.store.manifest import file_sha256

SHARD_BYTES = 1 << 29
"""Default size at which a shard is closed, in bytes."""

_WRITE_OPTIONS = "group_size:1,uncompressed"


class ShardWriter:
    """An open shard. ArrayRecord raises RuntimeError where writing fails."""

    def __init__(self, path: Path) -> None:
        self._path, self._writer = path, ArrayRecordWriter(str(path), _WRITE_OPTIONS)
        self.size = self._records = 0

    def append(self, chunks: Sequence[bytes]) -> int:
        """Write the records of one episode and return the index of the first of them."""
        first = self._records
        for chunk in chunks:
            self._writer.write(chunk)
        if not self._writer.ok():
            self._writer.close()  # raises the error
        self.size += sum(map(len, chunks))
        self._records += len(chunks)
        return first

    def close(self) -> dict[str, Any]:
        """Close the file and return its entry for the manifest."""
        self._writer.close()
        sync(self._path)
        facts = {"name": self._path.name, "records": self._records, "bytes": self._path.stat().st_size}
        return facts | {"sha256": file_sha256(self._path)}
