"""Bootstrap confidence intervals of means and interquartile means."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

CHUNK = 1 << 22
"""Number of values drawn at a time, which bounds memory use."""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval [low, high] and standard error."""

    mean: float
    low: float
    high: float
    se: float
    """Standard error of the mean: sample standard deviation (n - 1 degrees of freedom) / sqrt(n)."""


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis [..., N] without the lowest and the highest quarter, floor(N / 4) values each.

    Source: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice (rliable).
    """
    cut = values.shape[-1] // 4
    return np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)


def mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis."""
    return values.mean(axis=-1)


def bootstrap(
    values: Sequence[float] | np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray] = mean,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of two or more values [N]. Deterministic.

    Args:
        values: The values.
        statistic: Maps resamples [R, N] to their statistics [R].
        level: Confidence level.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resampling.

    Raises:
        ValueError: `values` is not one-dimensional or too short, or `level` is not between 0 and 1.
    """
    value_N = np.asarray(values, np.float64)
    count = value_N.size
    if value_N.ndim != 1 or count < 2:
        raise ValueError(f"an interval needs two values or more in one row, got shape {value_N.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    low, high = np.quantile(resampled(value_N, statistic, resamples, seed), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled(
    value_N: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], resamples: int = 10_000, seed: int = 0
) -> np.ndarray:
    """The statistic of bootstrap resamples, float64 [R]; arguments as of `bootstrap`."""
    random, count = np.random.default_rng(seed), value_N.size
    rows = max(1, CHUNK // count)
    return np.concatenate(
        [
            statistic(value_N[random.integers(count, size=(min(rows, resamples - start), count))])
            for start in range(0, resamples, rows)
        ]
    )


def ratio_interval(above_N: np.ndarray, below_M: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the ratio of two means, of independent values [N] and [M]. Deterministic."""
    ratio = resampled(above_N, mean, seed=0) / resampled(below_M, mean, seed=1)
    low, high = np.quantile(ratio, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_interval(
    values: Sequence[float] | np.ndarray, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Compute a mean and its percentile bootstrap confidence interval; see `bootstrap`."""
    low, high = bootstrap(values, mean, level, resamples, seed)
    value_N = np.asarray(values, np.float64)
    return Interval(float(value_N.mean()), low, high, float(value_N.std(ddof=1) / value_N.size**0.5))
