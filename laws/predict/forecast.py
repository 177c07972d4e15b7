"""Forecasts of loss and return at a larger budget, by every form and window, each scored by rolling validation.

A forecast depends more on the form and on the budgets fitted than on noise. So all combinations are given, and the
combined forecast is as wide as they differ.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.common.cli import UserError
from eval.results import ResultRow
from laws.fitting.analysis import Fit, GameFit
from laws.fitting.bootstrap import DRAWS, SLOW_DRAWS, Drawn, exponent, interval, resampled, surface_of, surfaces
from laws.fitting.choices import MIN_BUDGETS, attempt, windows
from laws.fitting.isoflop import METHODS, Grid, Method, Profile, Quantity, cells_of, price_of, profiles
from laws.fitting.power import FORMS, Z95, Form, PowerLaw, refit
from laws.predict.backtest import HeldOut, hold_out_last_decade, rolling_validation
from laws.predict.predictor import (
    Clipped,
    Interval,
    ParametricForm,
    Points,
    Saturating,
    from_law,
    lognormal,
    residual_sd,
)
from laws.rows.runs import Runs


@dataclass(frozen=True)
class ForecastEntry:
    """The forecast of one form fitted to one window of budgets."""

    form: str
    window: tuple[float, float]
    """Smallest and largest budget fitted, FLOPs."""
    value: float
    interval: tuple[float, float]
    """95 % prediction interval: the union of that of the fit and that of the bootstrap over runs."""
    score: float | None
    """Root mean squared error of ln value in rolling validation; None with too few budgets for it."""
    coverage: float | None
    """Fraction of the values in rolling validation that lay in the fit's 95 % interval."""


@dataclass(frozen=True)
class Forecast:
    """All forecasts of one quantity at one budget."""

    y: Quantity
    flops: float
    entries: tuple[ForecastEntry, ...]
    combined: tuple[float, tuple[float, float]] | None
    """Value and 95 % interval of the scored entries together, weighted by 1 / score²; None without such entries."""


@dataclass(frozen=True)
class Extrapolation:
    """Forecasts of a game at ten times its largest budget, and backtests on its last decade of budgets."""

    loss: Forecast
    returns: Forecast
    held_out: tuple[HeldOut, ...]
    """Of the loss and of the return, where at least five budgets are left to fit."""


def forecast(
    found: Fit | GameFit | Runs | Sequence[ResultRow],
    flops: float,
    *,
    y: Literal["loss", "return"] = "loss",
    expert_return: float | None = None,
    draws: int = DRAWS,
) -> Forecast:
    """Forecast the least loss, or the greatest mean return, of one game at a budget of `flops`.

    Args:
        found: What `laws.fit` or `laws.read` returns, one of `Fit.games`, or result rows.
        flops: The budget in FLOPs, counted as in the rows.
        y: `loss` in nats per step, or `return` in points of the game.
        expert_return: The expert's mean return; adds forms of the return that are bounded by it.
        draws: Bootstrap draws of runs for the intervals; 0 for none, which is faster.

    Raises:
        UserError: `flops` is not positive and finite, `found` has no game or several, or fewer than five budgets have
            the quantity.
    """
    if not 0 < flops < math.inf:
        raise UserError(f"a budget of {flops:g} FLOPs: give a number greater than 0")
    of_game = _profiles(found)
    if y == "loss":
        result = forecast_loss(of_game, flops, draws)
    else:
        result = forecast_return(of_game, flops, draws, expert_return)
    if not result.entries:
        raise UserError(f"{len(of_game)} budgets with a {y} are too few: a forecast needs {MIN_BUDGETS}")
    return result


def forecast_loss(found: Sequence[Profile], flops: float, draws: int = DRAWS) -> Forecast:
    """The least loss at `flops`, in nats per step."""
    drawn = _drawn(found, draws)
    truth = _best_losses(found)
    vertices = [(profile.flops, profile.vertex.loss) for profile in found if profile.vertex]
    entries = []
    for method, points in zip(METHODS, (truth, vertices), strict=True):
        for low in windows([x for x, _ in points]):
            inside = [point for point in points if point[0] >= low]
            for form in FORMS:
                entries += _power_entry(method, form, "loss", inside, truth, flops, drawn)
    entries += _parametric_entries(found, truth, flops, drawn)
    return Forecast("loss", flops, tuple(entries), combine(entries))


