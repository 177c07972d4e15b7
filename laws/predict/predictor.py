"""Predictors: a form fitted to some budgets, as a function from a budget to a value with a prediction interval."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import optimize, special

from laws.fitting.bootstrap import surface_of
from laws.fitting.choices import attempt
from laws.fitting.isoflop import Cell, Profile, cells_of
from laws.fitting.parametric import Price, Surface
from laws.fitting.power import LEVEL, Z95, PowerLaw
from laws.fitting.power import Form as PowerForm

Points = Sequence[tuple[float, float]]
"""(budget in FLOPs, value) by budget."""
Interval = tuple[float, float]
MIN_BROKEN = 7
"""Fewest budgets that a broken power law is fitted to."""


@dataclass(frozen=True)
class Predictor:
    """A fitted form."""

    predict: Callable[[float], tuple[float, Interval]]
    """From a budget in FLOPs to the value there and its 95 % prediction interval."""
    square: float
    """Sum of squared residuals of ln value over the fitted budgets."""
    points: int
    parameters: int

    @property
    def aicc(self) -> float:
        """Corrected Akaike criterion of the ln values, whose variance is one parameter more; infinite with too few."""
        count = self.parameters + 1
        if self.points <= count + 1:
            return math.inf
        correction = 2 * count * (count + 1) / (self.points - count - 1)
        return self.points * math.log(max(self.square / self.points, 1e-30)) + 2 * count + correction


Form = Callable[[Points], Predictor | None]
"""Fits a predictor to points; None where they don't determine one."""


def from_law(law: PowerLaw | None) -> Predictor | None:
    """The predictor of a power law; None where there is no law or it has no prediction interval."""
    if law is None or law.residual_sd is None:
        return None

    def predict(flops: float) -> tuple[float, Interval]:
        where = np.array([flops])
        band = law.band(where, new_point=True)
        assert band is not None, "a law with a residual standard deviation has a band"
        return float(law.predict(where)[0]), (float(band[0][0]), float(band[1][0]))

    freedom = max(law.freedom, 1)
    return Predictor(predict, law.residual_sd**2 * freedom, len(law.points), len(law.points) - law.freedom)


def power_form(form: PowerForm) -> Form:
    """A power law, or one with an offset, as a form."""
    return lambda points: from_law(attempt(form, points))


@dataclass(frozen=True)
class Clipped:
    """A power law of the returns below the expert's mean return, clipped there."""

    expert: float

    def __call__(self, points: Points) -> Predictor | None:
        """Fit `points`."""
        below = from_law(attempt("power", [point for point in points if point[1] < self.expert]))
        if below is None:
            return None

        def predict(flops: float) -> tuple[float, Interval]:
            value, (low, high) = below.predict(flops)
            return min(value, self.expert), (min(low, self.expert), min(high, self.expert))

        return Predictor(predict, _square(predict, points), len(points), 2)


@dataclass(frozen=True)
class Saturating:
    """R = R_e · (1 - exp(-c · C^k / R_e)), R_e the expert's mean return: c · C^k while small, R_e in the limit."""

    expert: float

    def __call__(self, points: Points) -> Predictor | None:
        """Fit `points`: a power law of -R_e · ln(1 - R / R_e)."""
        straight = from_law(
            attempt("power", [(x, -self.expert * math.log1p(-y / self.expert)) for x, y in points if y < self.expert])
        )
        if straight is None:
            return None

        def predict(flops: float) -> tuple[float, Interval]:
            value, (low, high) = straight.predict(flops)
            value, low, high = (-self.expert * math.expm1(-each / self.expert) for each in (value, low, high))
            return value, (low, high)

        return Predictor(predict, _square(predict, points), len(points), 2)


