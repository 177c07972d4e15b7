"""TrajectoryStore: reads the episodes of a store."""

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from data.codec.chunk import Chunk, CorruptChunk
from data.common.cli import UserError
from data.store.cache import Cache
from data.store.episodes import ALL_EPISODES, Episode, EpisodeFilter, Split, read_table
from data.store.manifest import DamagedStore, codec_of, read_manifest, shard_name, wrong_sizes

CACHE_BYTES = 1 << 24
"""Default size of the cache of decompressed chunks; `TrajectoryStore.reserve` raises it."""

_SPARE = 1.25
"""Chunks are assumed to be at most this many times as large as the largest of a sample."""
_READ_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"

T = TypeVar("T", Chunk, Any)


def read_commit(path: Path) -> tuple[dict[str, Any], list[Episode]]:
    """Read the manifest of a store and the episode table that it names.

    A commit between the two removes that table: then the new manifest is read.

    Raises:
        UserError: There is no store at `path`, it is of another version, or its manifest or table is damaged.
    """
    manifest = read_manifest(path)
    while True:
        try:
            return manifest, read_table(path, manifest)
        except UserError:
            before, manifest = manifest, read_manifest(path)
            if manifest == before:
                raise


class TrajectoryStore:
    """A store opened for reading. Thread-safe. Create one with `TrajectoryStore.open`.

    Attributes:
        path: Folder of the store.
        manifest: The content of its manifest.
        episodes: All rows of its episode table, whatever the filter.
        filter: The filter that `rows` applies.
        codec: Decodes its records.
        chunk_steps: Steps in each chunk of an episode but the last.
    """

    def __init__(
        self,
        path: Path,
        manifest: dict[str, Any],
        episodes: list[Episode],
        cache_bytes: int = CACHE_BYTES,
        filter: EpisodeFilter = ALL_EPISODES,
    ) -> None:
        self.path, self.manifest, self.episodes, self.filter = path, manifest, episodes, filter
        self.codec = codec_of(manifest)
        self.chunk_steps: int = manifest["chunk_steps"]
        self._readers: dict[int, ArrayRecordReader] = {}
        self._lock = threading.Lock()
        self._chunks = Cache[Chunk](cache_bytes, lambda chunk: chunk.nbytes)

    @classmethod
    def open(
        cls, path: str | Path, cache_bytes: int = CACHE_BYTES, filter: EpisodeFilter = ALL_EPISODES
    ) -> "TrajectoryStore":
        """Open the store at `path`.

        The manifest, the episode table and the sizes of all shards are checked now, each chunk when it is read;
        `data.store.verify` checks everything.

        Args:
            path: Folder of the store.
            cache_bytes: Size of the cache of decompressed chunks.
            filter: Which episodes `rows` selects.

        Raises:
            UserError: There is no store at `path`, it is of another version, or it is damaged.
        """
        path = Path(path)
        manifest, episodes = read_commit(path)
        for fault in wrong_sizes(path, manifest):
            raise DamagedStore(path, fault)
        return cls(path, manifest, episodes, cache_bytes, filter)

    def reserve(self, chunks: int) -> None:
        """Raise the size of the cache, if necessary, to hold this many chunks.

        Raises:
            DamagedStore: A chunk that was read to estimate their size is damaged.
        """
        row_P = np.unique([0, len(self.episodes) // 2, len(self.episodes) - 1])
        sample = self.chunks(row_P, np.zeros_like(row_P))
        step = max(chunk.nbytes / chunk.steps for chunk in sample)
        self._chunks.allow(int(_SPARE * step * self.chunk_steps) * chunks)

    @property
    def lengths(self) -> np.ndarray:
        """int64 [episodes], number of steps of each episode."""
        return np.array([row.length for row in self.episodes], np.int64)

    def rows(self, split: Split) -> np.ndarray:
        """Rows of the episode table that are in this split and pass the filter, int64, in table order.

        Raises:
            UserError: There are none.
        """
        mine = [i for i, row in enumerate(self.episodes) if row.split == split]
        if not mine:
            fraction = self.manifest["split"]["dev_fraction"]
            raise UserError(
                f"{self.path} has no {split} episode among {len(self.episodes)} (dev fraction {fraction}): "
                "import more games, or import them into another folder with --dev-games"
            )
        rows = [i for i in mine if self.filter.keep(self.episodes[i])]
        if not rows:
            held = self.filter.held_by([self.episodes[i] for i in mine])
            raise UserError(
                f"none of the {len(mine)} {split} episodes of {self.path} passes {self.filter}: there are {held}"
            )
        return np.array(rows, np.int64)

    @property
    def stores(self) -> tuple["TrajectoryStore"]:
        """Itself: a mixture has several."""
        return (self,)

    @property
    def checksum(self) -> str:
        """SHA-256 of the episodes and their order, independent of where they were recorded and stored."""
        location = {"source", "recording", "shard", "record"}
        content = [{key: value for key, value in vars(row).items() if key not in location} for row in self.episodes]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def shares(self, rows: np.ndarray, lanes: int) -> list[tuple[np.ndarray, int]]:
        """Rows and number of lanes of each store of a mixture; see `Mixture.shares`. A single store has them all."""
        return [(rows, lanes)]

    def chunks(self, row_P: np.ndarray, number_P: np.ndarray) -> list[Chunk]:
        """Decompressed chunks, from the cache where possible.

        Args:
            row_P: int64, the episode of each chunk, as a row of the episode table.
            number_P: int64, its number within the episode.

        Raises:
            DamagedStore: A chunk is damaged.
        """
        return self._chunks.get_all(list(zip(row_P.tolist(), number_P.tolist(), strict=True)), self._unpack)

    def read(self, row: int, start: int, stop: int) -> Any:
        """Decode steps [start, stop) of an episode, scores included, to new arrays of the game's own steps type.

        Raises:
            IndexError: The episode has no such steps.
            DamagedStore: A chunk is damaged.
        """
        size = self.chunk_steps
        if not 0 <= start <= stop <= self.episodes[row].length:
            raise IndexError(f"steps [{start}, {stop}) of an episode of {self.episodes[row].length}")
        first, last = start // size, max(start, stop - 1) // size
        whole = [self._load(self.codec.decode, row, number) for number in range(first, last + 1)]
        columns = (np.concatenate(column) for column in zip(*whole, strict=True))
        return type(whole[0])(*(column[start - first * size : stop - first * size] for column in columns))

    def check_actions(self, action_S: np.ndarray) -> None:
        """Check that actions are in the action table; without a table, that all are `no_action`.

        Raises:
            CorruptChunk: They are not.
        """
        count = len(self.manifest["actions"])
        worst = int(action_S.max())
        if worst >= count and not (count == 0 and worst == int(action_S.min()) == self.codec.no_action):
            raise CorruptChunk(f"action {worst} of {count}")

    def records(self, row: int) -> list[bytes]:
        """The compressed records of an episode, not checked.

        Raises:
            CorruptChunk: The shard cannot be read.
        """
        episode = self.episodes[row]
        count = -(-episode.length // self.chunk_steps)
        return self._read_records(episode.shard, range(episode.record, episode.record + count))

    def _unpack(self, row: int, number: int) -> Chunk:
        return self._load(self.codec.unpack, row, number)

    def _load(self, read: Callable[[bytes], T], row: int, chunk: int) -> T:
        """Read a chunk from disk and decode it with `codec.unpack` or `codec.decode`."""
        episode, size = self.episodes[row], self.chunk_steps
        try:
            [record] = self._read_records(episode.shard, [episode.record + chunk])
            steps = read(record)
            expected = min(size, episode.length - chunk * size)
            count = len(steps.action_S)
            if count != expected:
                raise CorruptChunk(f"{count} steps instead of {expected}")
            self.check_actions(steps.action_S)
        except CorruptChunk as error:
            name = f"chunk {chunk} of episode {episode.id} in {self.path / shard_name(episode.shard)}"
            raise DamagedStore(self.path, f"{name}: {error}") from error
        return steps

    def _read_records(self, shard: int, records: Sequence[int]) -> list[bytes]:
        try:
            with self._lock:
                reader = self._readers.get(shard)
                if reader is None:
                    path = self.path / shard_name(shard)
                    reader = self._readers[shard] = ArrayRecordReader(str(path), _READ_OPTIONS)
            return reader.read(list(records))
        except RuntimeError as error:
            raise CorruptChunk(str(error).partition(" (")[0]) from error
