"""Power laws y = offset + coefficient · x^exponent, with confidence intervals.

All fits are least squares of ln y. Without an offset that is linear regression of ln y on ln x; with one it is solved
by `scipy.optimize.least_squares` from several starts.

Shapes: P points, K fitted parameters (ln coefficient, exponent and, where fitted, the offset), G x of a grid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special
from threadpoolctl import threadpool_limits

single_threaded = threadpool_limits.wrap(limits=1, user_api="blas")
"""Decorator of a function of many small matrices: threads would only slow it down, ten times on shared cores."""

LEVEL = 0.95
"""Coverage of every interval and band."""

Z95 = 1.959963984540054
"""Half width of a 95 % normal interval in standard errors."""

Form = Literal["power", "offset"]
FORMS: tuple[Form, ...] = get_args(Form)
Points = Sequence[tuple[float, float]]

_WIDEST = 300.0
"""Greatest half width of a band in ln y, so that its ends stay within double precision."""
_STARTS = (0.0, 0.2, 0.4, 0.6, 0.75, 0.85, 0.92, 0.97)
"""Initial offsets of the fit, as fractions of the least y."""


@dataclass(frozen=True)
class PowerLaw:
    """y = offset + coefficient · x^exponent, fitted to ln y."""

    coefficient: float
    """In units of y at x = 1."""
    exponent: float
    exponent_ci: tuple[float, float] | None
    """95 % confidence interval by Student's t; None without residual degrees of freedom."""
    points: tuple[tuple[float, float], ...]
    """The fitted (x, y), by x."""
    residual_sd: float | None
    """Residual standard deviation of ln y; None without residual degrees of freedom."""
    covariance_KxK: np.ndarray = field(compare=False)
    """Of (ln coefficient, exponent), and of the offset where it was fitted and is not at its bound, 0."""
    offset: float = 0.0
    """Limit of y for large x, in units of y."""
    form: Form = "power"
    weighted: bool = False
    """Whether points were weighted by their standard errors."""

    @property
    def freedom(self) -> int:
        """Residual degrees of freedom: points minus fitted parameters."""
        return len(self.points) - len(self.covariance_KxK)

    def predict(self, x: ArrayLike) -> np.ndarray:
        """y at `x`, of its shape."""
        return self.offset + np.exp(math.log(self.coefficient) + self.exponent * np.log(x))

    def inverse(self, y: float) -> float:
        """The x at which the law has the value `y`; NaN where it has it nowhere."""
        share = (y - self.offset) / self.coefficient
        return finite_exp(math.log(share) / self.exponent) if share > 0 and self.exponent else math.nan

    def band(self, x: np.ndarray, *, new_point: bool = False) -> tuple[np.ndarray, np.ndarray] | None:
        """95 % band at `x` as (low, high): the confidence band of the curve, or the prediction band of a `new_point`.

        None without residual degrees of freedom.
        """
        if self.residual_sd is None:
            return None
        y_G = self.predict(x)
        share_G = (y_G - self.offset) / y_G
        slope_KxG = np.stack([share_G, share_G * np.log(x), 1 / y_G])[: len(self.covariance_KxK)]
        variance_G = np.einsum("kg,kl,lg->g", slope_KxG, self.covariance_KxK, slope_KxG)
        half = _quantile(self.freedom) * np.sqrt(np.maximum(variance_G, 0) + new_point * self.residual_sd**2)
        half = np.minimum(half, _WIDEST)
        return y_G * np.exp(-half), y_G * np.exp(half)


def finite_exp(value: float) -> float:
    """e^`value`, clipped to the range of double precision."""
    return math.exp(min(max(value, -700.0), 700.0))


def fit_power(points: Points, errors: Sequence[float | None] | None = None) -> PowerLaw:
    """Ordinary least squares of ln y on ln x over positive `points` (x, y).

    With `errors`, the standard errors of y, points are weighted by the inverse square of the standard error of ln y.
    The interval is still scaled by the residuals, since the misfit of a law exceeds the errors of measurement.

    The interval is that of linear regression, slope ± t · s / sqrt(Sxx), which assumes independent points.

    Raises:
        ValueError: fewer than two distinct x, a value that isn't positive and finite, a missing or zero error, or a
            coefficient outside the range of double precision.
    """
    ordered, x_P, y_P, weight_P = _checked(points, errors)
    mean_x, mean_y = np.average(x_P, weights=weight_P), np.average(y_P, weights=weight_P)
    spread = float(np.sum(weight_P * (x_P - mean_x) ** 2))
    exponent = float(np.sum(weight_P * (x_P - mean_x) * (y_P - mean_y))) / spread
    intercept = float(mean_y - exponent * mean_x)
    if abs(intercept) > 700:
        raise ValueError("the coefficient of the power law is beyond double precision")
    unit_2x2 = np.array([[1 / weight_P.sum() + mean_x**2 / spread, -mean_x / spread], [-mean_x / spread, 1 / spread]])
    residual_P = y_P - mean_y - exponent * (x_P - mean_x)
    scale = _scale(weight_P * residual_P**2, 2)
    return PowerLaw(
        math.exp(intercept),
        exponent,
        None if scale is None else _interval(exponent, scale * math.sqrt(1 / spread), len(x_P) - 2),
        ordered,
        scale,
        unit_2x2 * (scale or 0.0) ** 2,
        weighted=errors is not None,
    )


