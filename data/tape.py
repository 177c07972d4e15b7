"""Which steps go where: (seed, step) → slices of episodes, by lane. Pure functions of integers, no files.

The training tape lays an epoch's episodes, shuffled, end to end and cuts the whole into one stretch per lane,
equal to within a step; lane b reads its stretch a window at a time. Only an epoch's last window is padded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Slice(NamedTuple):
    """Steps [start, stop) of episode `row`, placed in `lane` at `offset` of its window."""

    lane: int
    offset: int
    row: int
    start: int
    stop: int
    first: bool
    """Nothing before `start` may be remembered: an episode's start, or a lane's."""


@dataclass(frozen=True)
class _Line:
    """Episodes end to end: `starts[i]` is where `rows[i]` begins, and the last entry where all ends."""

    rows: np.ndarray
    starts: np.ndarray

    def cut(self, lane: int, lo: int, hi: int, begin: int) -> list[Slice]:
        """The slices of [lo, hi); `begin` is where the lane's reading of this line began."""
        if lo >= hi:
            return []
        slices = []
        place = int(np.searchsorted(self.starts, lo, side="right")) - 1
        while place < len(self.rows) and self.starts[place] < hi:
            origin, end = int(self.starts[place]), int(self.starts[place + 1])
            left, right = max(lo, origin), min(hi, end)
            first = left in (origin, begin)
            slices.append(Slice(lane, left - lo, int(self.rows[place]), left - origin, right - origin, first))
            place += 1
        return slices


def _line(rows: np.ndarray, lengths: np.ndarray) -> _Line:
    return _Line(rows, np.concatenate([[0], np.cumsum(lengths[rows])]))


def _checked(lengths: Sequence[int] | np.ndarray, lanes: int, window: int) -> np.ndarray:
    array = np.asarray(lengths, np.int64)
    if not len(array) or array.min() < 1:
        raise ValueError("a tape needs episodes, each of at least one step")
    if lanes < 1 or window < 1:
        raise ValueError(f"lanes {lanes} and window {window} must be positive")
    return array


class Tape:
    """The endless order of training: every step of every episode exactly once an epoch."""

    def __init__(self, lengths: Sequence[int] | np.ndarray, lanes: int, window: int, seed: int) -> None:
        self.lanes, self.window, self.seed = lanes, window, seed
        self._lengths = _checked(lengths, lanes, window)
        self._total = int(self._lengths.sum())
        longest = -(-self._total // lanes)
        self.steps_per_epoch = -(-longest // window)
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def at(self, step: int, lanes: range | None = None) -> list[Slice]:
        """The slices of the batch of `step`, for all lanes or a block of them; lane numbers stay global."""
        epoch, place = divmod(step, self.steps_per_epoch)
        line = self._epoch(epoch)
        slices = []
        for lane in range(self.lanes) if lanes is None else lanes:
            begin, end = self._stretch(lane)
            lo = begin + place * self.window
            slices += line.cut(lane, lo, min(lo + self.window, end), begin)
        return slices

    def samples(self, step: int) -> int:
        """How many samples the batches before `step` hold, padding left out."""
        epochs, place = divmod(step, self.steps_per_epoch)
        sizes = np.diff(np.arange(self.lanes + 1) * self._total // self.lanes)
        return epochs * self._total + int(np.minimum(sizes, place * self.window).sum())

    def _stretch(self, lane: int) -> tuple[int, int]:
        return lane * self._total // self.lanes, (lane + 1) * self._total // self.lanes

    def _shuffle(self, epoch: int) -> _Line:
        # Raw bits of a counter-based generator: unlike `permutation`, NumPy keeps them the same for ever.
        bits = np.random.Philox(np.random.SeedSequence([self.seed, epoch]))
        return _line(np.argsort(bits.random_raw(len(self._lengths)), kind="stable"), self._lengths)


class FixedTape:
    """One pass in a fixed order: every step exactly once, each episode whole in one lane.

    Longest first, each to the lane with least, so that lanes end close together and a carried state is right
    across the whole of an episode.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, lanes: int, window: int) -> None:
        self.lanes, self.window = lanes, window
        array = _checked(lengths, lanes, window)
        loads, rows = [0] * lanes, [[] for _ in range(lanes)]
        for row in np.argsort(-array, kind="stable"):
            lane = int(np.argmin(loads))
            loads[lane] += int(array[row])
            rows[lane].append(int(row))
        self._lines = [_line(np.array(lane, np.int64), array) for lane in rows]
        self.steps = -(-max(loads) // window)

    def at(self, step: int, lanes: range | None = None) -> list[Slice]:
        """The slices of batch `step` of `steps`, for all lanes or a block of them."""
        slices = []
        for lane in range(self.lanes) if lanes is None else lanes:
            line = self._lines[lane]
            lo = step * self.window
            slices += line.cut(lane, lo, min(lo + self.window, int(line.starts[-1])), 0)
        return slices
