"""Power laws: y = coefficient · x^exponent, with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.95
"""Coverage of every interval and band."""


@dataclass(frozen=True)
class PowerLaw:
    """y = coefficient · x^exponent, fitted by least squares of ln y on ln x."""

    coefficient: float
    """In units of y at x = 1."""
    exponent: float
    exponent_ci: tuple[float, float] | None
    """95 % confidence interval by Student's t with n - 2 degrees of freedom; None for two points."""
    points: tuple[tuple[float, float], ...]
    """The (x, y) that were fitted, by x."""
    residual_sd: float | None
    """Standard deviation of ln y about the line (n - 2 degrees of freedom); None for two points."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """y on the line at `x`."""
        return np.exp(math.log(self.coefficient) + self.exponent * np.log(x))

    def band(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """95 % confidence band of the line at `x` (of the mean of ln y, not of a new point)."""
        if self.residual_sd is None:
            return None
        log_x = np.log([point[0] for point in self.points])
        n, centre = len(log_x), float(log_x.mean())
        spread = float(np.sum((log_x - centre) ** 2))
        error = self.residual_sd * np.sqrt(1 / n + (np.log(x) - centre) ** 2 / spread)
        half = _quantile(n - 2) * error
        middle = np.log(self.predict(x))
        return np.exp(middle - half), np.exp(middle + half)


def fit_power(points: Sequence[tuple[float, float]]) -> PowerLaw:
    """Ordinary least squares in log-log over positive `points` (x, y), each weighing the same.

    The interval is the textbook one of simple linear regression: slope ± t · s / sqrt(Sxx), where
    s² = RSS / (n - 2) and Sxx is the sum of squares of ln x about its mean. It takes the points to be
    independent. ValueError where no line is defined: fewer than two different x, a value that isn't positive
    and finite, or a coefficient beyond double precision.
    """
    ordered = tuple(sorted((float(x), float(y)) for x, y in points))
    table = np.array(ordered, dtype=np.float64).reshape(-1, 2)
    if not np.all(np.isfinite(table)) or np.any(table <= 0):
        raise ValueError("a power law needs positive, finite points")
    if len(np.unique(table[:, 0])) < 2:
        raise ValueError("a power law needs two different x")
    log_x, log_y = np.log(table).T
    off_x, off_y = log_x - log_x.mean(), log_y - log_y.mean()
    spread = float(np.sum(off_x**2))
    exponent = float(np.sum(off_x * off_y)) / spread
    intercept = float(log_y.mean() - exponent * log_x.mean())
    if abs(intercept) > 700:
        raise ValueError("the coefficient of the power law is beyond double precision")
    sd, interval = None, None
    if len(ordered) > 2:
        residual = off_y - exponent * off_x
        sd = math.sqrt(float(np.sum(residual**2)) / (len(ordered) - 2))
        half = _quantile(len(ordered) - 2) * sd / math.sqrt(spread)
        interval = (exponent - half, exponent + half)
    return PowerLaw(math.exp(intercept), exponent, interval, ordered, sd)


def _quantile(freedom: int) -> float:
    """Two-sided quantile of Student's t at `LEVEL`."""
    return float(special.stdtrit(freedom, (1 + LEVEL) / 2))