def fit_offset(
    points: Points, errors: Sequence[float | None] | None = None, starts: Sequence[float] = _STARTS
) -> PowerLaw:
    """Power law with an offset between 0 and the least y (an irreducible loss), for a y that falls with x.

    The best of one fit from each of `starts`, initial offsets as fractions of the least y. The interval is by the delta
    method with P - 3 degrees of freedom; with the offset at its bound, 0, it is that of `fit_power`.

    Raises:
        ValueError: as `fit_power`; also for fewer than four distinct x, and where y does not fall.
    """
    ordered, x_P, y_P, weight_P = _checked(points, errors)
    if len(np.unique(x_P)) < 4:
        raise ValueError("a law with an offset needs four different x")
    centre, least, root_P = float(x_P.mean()), float(np.exp(y_P.min())), np.sqrt(weight_P)

    def curve(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        power_P = np.exp(theta[0] + theta[1] * (x_P - centre))
        return power_P, theta[2] * least + power_P

    def misfit(theta: np.ndarray) -> np.ndarray:
        return root_P * (np.log(curve(theta)[1]) - y_P)

    def slopes(theta: np.ndarray) -> np.ndarray:
        power_P, whole_P = curve(theta)
        columns = np.stack([power_P, power_P * (x_P - centre), np.full_like(power_P, least)], axis=1)
        return root_P[:, None] * columns / whole_P[:, None]

    bounds = ([-np.inf, -np.inf, 0.0], [np.inf, 0.0, 1.0])
    found = []
    for share in starts:
        rest = np.log(np.maximum(np.exp(y_P) - share * least, 1e-3 * least))
        slope, level = np.polyfit(x_P - centre, rest, 1)
        start = [level, min(slope, -1e-6), min(max(share, 1e-6), 1 - 1e-6)]
        # SciPy's stubs know only the names of finite differences.
        derivative: Any = slopes
        found.append(optimize.least_squares(misfit, start, derivative, bounds=bounds, x_scale="jac"))
    best = min(found, key=lambda fit: fit.cost)
    if best.x[2] < 1e-5:
        law = fit_power(points, errors)
        return PowerLaw(**{**vars(law), "form": "offset"})
    level, exponent, share = (float(value) for value in best.x)
    if exponent > -1e-6:
        raise ValueError("y does not fall, so it has no offset to fall to")
    intercept = level - exponent * centre
    if abs(intercept) > 700:
        raise ValueError("the coefficient of the power law is beyond double precision")
    scale = _scale(misfit(best.x) ** 2, 3)
    # From (level at the centre, exponent, share of the least y) to (ln coefficient, exponent, offset).
    turn_3x3 = np.array([[1, -centre, 0], [0, 1, 0], [0, 0, least]])
    slope_Px3 = slopes(best.x)
    covariance_3x3 = turn_3x3 @ np.linalg.pinv(slope_Px3.T @ slope_Px3) @ turn_3x3.T * (scale or 0.0) ** 2
    error = math.sqrt(max(float(covariance_3x3[1, 1]), 0.0))
    interval = None if scale is None else _interval(exponent, error, len(x_P) - 3)
    return PowerLaw(
        math.exp(intercept),
        exponent,
        interval,
        ordered,
        scale,
        covariance_3x3,
        share * least,
        "offset",
        errors is not None,
    )


def refit(law: PowerLaw, log_x: np.ndarray, log_y: np.ndarray) -> PowerLaw | None:
    """`law` refitted to other points, given as logarithms, starting from its offset; None where there is no fit."""
    points = list(zip(np.exp(log_x).tolist(), np.exp(log_y).tolist(), strict=True))
    try:
        if law.form == "power":
            return fit_power(points)
        share = min(max(law.offset / min(y for _, y in points), 0.0), 0.99) if points else 0.0
        return fit_offset(points, starts=(share,))
    except ValueError:
        return None


def fit_law(form: Form, points: Points, errors: Sequence[float | None] | None = None) -> PowerLaw:
    """`fit_power` or `fit_offset`.

    Raises:
        ValueError: as these do.
    """
    return (fit_power if form == "power" else fit_offset)(points, errors)


def _checked(
    points: Points, errors: Sequence[float | None] | None
) -> tuple[tuple[tuple[float, float], ...], np.ndarray, np.ndarray, np.ndarray]:
    """The points sorted by x, their ln x and ln y, and weights with mean 1."""
    if errors is not None and (len(errors) != len(points) or any(not error or error <= 0 for error in errors)):
        raise ValueError("a weighted law needs a standard error of every point")
    given = [
        (float(x), float(y), float(error or 0))
        for (x, y), error in zip(points, errors or [1.0] * len(points), strict=True)
    ]
    table = np.array(sorted(given), dtype=np.float64).reshape(-1, 3)
    if not np.all(np.isfinite(table)) or np.any(table <= 0):
        raise ValueError("a power law needs positive, finite points")
    if len(np.unique(table[:, 0])) < 2:
        raise ValueError("a power law needs two different x")
    weight_P = np.ones(len(table)) if errors is None else (table[:, 1] / table[:, 2]) ** 2
    ordered = tuple((float(x), float(y)) for x, y, _ in table)
    return ordered, np.log(table[:, 0]), np.log(table[:, 1]), weight_P / weight_P.mean()


def _scale(square_P: np.ndarray, parameters: int) -> float | None:
    freedom = len(square_P) - parameters
    return math.sqrt(float(square_P.sum()) / freedom) if freedom > 0 else None


def _interval(value: float, error: float, freedom: int) -> tuple[float, float]:
    half = _quantile(freedom) * error
    return value - half, value + half


def _quantile(freedom: int) -> float:
    """Two-sided quantile of Student's t at `LEVEL`."""
    return float(special.stdtrit(freedom, (1 + LEVEL) / 2))
