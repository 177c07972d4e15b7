"""Backtests: what each form would have predicted of larger budgets from smaller ones, against what was measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from laws.fitting.bootstrap import surface_of
from laws.fitting.choices import MIN_BUDGETS
from laws.fitting.isoflop import Profile, Quantity, cells_of, price_of
from laws.predict.predictor import Form, ParametricForm, Points, Predictor, broken, ceiling, power_form

MIN_CUTS = 3
"""Fewest common cuts that a score is taken on."""
NEAR = 1.6
"""Factor by which the compute of a target may differ from the asked horizon."""


@dataclass(frozen=True)
class Miss:
    """One past prediction against what was measured."""

    error: float
    """ln(predicted / measured)."""
    covered: bool
    """Whether the form's 95 % interval holds the measured value."""
    half: float
    """Half width of that interval, of ln value."""


def targets(truth: Points, flops: float) -> dict[float, tuple[float, float]]:
    """By the last budget fitted, a cut, the (budget, value) of `truth` to predict: the one at the asked horizon.

    The horizon is `flops` over the last budget; a budget within a factor of `NEAR` of it stands for it. Where no cut
    reaches that far, the horizon is the farthest that `MIN_CUTS` cuts of at least `MIN_BUDGETS` budgets reach.
    """
    budgets = [x for x, _ in truth]
    if len(budgets) <= MIN_BUDGETS:
        return {}
    cuts = budgets[MIN_BUDGETS - 1 : -1]
    farthest = budgets[-1] / cuts[max(0, min(MIN_CUTS, len(cuts)) - 1)]
    horizon = min(max(flops / budgets[-1], budgets[-1] / budgets[-2]), farthest)
    found = {}
    for cut in cuts:
        beyond = [point for point in truth if point[0] > cut * (1 + 1e-9)]
        nearest = min(beyond, key=lambda point: abs(math.log(point[0] / (cut * horizon))))
        if 1 / NEAR < nearest[0] / (cut * horizon) < NEAR:
            found[cut] = nearest
    return found


def rolling_validation(form: Form, points: Points, wanted: Mapping[float, tuple[float, float]]) -> dict[float, Miss]:
    """The miss at each cut of `wanted`, by cut: `form` fitted to the `points` up to it, at least `MIN_BUDGETS`."""
    found = {}
    for cut, (x, y) in wanted.items():
        inside = [point for point in points if point[0] <= cut * (1 + 1e-9)]
        predictor = form(inside) if len(inside) >= MIN_BUDGETS else None
        if predictor is not None:
            value, (low, high) = predictor.predict(x)
            half = math.log(max(high, 1e-300) / max(low, 1e-300)) / 2
            found[cut] = Miss(math.log(max(value, 1e-300) / y), low <= y <= high, half)
    return found


def common_cuts(misses: Sequence[Mapping[float, Miss]]) -> list[float]:
    """The cuts that all of `misses` have that have at least `MIN_CUTS`; those with the fewest are left out until so."""
    left = sorted((each for each in misses if len(each) >= MIN_CUTS), key=len, reverse=True)
    while left:
        cuts = set(left[0]).intersection(*left[1:])
        if len(cuts) >= MIN_CUTS:
            return sorted(cuts)
        left.pop()
    return []


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
    predictors: dict[str, Predictor | None] = {"power": power_form("power")(fitted), "broken": broken(fitted)}
    if y == "return":
        predictors["saturating"] = ceiling(fitted)
    if y == "loss":
        predictors["offset"] = power_form("offset")(fitted)
        cells = cells_of(profiles[:cut])
        surface, price = surface_of(cells), price_of(cells)
        if surface is not None and price is not None:
            predictors["parametric"] = ParametricForm(profiles, surface.surface, price)(fitted)
    flops_G = np.geomspace(points[0][0], points[-1][0], 60)
    tests = []
    for form, predictor in predictors.items():
        if predictor is not None:
            rows = [(value, *interval) for value, interval in map(predictor.predict, flops_G.tolist())]
            value_G, low_G, high_G = np.array(rows).T
            tests.append(Backtest(form, flops_G, value_G, low_G, high_G, math.log(value_G[-1] / points[-1][1])))
    return HeldOut(y, tuple(fitted), tuple(held_out), tuple(tests))