def forecast_return(
    found: Sequence[Profile], flops: float, draws: int = DRAWS, expert: float | None = None
) -> Forecast:
    """The greatest mean return at `flops`, in points; with the expert's mean return also `Clipped` and `Saturating`."""
    drawn = _drawn(found, draws)
    truth = _best_returns(found)
    vertices = [
        (profile.flops, profile.vertex.return_mean or 0.0)
        for profile in found
        if profile.vertex and (profile.vertex.return_mean or 0) > 0
    ]
    entries = []
    for method, points in zip(METHODS, (truth, vertices), strict=True):
        for low in windows([x for x, _ in points]):
            inside = [point for point in points if point[0] >= low]
            entries += _power_entry(method, "power", "return", inside, truth, flops, drawn)
            if expert is not None:
                entries += _bounded_entries(method, inside, truth, flops, expert)
    return Forecast("return", flops, tuple(entries), combine(entries))


def forecast_at_size(
    found: Sequence[Profile], params: float, samples: float, draws: int = SLOW_DRAWS
) -> ForecastEntry | None:
    """The loss of a network of `params` after `samples`, by the parametric law of all cells; None without one."""
    cells = cells_of(found)
    fitted = surface_of(cells)
    if fitted is None:
        return None
    surface = fitted.surface
    value = float(surface.predict(params, samples))
    drawn = [float(each.predict(params, samples)) for each in surfaces(cells, surface, draws)]
    ends = _union(lognormal(value, residual_sd(cells, surface)), interval(drawn))
    return ForecastEntry("parametric at N, D", (found[0].flops, found[-1].flops), value, ends, None, None)


def extrapolate(found: Sequence[Profile]) -> Extrapolation:
    """Forecasts at ten times the largest budget and backtests, of at least one profile.

    Without bootstrap draws, which take long: intervals are those of the fits.
    """
    beyond = 10 * found[-1].flops
    held_out = (
        hold_out_last_decade("loss", _best_losses(found), found),
        hold_out_last_decade("return", _best_returns(found), found),
    )
    return Extrapolation(
        forecast_loss(found, beyond, 0),
        forecast_return(found, beyond, 0),
        tuple(each for each in held_out if each is not None),
    )


def combine(entries: Sequence[ForecastEntry]) -> tuple[float, tuple[float, float]] | None:
    """One forecast from all scored ones, in logarithms; its variance adds their own, their errors and their spread."""
    scored = [entry for entry in entries if entry.score is not None and entry.value > 0 and entry.interval[0] > 0]
    if not scored:
        return None
    error = np.array([max(entry.score or 0.0, 1e-4) for entry in scored])
    middle = np.log([entry.value for entry in scored])
    half = np.array([np.log(entry.interval[1] / entry.interval[0]) / (2 * Z95) for entry in scored])
    weight = error**-2.0 / np.sum(error**-2.0)
    mean = float(weight @ middle)
    sd = math.sqrt(float(weight @ (np.maximum(half, error) ** 2 + (middle - mean) ** 2)))
    return math.exp(mean), lognormal(math.exp(mean), sd)


def _profiles(found: Fit | GameFit | Runs | Sequence[ResultRow]) -> tuple[Profile, ...]:
    """The profiles of the one game in `found`."""
    if isinstance(found, GameFit):
        return found.profiles
    rows = () if isinstance(found, Fit) else found.rows if isinstance(found, Runs) else tuple(found)
    games = [each.game for each in found.games] if isinstance(found, Fit) else sorted({row.game for row in rows})
    if len(games) != 1:
        raise UserError(f"a forecast is of one game, not of {', '.join(games) or 'none'}: choose one")
    return found.games[0].profiles if isinstance(found, Fit) else profiles(games[0], rows)[0]


def _best_losses(found: Sequence[Profile]) -> list[tuple[float, float]]:
    return [(profile.flops, profile.best.loss) for profile in found]


