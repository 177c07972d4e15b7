"""Samplers: pure functions from (seed, step) to the slices of episodes that make up a batch.

`LaneSampler` is for recurrent cores. It concatenates the shuffled episodes of an epoch to one tape and cuts the tape
into one stretch per lane, of equal length to within a step; each lane reads its stretch one window per batch. Only the
last batch of an epoch is padded. `WindowSampler` is for cores without a carried state: independent windows in shuffled
order. `SequentialSampler` reads every episode once, in a fixed order.

Slices are rows of an int64 [slices, 6] table with the columns of `Slice`.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from data.codec.kernels import kernel


class Slice(NamedTuple):
    """Steps [start, stop) of episode `row`, at `offset` in the window of `lane`."""

    lane: int
    offset: int
    row: int
    start: int
    stop: int
    first: int
    """1 if a recurrent state must be reset before this slice: at the start of an episode or of a lane's stretch."""


@kernel()
def _cut(rows, starts, lane_L, lo_L, hi_L, begin_L):
    """Slices of the stretch [lo, hi) of a tape for each lane; `begin` is where the lane's whole stretch begins."""
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


class _Tape:
    """Concatenated episodes: `starts[i]` is the position where `rows[i]` begins; the last entry is the total length."""

    def __init__(self, rows: np.ndarray, lengths: np.ndarray) -> None:
        self.starts = np.concatenate([[0], np.cumsum(lengths[rows])])
        self._rows = rows

    def cut(self, lanes: range, lo: np.ndarray, hi: np.ndarray, begin: np.ndarray) -> np.ndarray:
        """Slices of the stretch [lo, hi) of each lane; `begin` is where the lane's whole stretch begins."""
        return _cut(self._rows, self.starts, np.arange(lanes.start, lanes.stop), lo, hi, begin)


def _checked(lengths: Sequence[int] | np.ndarray, lanes: int, window: int) -> np.ndarray:
    array = np.asarray(lengths, np.int64)
    if not len(array) or array.min() < 1:
        raise ValueError("a sampler needs episodes, each of at least one step")
    if lanes < 1 or window < 1:
        raise ValueError(f"lanes {lanes} and window {window} must be positive")
    return array


def _most_pieces(lengths: np.ndarray, window: int) -> int:
    """Maximum number of episodes in a window of any tape of episodes with these lengths."""
    whole = int(np.searchsorted(np.cumsum(np.sort(lengths)), window - 2, side="right"))
    return min(window, whole + 2, len(lengths))


