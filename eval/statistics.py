"""Intervals for means, by resampling."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CHUNK = 1 << 22
"""Values drawn at once: bounds the memory."""


@dataclass(frozen=True)
class Interval:
    """A mean with its uncertainty."""

    mean: float
    low: float
    high: float
    se: float
    """Standard error of the mean: sample standard deviation (n - 1) over the root of n."""


def mean_interval(
    values: Sequence[float] | np.ndarray, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """The mean of two or more values and its percentile bootstrap interval, by arguments alone."""
    value_N = np.asarray(values, np.float64)
    count = value_N.size
    if value_N.ndim != 1 or count < 2:
        raise ValueError(f"an interval needs two values or more in one row, got shape {value_N.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    random = np.random.default_rng(seed)
    rows = max(1, CHUNK // count)
    means = np.concatenate(
        [
            value_N[random.integers(count, size=(min(rows, resamples - start), count))].mean(axis=1)
            for start in range(0, resamples, rows)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value_N.mean()), float(low), float(high), float(value_N.std(ddof=1) / count**0.5))