def _best_returns(found: Sequence[Profile]) -> list[tuple[float, float]]:
    """The greatest mean return of each budget, where positive."""
    best = [(profile.flops, profile.best_return) for profile in found]
    return [(x, cell.return_mean or 0.0) for x, cell in best if cell and (cell.return_mean or 0) > 0]


def _drawn(found: Sequence[Profile], draws: int) -> list[Drawn]:
    if not found or not draws:
        return []
    return resampled(Grid.of([profile.cells for profile in found]), draws)


def _power_entry(
    method: Method, form: Form, y: Quantity, points: Points, truth: Points, flops: float, drawn: Sequence[Drawn]
) -> Iterator[ForecastEntry]:
    """A power law of y against compute through `points`."""

    def fitted(some: Points) -> PowerLaw | None:
        return attempt(form, some) if len(some) >= MIN_BUDGETS else None

    law = fitted(points)
    predict = from_law(law)
    if predict is None or law is None:
        return
    value, ends = predict(flops)
    values = []
    for draw in drawn if form == "power" else drawn[:SLOW_DRAWS]:
        if (method, y) in draw:
            log_x, log_y = draw[method, y]
            kept = log_x >= math.log(points[0][0]) - 1e-9
            values.append(_redrawn(law, log_x[kept], log_y[kept], flops))
    score, coverage = rolling_validation(lambda some: from_law(fitted(some)), points, truth, flops)
    yield ForecastEntry(
        f"{method} {form}", (points[0][0], points[-1][0]), value, _union(ends, interval(values)), score, coverage
    )


def _redrawn(law: PowerLaw, log_x: np.ndarray, log_y: np.ndarray, flops: float) -> float:
    """The prediction of the same form refitted to a bootstrap draw's optima; NaN where it can't be fitted."""
    if len(log_x) < MIN_BUDGETS:
        return math.nan
    if law.form == "power":
        slope = exponent(log_x, log_y)
        return math.exp(float(log_y.mean()) + slope * (math.log(flops) - float(log_x.mean())))
    again = refit(law, log_x, log_y)
    return math.nan if again is None else float(again.predict(np.array([flops]))[0])


def _bounded_entries(
    method: Method, points: Points, truth: Points, flops: float, expert: float
) -> Iterator[ForecastEntry]:
    """The forms that are bounded by the expert's mean return."""
    for name, form in (("clipped", Clipped(expert)), ("saturating", Saturating(expert))):
        predict = form(points)
        if predict is None:
            continue
        value, ends = predict(flops)
        score, coverage = rolling_validation(form, points, truth, flops)
        yield ForecastEntry(f"{method} {name}", (points[0][0], points[-1][0]), value, ends, score, coverage)


def _parametric_entries(
    found: Sequence[Profile], truth: Points, flops: float, drawn: Sequence[Drawn]
) -> Iterator[ForecastEntry]:
    """L(N, D) in each window, on its compute-optimal frontier."""
    for low in windows([x for x, _ in truth]):
        kept = [profile for profile in found if profile.flops >= low]
        cells = cells_of(kept)
        fitted = surface_of(cells) if len(kept) >= MIN_BUDGETS else None
        price = price_of(cells) if fitted else None
        if fitted is None or price is None:
            continue
        value = float(fitted.surface.optimum(flops, price).loss)
        if not math.isfinite(value):
            continue
        redrawn = surfaces(cells, fitted.surface, SLOW_DRAWS * bool(drawn))
        spread = [float(each.optimum(flops, price).loss) for each in redrawn]
        ends = _union(lognormal(value, residual_sd(cells, fitted.surface)), interval(spread))
        form = ParametricForm(kept, fitted.surface, price)
        score, coverage = rolling_validation(form, _best_losses(kept), truth, flops)
        yield ForecastEntry("parametric", (kept[0].flops, kept[-1].flops), value, ends, score, coverage)


def _union(ends: Interval, other: Interval | None) -> Interval:
    return ends if other is None else (min(ends[0], other[0]), max(ends[1], other[1]))