class LaneSampler:
    """An endless order for training recurrent cores: every step of every episode exactly once per epoch.

    Args:
        lengths: Number of steps of each episode.
        lanes: Number of lanes B.
        window: Steps per lane and batch T.
        seed: Seed of the shuffling.

    Raises:
        ValueError: There are no episodes, or an argument is not positive.
    """

    pool = 0
    """Number of chunks whose windows are shuffled together; 0: windows are not shuffled."""

    def __init__(self, lengths: Sequence[int] | np.ndarray, lanes: int, window: int, seed: int) -> None:
        self.lanes, self.window, self.seed = lanes, window, seed
        self._lengths = _checked(lengths, lanes, window)
        self.pieces = _most_pieces(self._lengths, window)
        """Maximum number of episodes in the window of one lane."""
        self._total = int(self._lengths.sum())
        self._edges = np.arange(lanes + 1) * self._total // lanes
        longest = -(-self._total // lanes)
        self.steps_per_epoch = -(-longest // window)
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def at(self, step: int, lanes: range | None = None) -> np.ndarray:
        """Slices of batch `step`, for all lanes or a contiguous block of them. Lane numbers are global."""
        epoch, place = divmod(step, self.steps_per_epoch)
        block = range(self.lanes) if lanes is None else lanes
        edges = self._edges[block.start : block.stop + 1]
        lo = edges[:-1] + place * self.window
        return self._epoch(epoch).cut(block, lo, np.minimum(lo + self.window, edges[1:]), edges[:-1])

    def samples(self, step: int) -> int:
        """Number of samples in the batches before `step`, without padding."""
        epochs, place = divmod(step, self.steps_per_epoch)
        return epochs * self._total + int(np.minimum(np.diff(self._edges), place * self.window).sum())

    def _shuffle(self, epoch: int) -> _Tape:
        return _Tape(_shuffled(len(self._lengths), self.seed, epoch), self._lengths)


class WindowSampler:
    """An endless order for training cores without a carried state: independent windows, shuffled.

    Windows begin at multiples of `window` within an episode and occur once per epoch. The last window of an episode may
    be shorter, and the last batch of an epoch may have fewer windows.

    Windows in the same chunk of an episode form a group, so that a decompressed chunk serves all of them: the groups of
    an epoch are shuffled, and then the windows within every `pool` consecutive groups.

    Args:
        lengths: Number of steps of each episode.
        lanes: Number of windows per batch B.
        window: Steps per window T.
        seed: Seed of the shuffling.
        chunk: Steps per chunk of the store.
        pool: Number of groups whose windows are shuffled together.

    Raises:
        ValueError: There are no episodes, or an argument is not positive.
    """

    pieces = 1
    """Maximum number of episodes in a window."""

    def __init__(
        self, lengths: Sequence[int] | np.ndarray, lanes: int, window: int, seed: int, chunk: int, pool: int
    ) -> None:
        self.lanes, self.window, self.seed, self.pool = lanes, window, seed, pool
        self._lengths = _checked(lengths, lanes, window)
        each = max(1, chunk // window)
        windows = -(-self._lengths // window)
        groups = -(-windows // each)
        self._row = np.repeat(np.arange(len(groups)), groups)
        place = np.arange(len(self._row)) - np.repeat(np.cumsum(groups) - groups, groups)
        self._begin = place * each
        self._end = np.minimum(self._begin + each, windows[self._row])
        self.steps_per_epoch = -(-int(windows.sum()) // lanes)
        self._epoch = lru_cache(maxsize=2)(self._shuffle)
        self._pool = lru_cache(maxsize=4)(self._shuffle_pool)

    def at(self, step: int, lanes: range | None = None) -> np.ndarray:
        """Slices of batch `step`, for all lanes or a contiguous block of them. Lane numbers are global."""
        epoch, place = divmod(step, self.steps_per_epoch)
        block = range(self.lanes) if lanes is None else lanes
        lo, hi = place * self.lanes + block.start, place * self.lanes + block.stop
        windows = self._windows(epoch, lo, hi)
        slices = np.zeros((len(windows), 6), np.int64)
        slices[:, 0] = np.arange(block.start, block.start + len(windows))
        slices[:, 2:5], slices[:, 5] = windows, True
        return slices

    def samples(self, step: int) -> int:
        """Number of samples in the batches before `step`, without padding."""
        epochs, place = divmod(step, self.steps_per_epoch)
        _, firsts, steps = self._epoch(epochs)
        window = place * self.lanes
        pool = int(np.searchsorted(firsts, window, side="right")) - 1
        within = self._pool(epochs, pool)[: window - int(firsts[pool])]
        return epochs * int(self._lengths.sum()) + int(steps[pool]) + int((within[:, 2] - within[:, 1]).sum())

    def _windows(self, epoch: int, lo: int, hi: int) -> np.ndarray:
        """Row, start and stop of windows [lo, hi) of an epoch, int64 [windows, 3]; fewer at the end of the epoch."""
        _, firsts, _ = self._epoch(epoch)
        pools = range(int(np.searchsorted(firsts, lo, side="right")) - 1, int(np.searchsorted(firsts, hi)))
        found = [self._pool(epoch, pool)[max(0, lo - firsts[pool]) : max(0, hi - firsts[pool])] for pool in pools]
        return np.concatenate([np.zeros((0, 3), np.int64), *found])

    def _shuffle(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The order of the groups, and the number of windows and of steps before each pool and after the last."""
        order = _shuffled(len(self._row), self.seed, epoch)
        windows = (self._end - self._begin)[order]
        steps = (np.minimum(self._end * self.window, self._lengths[self._row]) - self._begin * self.window)[order]
        starts = np.arange(0, len(order), self.pool)

        def before(counts: np.ndarray) -> np.ndarray:
            return np.append(0, np.cumsum(np.add.reduceat(counts, starts)))

        return order, before(windows), before(steps)

    def _shuffle_pool(self, epoch: int, pool: int) -> np.ndarray:
        """Row, start and stop of the windows of a pool, in order, int64 [windows, 3]."""
        order, firsts, _ = self._epoch(epoch)
        if pool + 1 >= len(firsts):
            return np.zeros((0, 3), np.int64)
        groups = order[pool * self.pool : (pool + 1) * self.pool]
        count = self._end[groups] - self._begin[groups]
        row = np.repeat(self._row[groups], count)
        begin = np.repeat(self._begin[groups] - np.cumsum(count) + count, count) + np.arange(len(row))
        stop = np.minimum((begin + 1) * self.window, self._lengths[row])
        return np.stack([row, begin * self.window, stop], axis=1)[_shuffled(len(row), self.seed, epoch, 1 + pool)]


class MixedSampler:
    """Samplers side by side, each with its own lanes and episodes, numbered consecutively.

    Args:
        samplers: The samplers.
        episodes: Number of episodes of each.
    """

    def __init__(self, samplers: Sequence[LaneSampler | WindowSampler], episodes: Sequence[int]) -> None:
        self._samplers = list(
            zip(samplers, _before(sampler.lanes for sampler in samplers), _before(episodes), strict=True)
        )
        self.lanes = sum(sampler.lanes for sampler in samplers)
        self.pool = max(sampler.pool for sampler in samplers)
        self.pieces = max(sampler.pieces for sampler in samplers)

    def at(self, step: int, lanes: range | None = None) -> np.ndarray:
        """Slices of batch `step`, for all lanes or a contiguous block of them. Lane numbers are global."""
        block = range(self.lanes) if lanes is None else lanes
        slices = []
        for sampler, lane, row in self._samplers:
            mine = range(max(block.start - lane, 0), min(block.stop - lane, sampler.lanes))
            if mine:
                slices.append(sampler.at(step, mine) + np.array(Slice(lane, 0, row, 0, 0, 0)))
        return np.concatenate(slices)

    def samples(self, step: int) -> int:
        """Number of samples in the batches before `step`, without padding."""
        return sum(sampler.samples(step) for sampler, _, _ in self._samplers)


def _before(counts: Iterable[int]) -> list[int]:
    """Exclusive cumulative sum."""
    return list(accumulate(counts, initial=0))[:-1]


def _shuffled(count: int, *seed: int) -> np.ndarray:
    # Raw bits of a counter-based generator: unlike `permutation`, they never change between NumPy versions.
    return np.argsort(np.random.Philox(np.random.SeedSequence(seed)).random_raw(count), kind="stable")


class SequentialSampler:
    """One pass over all episodes in a fixed order, each whole in one lane, so that a state can be carried through it.

    Episodes are assigned longest first, each to the lane with the fewest steps, so that lanes end close together.

    Args:
        lengths: Number of steps of each episode.
        lanes: Number of lanes B.
        window: Steps per lane and batch T.

    Raises:
        ValueError: There are no episodes, or an argument is not positive.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, lanes: int, window: int) -> None:
        self.lanes, self.window = lanes, window
        array = _checked(lengths, lanes, window)
        self.pieces = _most_pieces(array, window)
        """Maximum number of episodes in the window of one lane."""
        loads, rows = [0] * lanes, [[] for _ in range(lanes)]
        for row in np.argsort(-array, kind="stable"):
            lane = int(np.argmin(loads))
            loads[lane] += int(array[row])
            rows[lane].append(int(row))
        self._tapes = [_Tape(np.array(lane, np.int64), array) for lane in rows]
        self.steps = -(-max(loads) // window)

    def at(self, step: int, lanes: range | None = None) -> np.ndarray:
        """Slices of batch `step` of `steps`, for all lanes or a contiguous block of them."""
        lo, slices = np.array([step * self.window]), []
        for lane in range(self.lanes) if lanes is None else lanes:
            tape = self._tapes[lane]
            hi = np.minimum(lo + self.window, tape.starts[-1])
            slices.append(tape.cut(range(lane, lane + 1), lo, hi, np.zeros(1, np.int64)))
        return np.concatenate(slices)
