"""Which steps go where: (seed, step) → slices of episodes, by lane. Pure functions of integers, no files.

Slices are rows of a table, int64 [slices, 6], with the columns of `Slice`: a batch has a hundred of them.

The training sampler lays an epoch's episodes, shuffled, end to end and cuts the whole into one stretch per lane,
equal to within a step; lane b reads its stretch a window at a time. Only an epoch's last window is padded.
The window sampler is for cores that carry nothing: windows in shuffled order, each alone.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numba import njit


class Slice(NamedTuple):
    """Steps [start, stop) of episode `row`, placed in `lane` at `offset` of its window."""

    lane: int
    offset: int
    row: int
    start: int
    stop: int
    first: int
    """1 where nothing before `start` may be remembered: an episode's start, or a lane's."""


@njit(cache=True)
def _cut(rows, starts, lane_L, lo_L, hi_L, begin_L):
    """The slices of [lo, hi) of each lane, of episodes end to end; `begin` is where a lane began to read them."""
    place_L = np.searchsorted(starts, lo_L, side="right") - 1
    end_L = np.where(hi_L > lo_L, np.searchsorted(starts, hi_L, side="left"), place_L)
    slices = np.empty(((end_L - place_L).sum(), 6), np.int64)
    count = 0
    for lane in range(len(lane_L)):
        left = lo_L[lane]
        for place in range(place_L[lane], end_L[lane]):
            origin, stop = starts[place], min(hi_L[lane], starts[place + 1])
            slices[count, 0], slices[count, 1], slices[count, 2] = lane_L[lane], left - lo_L[lane], rows[place]
            slices[count, 3], slices[count, 4] = left - origin, stop - origin
            slices[count, 5] = left == origin or left == begin_L[lane]
            left, count = stop, count + 1
    return slices


class _Line:
    """Episodes end to end: `starts[i]` is where `rows[i]` begins, and the last entry where all ends."""

    def __init__(self, rows: np.ndarray, lengths: np.ndarray) -> None:
        self.starts = np.concatenate([[0], np.cumsum(lengths[rows])])
        self._rows = rows

    def cut(self, lanes: range, lo: np.ndarray, hi: np.ndarray, begin: np.ndarray) -> np.ndarray:
        """The slices of [lo, hi) of each lane; `begin` is where its reading of this line began."""
        return _cut(self._rows, self.starts, np.arange(lanes.start, lanes.stop), lo, hi, begin)


def _checked(lengths: Sequence[int] | np.ndarray, lanes: int, window: int) -> np.ndarray:
    array = np.asarray(lengths, np.int64)
    if not len(array) or array.min() < 1:
        raise ValueError("a sampler needs episodes, each of at least one step")
    if lanes < 1 or window < 1:
        raise ValueError(f"lanes {lanes} and window {window} must be positive")
    return array


def _most_pieces(lengths: np.ndarray, window: int) -> int:
    """How many of some episodes laid end to end a window can meet."""
    whole = int(np.searchsorted(np.cumsum(np.sort(lengths)), window - 2, side="right"))
    return min(window, whole + 2, len(lengths))


class LaneSampler:
    """The endless order of training: every step of every episode exactly once an epoch."""

    pool = 0
    """Chunks whose windows are shuffled together: none."""

    def __init__(self, lengths: Sequence[int] | np.ndarray, lanes: int, window: int, seed: int) -> None:
        self.lanes, self.window, self.seed = lanes, window, seed
        self._lengths = _checked(lengths, lanes, window)
        self.pieces = _most_pieces(self._lengths, window)
        """Most episodes that a lane's window meets."""
        self._total = int(self._lengths.sum())
        self._edges = np.arange(lanes + 1) * self._total // lanes
        longest = -(-self._total // lanes)
        self.steps_per_epoch = -(-longest // window)
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def at(self, step: int, lanes: range | None = None) -> np.ndarray:
        """The slices of the batch of `step`, for all lanes or a block of them; lane numbers stay global."""
        epoch, place = divmod(step, self.steps_per_epoch)
        block = range(self.lanes) if lanes is None else lanes
        edges = self._edges[block.start : block.stop + 1]
        lo = edges[:-1] + place * self.window
        return self._epoch(epoch).cut(block, lo, np.minimum(lo + self.window, edges[1:]), edges[:-1])

    def samples(self, step: int) -> int:
        """How many samples the batches before `step` hold, padding left out."""
        epochs, place = divmod(step, self.steps_per_epoch)
        return epochs * self._total + int(np.minimum(np.diff(self._edges), place * self.window).sum())

    def _shuffle(self, epoch: int) -> _Line:
        return _Line(_shuffled(len(self._lengths), self.seed, epoch), self._lengths)


class WindowSampler:
    """Another endless order of training: every window of every episode once an epoch, shuffled, each by itself.

    Windows begin at multiples of `window` in their episode; an episode's last may be shorter, and so may an epoch's
    last batch. The windows that begin in the same `chunk` steps of an episode are a run, so that what is unpacked
    for one serves the others: an epoch's runs are shuffled, and the windows of every `pool` of them together.
    """

    pieces = 1
    """Most episodes that a window meets."""

    def __init__(
        self, lengths: Sequence[int] | np.ndarray, lanes: int, window: int, seed: int, chunk: int, pool: int
    ) -> None:
        self.lanes, self.window, self.seed, self.pool = lanes, window, seed, pool
        self._lengths = _checked(lengths, lanes, window)
        each = max(1, chunk // window)
        windows = -(-self._lengths // window)
        runs = -(-windows // each)
        self._row = np.repeat(np.arange(len(runs)), runs)
        place = np.arange(len(self._row)) - np.repeat(np.cumsum(runs) - runs, runs)
        self._begin = place * each
        self._end = np.minimum(self._begin + each, windows[self._row])
        self.steps_per_epoch = -(-int(windows.sum()) // lanes)
        self._epoch = lru_cache(maxsize=2)(self._shuffle)
        self._pool = lru_cache(maxsize=4)(self._shuffle_pool)

    def at(self, step: int, lanes: range | None = None) -> np.ndarray:
        """The slices of the batch of `step`, for all lanes or a block of them; lane numbers stay global."""
        epoch, place = divmod(step, self.steps_per_epoch)
        block = range(self.lanes) if lanes is None else lanes
        lo, hi = place * self.lanes + block.start, place * self.lanes + block.stop
        windows = self._windows(epoch, lo, hi)
        slices = np.zeros((len(windows), 6), np.int64)
        slices[:, 0] = np.arange(block.start, block.start + len(windows))
        slices[:, 2:5], slices[:, 5] = windows, True
        return slices

    def samples(self, step: int) -> int:
        """How many samples the batches before `step` hold, padding left out."""
        epochs, place = divmod(step, self.steps_per_epoch)
        _, firsts, steps = self._epoch(epochs)
        window = place * self.lanes
        pool = int(np.searchsorted(firsts, window, side="right")) - 1
        within = self._pool(epochs, pool)[: window - int(firsts[pool])]
        return epochs * int(self._lengths.sum()) + int(steps[pool]) + int((within[:, 2] - within[:, 1]).sum())

    def _windows(self, epoch: int, lo: int, hi: int) -> np.ndarray:
        """Row, start and stop of windows [lo, hi) of an epoch, int64 [windows, 3]; fewer past the epoch's end."""
        _, firsts, _ = self._epoch(epoch)
        pools = range(int(np.searchsorted(firsts, lo, side="right")) - 1, int(np.searchsorted(firsts, hi)))
        found = [self._pool(epoch, pool)[max(0, lo - firsts[pool]) : max(0, hi - firsts[pool])] for pool in pools]
        return np.concatenate([np.zeros((0, 3), np.int64), *found])

    def _shuffle(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Runs in order; and before each pool and after the last, how many windows and how many steps there are."""
        order = _shuffled(len(self._row), self.seed, epoch)
        windows = (self._end - self._begin)[order]
        steps = (np.minimum(self._end * self.window, self._lengths[self._row]) - self._begin * self.window)[order]
        starts = np.arange(0, len(order), self.pool)

        def before(counts: np.ndarray) -> np.ndarray:
            return np.append(0, np.cumsum(np.add.reduceat(counts, starts)))

        return order, before(windows), before(steps)

    def _shuffle_pool(self, epoch: int, pool: int) -> np.ndarray:
        """Row, start and stop, int64 [windows, 3], of a pool's windows in order."""
        order, firsts, _ = self._epoch(epoch)
        if pool + 1 >= len(firsts):
            return np.zeros((0, 3), np.int64)
        runs = order[pool * self.pool : (pool + 1) * self.pool]
        count = self._end[runs] - self._begin[runs]
        row = np.repeat(self._row[runs], count)
        begin = np.repeat(self._begin[runs] - np.cumsum(count) + count, count) + np.arange(len(row))
        stop = np.minimum((begin + 1) * self.window, self._lengths[row])
        return np.stack([row, begin * self.window, stop], axis=1)[_shuffled(len(row), self.seed, epoch, 1 + pool)]


class MixedSampler:
    """Tapes side by side, each with lanes and episodes of its own, counted through."""

    def __init__(self, samplers: Sequence[LaneSampler | WindowSampler], episodes: Sequence[int]) -> None:
        self._samplers = list(
            zip(samplers, _before(sampler.lanes for sampler in samplers), _before(episodes), strict=True)
        )
        self.lanes = sum(sampler.lanes for sampler in samplers)
        self.pool = max(sampler.pool for sampler in samplers)
        self.pieces = max(sampler.pieces for sampler in samplers)

    def at(self, step: int, lanes: range | None = None) -> np.ndarray:
        """The slices of the batch of `step`, for all lanes or a block of them; lane numbers stay global."""
        block = range(self.lanes) if lanes is None else lanes
        slices = []
        for sampler, lane, row in self._samplers:
            mine = range(max(block.start - lane, 0), min(block.stop - lane, sampler.lanes))
            if mine:
                slices.append(sampler.at(step, mine) + np.array(Slice(lane, 0, row, 0, 0, 0)))
        return np.concatenate(slices)

    def samples(self, step: int) -> int:
        """How many samples the batches before `step` hold, padding left out."""
        return sum(sampler.samples(step) for sampler, _, _ in self._samplers)


def _before(counts: Iterable[int]) -> list[int]:
    """The sum of all counts before each."""
    return list(accumulate(counts, initial=0))[:-1]


def _shuffled(count: int, *seed: int) -> np.ndarray:
    # Raw bits of a counter-based generator: unlike `permutation`, NumPy keeps them the same for ever.
    return np.argsort(np.random.Philox(np.random.SeedSequence(seed)).random_raw(count), kind="stable")


class SequentialSampler:
    """One pass in a fixed order: every step exactly once, each episode whole in one lane.

    Longest first, each to the lane with least, so that lanes end close together and a carried state is right
    across the whole of an episode.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, lanes: int, window: int) -> None:
        self.lanes, self.window = lanes, window
        array = _checked(lengths, lanes, window)
        self.pieces = _most_pieces(array, window)
        """Most episodes that a lane's window meets."""
        loads, rows = [0] * lanes, [[] for _ in range(lanes)]
        for row in np.argsort(-array, kind="stable"):
            lane = int(np.argmin(loads))
            loads[lane] += int(array[row])
            rows[lane].append(int(row))
        self._lines = [_Line(np.array(lane, np.int64), array) for lane in rows]
        self.steps = -(-max(loads) // window)

    def at(self, step: int, lanes: range | None = None) -> np.ndarray:
        """The slices of batch `step` of `steps`, for all lanes or a block of them."""
        lo, slices = np.array([step * self.window]), []
        for lane in range(self.lanes) if lanes is None else lanes:
            line = self._lines[lane]
            hi = np.minimum(lo + self.window, line.starts[-1])
            slices.append(line.cut(range(lane, lane + 1), lo, hi, np.zeros(1, np.int64)))
        return np.concatenate(slices)
