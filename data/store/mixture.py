"""Several stores read as one: each has a share of the lanes, by weight."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.codec.base import Chunk
from data.common.cli import UserError
from data.store.episodes import ALL_EPISODES, EpisodeFilter
from data.store.reader import Episode, Split, TrajectoryStore


class Mixture:
    """Stores of the same game and observation. Their episodes are counted through, in the order of the stores."""

    def __init__(self, stores: Sequence[TrajectoryStore], weights: Sequence[float] = ()) -> None:
        """Of every `lanes` of a batch a store gets as many as its weight asks for, to the nearest whole; default equal.

        A store reshuffles its own episodes when it has given each once, however long the others are.
        """
        first, *others = stores
        weights = weights or [1.0] * len(stores)
        if len(weights) != len(stores):
            raise UserError(f"{len(weights)} weights for {len(stores)} stores: give one for each")
        if not (all(weight > 0 for weight in weights) and sum(weights) < float("inf")):
            raise UserError(f"weights {' '.join(map(str, weights))}: each must be above 0")
        for other in others:
            for key in ("game", "observation", "codec", "actions", "chunk_steps"):
                if other.manifest[key] != first.manifest[key]:
                    raise UserError(f"{other.path} has another {key} than {first.path}: they can't be mixed")
        if len({store.path.resolve() for store in stores}) < len(stores):
            raise UserError("a store mixed with itself: name each once, and give weights")
        self.stores, self.weights = tuple(stores), tuple(weights)
        self.path, self.codec, self.chunk_steps = first.path, first.codec, first.chunk_steps
        self.manifest: dict[str, Any] = first.manifest
        self._starts = np.cumsum([0, *(len(store.episodes) for store in stores)])

    @property
    def checksum(self) -> str:
        """What tells the content and order of these stores from others."""
        told = "".join(f"{store.checksum} {weight}\n" for store, weight in zip(self.stores, self.weights, strict=True))
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def episodes(self) -> list[Episode]:
        """The rows of every store, one table after the other."""
        return [episode for store in self.stores for episode in store.episodes]

    @property
    def lengths(self) -> np.ndarray:
        """int64 [episodes], the steps of each episode, by row."""
        return np.concatenate([store.lengths for store in self.stores])

    def rows(self, split: Split) -> np.ndarray:
        """int64, rows of the chosen episodes on one side of the split, in order."""
        return np.concatenate(
            [store.rows(split) + start for store, start in zip(self.stores, self._starts, strict=False)]
        )

    def shares(self, rows: np.ndarray, lanes: int) -> list[tuple[np.ndarray, int]]:
        """Of some rows those of each store, and how many of the lanes are its."""
        parts = np.split(rows, np.searchsorted(rows, self._starts[1:-1]))
        edges = np.rint(np.cumsum([0.0, *self.weights]) / sum(self.weights) * lanes).astype(int)
        counts = np.diff(edges).tolist()
        if 0 in counts:
            poor = self.stores[counts.index(0)].path
            raise UserError(f"{lanes} lanes leave none for {poor}: raise its weight, or the lanes")
        return list(zip(parts, counts, strict=True))

    def chunks(self, row_P: np.ndarray, number_P: np.ndarray) -> list[Chunk]:
        """Chunks of episodes, see `TrajectoryStore.chunks`."""
        store_P = np.searchsorted(self._starts, row_P, side="right") - 1
        found: dict[int, Chunk] = {}
        for number in np.unique(store_P).tolist():
            mine = np.flatnonzero(store_P == number)
            chunks = self.stores[number].chunks(row_P[mine] - self._starts[number], number_P[mine])
            found.update(zip(mine.tolist(), chunks, strict=True))
        return [found[part] for part in range(len(row_P))]

    def reserve(self, chunks: int) -> None:
        """Let so many unpacked chunks be held of each store."""
        for store in self.stores:
            store.reserve(chunks)


def open_stores(
    paths: Sequence[Path], weights: Sequence[float] = (), games: EpisodeFilter = ALL_EPISODES
) -> Mixture | TrajectoryStore:
    """The store at a path, or the mixture of the stores at several."""
    stores = [TrajectoryStore.open(path, games=games) for path in paths]
    if len(stores) > 1:
        return Mixture(stores, weights)
    if weights:
        raise UserError("weights are for several stores: name more, or leave them out")
    return stores[0]
