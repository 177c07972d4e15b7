"""Predictors: a form fitted to some budgets, as a function from a budget to a value with a prediction interval."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from laws.fitting.bootstrap import surface_of
from laws.fitting.choices import attempt
from laws.fitting.isoflop import Cell, Profile, cells_of
from laws.fitting.parametric import Price, Surface
from laws.fitting.power import Z95, PowerLaw

Points = Sequence[tuple[float, float]]
"""(budget in FLOPs, value) by budget."""
Interval = tuple[float, float]
Predictor = Callable[[float], tuple[float, Interval]]
"""From a budget in FLOPs to the value there and its 95 % prediction interval."""
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

    return predict


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
            value, (low, high) = below(flops)
            return min(value, self.expert), (min(low, self.expert), min(high, self.expert))

        return predict


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
            value, (low, high) = straight(flops)
            value, low, high = (-self.expert * math.expm1(-each / self.expert) for each in (value, low, high))
            return value, (low, high)

        return predict


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
        surface = fitted.surface
        sd = residual_sd(cells, surface)

        def predict(flops: float) -> tuple[float, Interval]:
            value = float(surface.optimum(flops, self.price).loss)
            # A surface without a frontier predicts nothing; rolling validation then counts a huge error.
            value = value if math.isfinite(value) else 1e100
            return value, lognormal(value, sd)

        return predict


def residual_sd(cells: Sequence[Cell], surface: Surface) -> float:
    """Residual standard deviation of ln loss about the surface, with 5 parameters."""
    params, samples = (np.array([getattr(cell, name) for cell in cells], float) for name in ("params", "samples"))
    residual = np.log([cell.loss for cell in cells]) - np.log(surface.predict(params, samples))
    return math.sqrt(float(residual @ residual) / max(len(cells) - 5, 1))


def lognormal(value: float, sd: float) -> Interval:
    """95 % interval of a log-normal variable with median `value` and standard deviation `sd` of its logarithm."""
    return value * math.exp(-Z95 * sd), value * math.exp(Z95 * sd)