def ceiling(points: Points) -> Predictor | None:
    """`Saturating` at a ceiling that is fitted too, above the greatest value; None with fewer than five points."""
    if len(points) < 5:
        return None
    x_P, y_P = np.log(np.array(points, float).T)
    centre, top = float(x_P.mean()), float(y_P.max())

    def curve(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        limit = top + math.exp(min(theta[2], 50.0))
        grown = np.exp(np.clip(theta[0] + theta[1] * (x - centre) - limit, -700, 50))
        return limit + np.log(-np.expm1(-grown))

    slope, level = np.polyfit(x_P - centre, y_P, 1)
    starts = [np.array([level, max(slope, 1e-3), limit]) for limit in (-2.0, 0.0, 3.0)]
    return _curve(curve, starts, x_P, y_P)


def broken(points: Points) -> Predictor | None:
    """A power law whose exponent changes smoothly, over a factor of ten in C, at a break that is fitted too.

    One break of Caballero et al. (arXiv 2210.14891), its sharpness fixed. None with fewer than `MIN_BROKEN` points.
    """
    if len(points) < MIN_BROKEN:
        return None
    x_P, y_P = np.log(np.array(points, float).T)
    sharp = math.log(10) / 4

    def curve(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        return theta[0] + theta[1] * (x - theta[3]) + theta[2] * sharp * np.logaddexp(0, (x - theta[3]) / sharp)

    slope, _ = np.polyfit(x_P, y_P, 1)
    starts = [np.array([np.interp(at, x_P, y_P), slope, 0.0, at]) for at in np.quantile(x_P, [0.3, 0.5, 0.7])]
    low, high = float(x_P[1]), float(x_P[-2])
    return _curve(curve, starts, x_P, y_P, ([-np.inf, -np.inf, -np.inf, low], [np.inf, np.inf, np.inf, high]))


def _curve(
    curve: Callable[[np.ndarray, np.ndarray], np.ndarray],
    starts: Sequence[np.ndarray],
    x_P: np.ndarray,
    y_P: np.ndarray,
    bounds: Any = (-np.inf, np.inf),
) -> Predictor | None:
    """Least squares of ln value from the best of `starts`, with delta-method prediction intervals by Student's t."""
    fits = [
        optimize.least_squares(
            lambda theta: curve(theta, x_P) - y_P, np.clip(start, *bounds), bounds=bounds, x_scale="jac", max_nfev=300
        )
        for start in starts
    ]
    best = min(fits, key=lambda each: each.cost)
    theta, square = best.x, 2 * float(best.cost)
    freedom = len(x_P) - len(theta)
    if freedom < 1 or not np.all(np.isfinite(theta)):
        return None
    variance = square / freedom
    covariance = np.linalg.pinv(best.jac.T @ best.jac) * variance
    quantile = float(special.stdtrit(freedom, (1 + LEVEL) / 2))

    def predict(flops: float) -> tuple[float, Interval]:
        at = np.array([math.log(flops)])
        middle = float(curve(theta, at)[0])
        steps = 1e-5 * np.maximum(np.abs(theta), 1.0)
        slope = np.array([float(curve(theta + steps * unit, at)[0]) - middle for unit in np.eye(len(theta))]) / steps
        half = min(quantile * math.sqrt(max(float(slope @ covariance @ slope), 0.0) + variance), 300.0)
        return math.exp(min(middle, 690.0)), (math.exp(min(middle - half, 690.0)), math.exp(min(middle + half, 690.0)))

    return Predictor(predict, square, len(x_P), len(theta))


def _square(predict: Callable[[float], tuple[float, Interval]], points: Points) -> float:
    return sum(math.log(max(predict(x)[0], 1e-300) / y) ** 2 for x, y in points)


@dataclass(frozen=True)
class ParametricForm:
    """L(N, D) fitted to the cells of the first budgets, on its compute-optimal frontier."""

    profiles: Sequence[Profile]
    start: Surface
    price: Price

    def __call__(self, points: Points) -> Predictor | None:
        """Fit the cells of as many budgets as there are `points`."""
        cells = cells_of(self.profiles[: len(points)])
        fitted = surface_of(cells, self.start)
        if fitted is None:
            return None
        predict = partial(_on_frontier, fitted.surface, self.price, residual_sd(cells, fitted.surface))
        return Predictor(predict, _square(predict, points), len(points), 5)


def _on_frontier(surface: Surface, price: Price, sd: float, flops: float) -> tuple[float, Interval]:
    value = float(surface.optimum(flops, price).loss)
    # A surface without a frontier predicts nothing; rolling validation then counts a huge error.
    value = value if math.isfinite(value) else 1e100
    return value, lognormal(value, sd)


def residual_sd(cells: Sequence[Cell], surface: Surface) -> float:
    """Residual standard deviation of ln loss about the surface, with 5 parameters."""
    params, samples = (np.array([getattr(cell, name) for cell in cells], float) for name in ("params", "samples"))
    residual = np.log([cell.loss for cell in cells]) - np.log(surface.predict(params, samples))
    return math.sqrt(float(residual @ residual) / max(len(cells) - 5, 1))


def lognormal(value: float, sd: float) -> Interval:
    """95 % interval of a log-normal variable with median `value` and standard deviation `sd` of its logarithm."""
    return value * math.exp(-Z95 * sd), value * math.exp(Z95 * sd)
