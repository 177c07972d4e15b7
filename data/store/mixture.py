"""Several stores read as one; each fills a number of lanes proportional to its weight."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.codec.chunk import Chunk
from data.common.cli import UserError
from data.store.episodes import ALL_EPISODES, Episode, EpisodeFilter, Split
from data.store.reader import TrajectoryStore


class Mixture:
    """Stores of the same game and observation, read as one.

    Rows of the mixture are the rows of its stores, one store after the other. Each store has its own epochs: it
    reshuffles its episodes once it has yielded them all, independently of the other stores.

    Args:
        stores: At least two stores.
        weights: Weight of each store; default equal. The lanes of a batch are divided by weight, rounded to whole
            lanes.

    Raises:
        UserError: The stores hold different content, one is named twice, or the weights are invalid.
    """

    def __init__(self, stores: Sequence[TrajectoryStore], weights: Sequence[float] = ()) -> None:
        first, *others = stores
        weights = weights or [1.0] * len(stores)
        if len(weights) != len(stores):
            raise UserError(f"{len(weights)} weights for {len(stores)} stores: give one for each")
        if not (all(weight > 0 for weight in weights) and sum(weights) < float("inf")):
            raise UserError(f"weights {' '.join(map(str, weights))}: each must be above 0")
        for other in others:
            for key in ("game", "observation", "codec", "actions", "chunk_steps"):
                if other.manifest[key] != first.manifest[key]:
                    raise UserError(f"{other.path} has another {key} than {first.path}: they cannot be mixed")
        if len({store.path.resolve() for store in stores}) < len(stores):
            raise UserError("a store mixed with itself: name each store once, and give weights")
        self.stores, self.weights = tuple(stores), tuple(weights)
        self.path, self.codec, self.chunk_steps = first.path, first.codec, first.chunk_steps
        self.manifest: dict[str, Any] = first.manifest
        self._starts = np.cumsum([0, *(len(store.episodes) for store in stores)])

    @property
    def checksum(self) -> str:
        """SHA-256 of the checksums and weights of the stores, in order."""
        lines = (f"{store.checksum} {weight}\n" for store, weight in zip(self.stores, self.weights, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def episodes(self) -> list[Episode]:
        """The concatenated episode tables."""
        return [episode for store in self.stores for episode in store.episodes]

    @property
    def lengths(self) -> np.ndarray:
        """int64 [episodes], number of steps of each episode."""
        return np.concatenate([store.lengths for store in self.stores])

    def rows(self, split: Split) -> np.ndarray:
        """Rows in this split that pass the filters, int64, in order.

        Raises:
            UserError: A store has none.
        """
        return np.concatenate(
            [store.rows(split) + start for store, start in zip(self.stores, self._starts, strict=False)]
        )

    def shares(self, rows: np.ndarray, lanes: int) -> list[tuple[np.ndarray, int]]:
        """Divide rows and lanes between the stores: the rows of each, and its number of lanes.

        Raises:
            UserError: A store would have no lane.
        """
        parts = np.split(rows, np.searchsorted(rows, self._starts[1:-1]))
        edges = np.rint(np.cumsum([0.0, *self.weights]) / sum(self.weights) * lanes).astype(int)
        counts = np.diff(edges).tolist()
        if 0 in counts:
            poor = self.stores[counts.index(0)].path
            raise UserError(f"{lanes} lanes leave none for {poor}: raise its weight or the number of lanes")
        return list(zip(parts, counts, strict=True))

    def chunks(self, row_P: np.ndarray, number_P: np.ndarray) -> list[Chunk]:
        """See `TrajectoryStore.chunks`."""
        store_P = np.searchsorted(self._starts, row_P, side="right") - 1
        found: dict[int, Chunk] = {}
        for number in np.unique(store_P).tolist():
            mine = np.flatnonzero(store_P == number)
            chunks = self.stores[number].chunks(row_P[mine] - self._starts[number], number_P[mine])
            found.update(zip(mine.tolist(), chunks, strict=True))
        return [found[part] for part in range(len(row_P))]

    def reserve(self, chunks: int) -> None:
        """See `TrajectoryStore.reserve`; for each store."""
        for store in self.stores:
            store.reserve(chunks)


def open_stores(
    paths: Sequence[Path], weights: Sequence[float] = (), filter: EpisodeFilter = ALL_EPISODES
) -> Mixture | TrajectoryStore:
    """Open one store, or several as a `Mixture`.

    Args:
        paths: Folders of the stores.
        weights: See `Mixture`; only for several stores.
        filter: Which episodes to read, in every store.

    Raises:
        UserError: A store cannot be opened, the stores cannot be mixed, or the weights are invalid.
    """
    stores = [TrajectoryStore.open(path, filter=filter) for path in paths]
    if len(stores) > 1:
        return Mixture(stores, weights)
    if weights:
        raise UserError("weights are for several stores: name more stores, or omit the weights")
    return stores[0]
