"""Windows of a store by index, for loaders that bring their own order, such as Grain's."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from data.codec.buffers import BufferPool
from data.common.cli import UserError
from data.sampling.stream import assemble, labelled
from data.store.episodes import ALL_EPISODES, EpisodeFilter, Split
from data.store.reader import TrajectoryStore

WINDOW_CACHE_BYTES = 1 << 28
"""Default size of the cache of decompressed chunks, in bytes."""

Window = dict[str, Any]
"""The fields of `Batch` by name, without the lane axis: `observation`, a dict of arrays [T, ...]; `action`, int32 [T];
`first`, bool [T]; `mask`, bool [T]; `episode`, int32 [T]."""


class WindowSource:
    """All windows of one split of a store, by index. A `grain.sources.RandomAccessDataSource`.

    Windows begin at multiples of `window` within an episode; the last of an episode is padded, and its `mask` is false
    there. They are independent: `first` is true on the first step of each. Indices follow the episode table.

    Thread-safe and picklable. Each process opens the store for itself when it first reads. Reading a window
    decompresses its whole chunk (2,048 steps) unless that is in the cache, so orders that visit a chunk's windows close
    together are much faster than uniformly random ones.

        source = WindowSource("store", window=32)
        dataset = grain.MapDataset.source(source).shuffle(seed=0).batch(64)

    Args:
        path: Folder of the store.
        window: Steps per window T.
        split: `train` or `dev`.
        filter: Which episodes to read.
        cache_bytes: Size of the cache of decompressed chunks, in each process.

    Raises:
        UserError: The store cannot be opened, has no actions, or has no such episodes.
        ValueError: `window` is not positive.
    """

    def __init__(
        self,
        path: str | Path,
        window: int,
        split: Split = "train",
        filter: EpisodeFilter = ALL_EPISODES,
        cache_bytes: int = WINDOW_CACHE_BYTES,
    ) -> None:
        if window < 1:
            raise ValueError(f"window {window} must be positive")
        self.path, self.window, self.filter = Path(path), window, filter
        self.split: Split = split
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._process, self._store = os.getpid(), self._open()
        self._buffers = BufferPool()
        self._checksum = self._store.checksum
        self._rows = labelled(self._store).rows(split)
        self._lengths = self._store.lengths[self._rows]
        self._starts = np.concatenate([[0], np.cumsum(-(-self._lengths // window))])
        """int64 [episodes + 1], index of the first window of each episode, and the number of windows."""

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Window:
        """Decode one window.

        Raises:
            IndexError: There is no such window; negative indices are not supported.
            UserError: The store is damaged, or changed since the source was created.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        episode = int(np.searchsorted(self._starts, index, side="right")) - 1
        start = (index - int(self._starts[episode])) * self.window
        return self.read(episode, start, min(start + self.window, int(self._lengths[episode])))

    def __repr__(self) -> str:
        """Equal for two sources only if they have the same windows: Grain compares it when it restores a checkpoint."""
        return (
            f"{type(self).__name__}({str(self.path)!r}, window={self.window}, split={self.split!r}, "
            f"filter={str(self.filter)!r}, windows={len(self)}, checksum={self._checksum[:16]!r})"
        )

    @property
    def store(self) -> TrajectoryStore:
        """The store, opened by this process.

        Raises:
            UserError: It cannot be opened, or changed since the source was created.
        """
        with self._lock:
            if self._store is None or self._process != os.getpid():
                # After a fork too: processes must not share the file offsets of open shards.
                store = self._open()
                if store.checksum != self._checksum:
                    raise UserError(f"{self.path} changed since it was opened: create the source again")
                self._process, self._store, self._buffers = os.getpid(), store, BufferPool()
            return self._store

    def read(self, episode: int, start: int, stop: int) -> Window:
        """Decode steps [start, stop), at most T, of an episode, numbered among those of the split and filter.

        Raises:
            UserError: The store is damaged, or changed since the source was created.
        """
        store = self.store
        slices_1x6 = np.array([[0, 0, episode, start, stop, 1]], np.int64)
        batch = assemble(store, self._rows, slices_1x6, range(1), self.window, 1, self._buffers)
        observation = {name: array[0] for name, array in batch.observation.items()}
        fields = {name: array[0] for name, array in batch._asdict().items() if name != "observation"}
        return {"observation": observation, **fields}

    def _open(self) -> TrajectoryStore:
        return TrajectoryStore.open(self.path, self._cache_bytes, self.filter)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_buffers", "_store")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _buffers=BufferPool(), _store=None)
