"""Store and tape to batches: decoded ahead of time by threads, in an order that only the step decides."""

from collections.abc import Callable, Iterator

import numpy as np

from data import codec
from data.spec import COLUMNS, NO_ACTION, ROWS, Batch
from data.store import Split, TrajectoryStore
from data.tape import FixedTape, Slice, Tape

_ENDLESS = 2**62


def batches(
    store: TrajectoryStore,
    split: Split,
    lanes: int,
    window: int,
    seed: int,
    start: int = 0,
    lane_range: range | None = None,
    threads: int = 2,
    prefetch: int = 4,
) -> Iterator[Batch]:
    """Training batches [B, window] from step `start` on, without end.

    The batch of a step depends on the step alone, so resuming at k continues as if never interrupted. `lanes`
    counts those of all hosts; a host names its block in `lane_range` and gets B = len(lane_range).
    """
    rows = store.rows(split)
    tape = Tape(store.lengths[rows], lanes, window, seed)
    mine = _block(lanes, lane_range)
    _reserve(store, len(mine))

    def batch(step: int) -> Batch:
        return assemble(store, rows, tape.at(step, mine), mine, window)

    return _ahead(batch, start, _ENDLESS, threads, prefetch)


class DevBatches:
    """The held-out episodes once through, in a fixed order: as often as asked, with a length."""

    def __init__(
        self,
        store: TrajectoryStore,
        lanes: int,
        window: int,
        lane_range: range | None = None,
        threads: int = 2,
        prefetch: int = 4,
        split: Split = "dev",
    ) -> None:
        self._store, self._window, self._lanes = store, window, _block(lanes, lane_range)
        self._threads, self._prefetch = threads, prefetch
        self._rows = store.rows(split)
        self._tape = FixedTape(store.lengths[self._rows], lanes, window)
        _reserve(store, len(self._lanes))

    def __len__(self) -> int:
        return self._tape.steps

    def __iter__(self) -> Iterator[Batch]:
        return _ahead(self._batch, 0, len(self), self._threads, self._prefetch)

    def _batch(self, step: int) -> Batch:
        slices = self._tape.at(step, self._lanes)
        return assemble(self._store, self._rows, slices, self._lanes, self._window)


def dev_batches(store: TrajectoryStore, lanes: int, window: int, lane_range: range | None = None) -> DevBatches:
    """Held-out batches [B, window], each step of each dev episode once; `len` says how many.

    Episodes stay whole in their lane, so that a carried state is right from an episode's start to its end.
    """
    return DevBatches(store, lanes, window, lane_range)


def assemble(store: TrajectoryStore, rows: np.ndarray, slices: list[Slice], lanes: range, window: int) -> Batch:
    """Read slices into a batch; a slice's row counts in `rows`, which hold rows of the store."""
    shape = len(lanes), window
    chars = np.zeros((*shape, ROWS, COLUMNS), np.uint8)
    colors = np.zeros((*shape, ROWS, COLUMNS), np.uint8)
    cursor = np.zeros((*shape, 2), np.uint8)
    prev_action = np.zeros(shape, np.uint8)
    action = np.zeros(shape, np.int32)
    first = np.zeros(shape, bool)
    mask = np.zeros(shape, bool)
    episode = np.full(shape, -1, np.int32)
    for piece in slices:
        lane, row = piece.lane - lanes.start, int(rows[piece.row])
        place = piece.offset
        before = NO_ACTION
        if piece.start:
            before = store.read(row, piece.start - 1, piece.start).action_S[0]
        prev_action[lane, place] = before
        first[lane, place] = piece.first
        for steps in store.pieces(row, piece.start, piece.stop):
            end = place + len(steps.action_S)
            chars[lane, place:end] = steps.chars_Sx24x80
            colors[lane, place:end] = steps.colors_Sx24x80
            cursor[lane, place:end] = steps.cursor_Sx2
            action[lane, place:end] = steps.action_S
            place = end
        prev_action[lane, piece.offset + 1 : place] = action[lane, piece.offset : place - 1]
        mask[lane, piece.offset : place] = True
        episode[lane, piece.offset : place] = row
    observation = {"chars": chars, "colors": colors, "cursor": cursor, "prev_action": prev_action}
    return Batch(observation, action, first, mask, episode)


def _block(lanes: int, lane_range: range | None) -> range:
    block = range(lanes) if lane_range is None else lane_range
    if block.step != 1 or not 0 <= block.start < block.stop <= lanes:
        raise ValueError(f"{block} is not a block of {lanes} lanes")
    return block


def _reserve(store: TrajectoryStore, lanes: int) -> None:
    """Room for the chunk each lane is in and the next: with less, lanes would evict each other's in turn."""
    store.reserve(2 * lanes * store.manifest["chunk_steps"] * codec.STEP_BYTES)


def _ahead(make: Callable[[int], Batch], start: int, stop: int, threads: int, prefetch: int) -> Iterator[Batch]:
    """make(start), make(start + 1), …, up to `prefetch` of them computed ahead on `threads` threads."""
    # Grain imports JAX, which commands that only look at a store need not wait for.
    import grain

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.range(start, stop).map(make).to_iter_dataset(options))
