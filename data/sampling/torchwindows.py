"""Windows of a store as a PyTorch `IterableDataset`. Needs the `torch` extra."""

from collections.abc import Iterator
from pathlib import Path

import torch  # pyright: ignore[reportMissingImports]  # an extra
from torch.utils.data import IterableDataset, get_worker_info  # pyright: ignore[reportMissingImports]

from data.sampling.sources import WINDOW_CACHE_BYTES, Window, WindowSource
from data.sampling.stream import training_sampler
from data.store.episodes import ALL_EPISODES, EpisodeFilter, Split


class TorchWindows(IterableDataset[Window]):
    """The windows of one split of a store in shuffled order, each once per epoch over all ranks and workers.

    An epoch's order is a function of the seed and the epoch. It is divided into one contiguous shard for each worker of
    each rank, so that workers hardly ever decompress the same chunk. Windows are those of `WindowSource`, as dicts of
    NumPy arrays, which `DataLoader` collates to tensors.

        dataset = TorchWindows("store", window=32, seed=0)
        for epoch in range(10):
            dataset.set_epoch(epoch)
            for batch in torch.utils.data.DataLoader(dataset, batch_size=64, num_workers=2): ...

    Args:
        path: Folder of the store.
        window: Steps per window T.
        seed: Seed of the order.
        split: `train` or `dev`.
        filter: Which episodes to read.
        rank: Rank of this process. Default: that of `torch.distributed` if it is initialised, else 0.
        world_size: Number of processes. Default: that of `torch.distributed` if it is initialised, else 1.
        even: Drop the last windows of an epoch, fewer than there are shards, so that all shards have the same size, as
            collective operations between ranks require. Otherwise shards differ by at most one window.
        cache_bytes: Size of the cache of decompressed chunks, in each worker.

    Raises:
        UserError: The store cannot be opened, has no actions, or has no such episodes.
        ValueError: `window` is not positive, or `rank` is not in [0, world_size).
    """

    def __init__(
        self,
        path: str | Path,
        window: int,
        seed: int = 0,
        split: Split = "train",
        filter: EpisodeFilter = ALL_EPISODES,
        rank: int | None = None,
        world_size: int | None = None,
        even: bool = False,
        cache_bytes: int = WINDOW_CACHE_BYTES,
    ) -> None:
        super().__init__()
        # Worker processes are not in the process group: they must be told their rank.
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if distributed else 0
        self.world_size = (
            world_size if world_size is not None else torch.distributed.get_world_size() if distributed else 1
        )
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} is not in [0, {self.world_size})")
        self.source = WindowSource(path, window, split, filter, cache_bytes)
        self.seed, self.even, self.epoch = seed, even, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. Call it before iterating; persistent workers do not see it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Window]:
        """Iterate over this worker's shard of the epoch.

        Raises:
            UserError: The store is damaged, or changed since the dataset was created.
        """
        store, worker = self.source.store, get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        shard, shards = self.rank * workers + number, self.world_size * workers
        # With a single lane, batch k is window k of the shuffled order.
        sampler = training_sampler(store, store.rows(self.source.split), 1, self.source.window, self.seed, "windows")
        windows = len(self.source) // shards * shards if self.even else len(self.source)
        for index in range(windows * shard // shards, windows * (shard + 1) // shards):
            [[_, _, episode, start, stop, _]] = sampler.at(self.epoch * len(self.source) + index).tolist()
            yield self.source.read(episode, start, stop)
