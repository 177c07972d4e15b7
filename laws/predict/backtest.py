"""Backtests: what each form would have predicted of larger budgets from smaller ones, against what was measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from laws.fitting.bootstrap import surface_of
from laws.fitting.choices import MIN_BUDGETS, attempt
from laws.fitting.isoflop import Profile, Quantity, cells_of, price_of
from laws.predict.predictor import Form, ParametricForm, Points, Predictor, from_law


def rolling_validation(form: Form, points: Points, truth: Points, flops: float) -> tuple[float | None, float | None]:
    """Root mean squared error of ln value, and coverage of the 95 % intervals, on budgets after those fitted.

    `form` is fitted to the first `n` of `points` for each n from `MIN_BUDGETS`, and predicts the values of `truth` at
    larger budgets: as many times larger as `flops` is than the last point, and up to ten times at least. (None, None)
    with too few budgets.
    """
    reach = max(10.0, flops / points[-1][0])
    errors, covered = [], []
    for cut in range(MIN_BUDGETS, len(points) + 1):
        last = points[cut - 1][0]
        beyond = [(x, y) for x, y in truth if last < x <= last * reach * (1 + 1e-9)]
        predict = form(points[:cut]) if beyond else None
        if predict is None:
            continue
        for x, y in beyond:
            value, (low, high) = predict(x)
            errors.append(math.log(value / y))
            covered.append(low <= y <= high)
    if not errors:
        return None, None
    return math.sqrt(float(np.mean(np.square(errors)))), float(np.mean(covered))


@dataclass(frozen=True)
class Backtest:
    """The prediction of one form over all budgets, fitted without the held-out ones."""

    form: str
    flops_G: np.ndarray
    """From the smallest budget to the largest, FLOPs."""
    value_G: np.ndarray
    low_G: np.ndarray
    """95 % prediction interval."""
    high_G: np.ndarray
    error: float
    """ln(predicted / measured) at the largest budget."""


@dataclass(frozen=True)
class HeldOut:
    """Backtests of every form with the budgets of the last decade held out."""

    y: Quantity
    fitted: tuple[tuple[float, float], ...]
    """(budget in FLOPs, best value) of the budgets fitted."""
    held_out: tuple[tuple[float, float], ...]
    tests: tuple[Backtest, ...]


def hold_out_last_decade(y: Quantity, points: Points, profiles: Sequence[Profile]) -> HeldOut | None:
    """Backtests of `points`, the best value of each budget; None where fewer than `MIN_BUDGETS` are left to fit."""
    cut = sum(x <= points[-1][0] / 10 * (1 + 1e-9) for x, _ in points) if points else 0
    if cut < MIN_BUDGETS:
        return None
    fitted, held_out = points[:cut], points[cut:]
    predictors: dict[str, Predictor | None] = {"power": from_law(attempt("power", fitted))}
    if y == "loss":
        predictors["offset"] = from_law(attempt("offset", fitted))
        cells = cells_of(profiles[:cut])
        surface, price = surface_of(cells), price_of(cells)
        if surface is not None and price is not None:
            predictors["parametric"] = ParametricForm(profiles, surface.surface, price)(fitted)
    flops_G = np.geomspace(points[0][0], points[-1][0], 60)
    tests = []
    for form, predict in predictors.items():
        if predict is not None:
            rows = [(value, *interval) for value, interval in map(predict, flops_G.tolist())]
            value_G, low_G, high_G = np.array(rows).T
            tests.append(Backtest(form, flops_G, value_G, low_G, high_G, math.log(value_G[-1] / points[-1][1])))
    return HeldOut(y, tuple(fitted), tuple(held_out), tuple(tests))
