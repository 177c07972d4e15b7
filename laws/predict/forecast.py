"""Forecasts of loss and return at a larger budget, by every form and window, each scored by rolling validation.

A forecast depends more on the form and on the budgets fitted than on noise. So all combinations are given. They are
scored on the same past predictions, as far ahead as the asked budget lies; scores weigh the combined forecast, and its
interval is as wide as it would have had to be.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from scipy import special

from data.common.cli import UserError
from data.common.progress import BRIEF, Bar
from eval.results import ResultRow
from laws.fitting.analysis import Fit, GameFit, fit
from laws.fitting.bootstrap import DRAWS, Simulated, basic_of_log, surface_of
from laws.fitting.choices import MIN_BUDGETS, attempt, windows
from laws.fitting.frontier import simulated_surfaces
from laws.fitting.isoflop import METHODS, Method, Profile, Quantity, cells_of, price_of
from laws.fitting.law import spread_of
from laws.fitting.power import LEVEL, Z95, finite_exp, single_threaded
from laws.fitting.power import Form as PowerForm
from laws.predict.backtest import (
    MIN_CUTS,
    HeldOut,
    Miss,
    common_cuts,
    hold_out_last_decade,
    rolling_validation,
    targets,
)
from laws.predict.predictor import (
    Clipped,
    Form,
    Interval,
    ParametricForm,
    Points,
    Saturating,
    broken,
    ceiling,
    lognormal,
    power_form,
    residual_sd,
)
from laws.rows.runs import Runs

BASELINE = "power"
"""The form that a richer one has to beat, with the same method and window."""
TRUSTED = 4
"""Cuts at which the combined forecast is taken to have been as far off as its own variance says."""
LEAST_SCORE = 1e-4
"""Scores below this weigh alike."""


@dataclass(frozen=True)
class ForecastEntry:
    """The forecast of one form fitted to one window of budgets."""

    form: str
    window: tuple[float, float]
    """Smallest and largest budget fitted, FLOPs."""
    value: float
    interval: tuple[float, float]
    """95 % prediction interval: the union of that of the fit and that of the bootstrap of the study."""
    score: float | None
    """Root mean squared error of ln value in rolling validation, over the cuts that all scored forms share; None where
    it lacks these."""
    coverage: float | None
    """Fraction of the values in rolling validation that lay in the fit's 95 % interval."""
    aicc: float | None = None
    """Corrected Akaike criterion of the fit, to compare forms of one method and window."""
    preferred: bool = False
    """Whether it enters the combined forecast: the baseline, a power law, or a form with a lower score than that."""
    misses: tuple[tuple[float, Miss], ...] = ()
    """(last budget fitted, miss) of every past prediction at the horizon."""


@dataclass(frozen=True)
class Forecast:
    """All forecasts of one quantity at one budget."""

    y: Quantity
    flops: float
    entries: tuple[ForecastEntry, ...]
    combined: tuple[float, tuple[float, float]] | None
    """Value and 95 % interval of the preferred entries together, weighted by 1 / score²; None without scores."""
    horizon: float | None = None
    """Factor of compute that the past predictions reached beyond their last budget, geometric mean."""
    cuts: int = 0
    """Past predictions that scores are taken on."""


@dataclass(frozen=True)
class Extrapolation:
    """Forecasts of a game at ten times its largest budget, and backtests on its last decade of budgets."""

    loss: Forecast
    returns: Forecast
    held_out: tuple[HeldOut, ...]
    """Of the loss and of the return, where at least five budgets are left to fit."""


@runtime_checkable
class Fitted(Protocol):
    """What holds the fits of one game, such as `laws.fit` returns."""

    @property
    def fitted(self) -> GameFit:
        """The fits."""
        ...


def forecast(
    found: Fitted | Fit | GameFit | Runs | Sequence[ResultRow],
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
        draws: Simulated studies for the intervals, of rows that aren't fitted yet; 0 for none, which is faster.

    Raises:
        UserError: `flops` is not positive and finite, `found` has no game or several, or fewer than five budgets have
            the quantity.
    """
    if not 0 < flops < math.inf:
        raise UserError(f"a budget of {flops:g} FLOPs: give a number greater than 0")
    game = _one_game(found, draws)
    result = forecast_loss(game, flops) if y == "loss" else forecast_return(game, flops, expert_return)
    if not result.entries:
        raise UserError(f"{len(game.profiles)} budgets with a {y} are too few: a forecast needs {MIN_BUDGETS}")
    return result


@single_threaded
def forecast_loss(game: GameFit, flops: float) -> Forecast:
    """The least loss at `flops`, in nats per step."""
    found = game.profiles
    truth = _best_losses(found)
    wanted = targets(truth, flops)
    vertices = [(profile.flops, profile.vertex.loss) for profile in found if profile.vertex]
    forms: dict[str, tuple[Form, PowerForm | None]] = {
        "power": (power_form("power"), "power"),
        "offset": (power_form("offset"), "offset"),
        "broken": (broken, None),
    }
    parts = [
        _entries(method, "loss", points, forms, wanted, flops, game.simulated)
        for method, points in zip(METHODS, (truth, vertices), strict=True)
    ]
    entries = itertools.chain(*parts, _parametric_entries(found, truth, wanted, flops, game.simulated))
    return _scored("loss", flops, entries, wanted)


@single_threaded
def forecast_return(game: GameFit, flops: float, expert: float | None = None) -> Forecast:
    """The greatest mean return at `flops`, in points; with the expert's mean return also `Clipped` and `Saturating`."""
    found = game.profiles
    truth = _best_returns(found)
    wanted = targets(truth, flops)
    vertices = [
        (profile.flops, profile.vertex.return_mean or 0.0)
        for profile in found
        if profile.vertex and (profile.vertex.return_mean or 0) > 0
    ]
    forms: dict[str, tuple[Form, PowerForm | None]] = {
        "power": (power_form("power"), "power"),
        "broken": (broken, None),
        "ceiling": (ceiling, None),
    }
    if expert is not None:
        forms |= {"clipped": (Clipped(expert), None), "saturating": (Saturating(expert), None)}
    parts = [
        _entries(method, "return", points, forms, wanted, flops, game.simulated)
        for method, points in zip(METHODS, (truth, vertices), strict=True)
    ]
    return _scored("return", flops, itertools.chain(*parts), wanted)


@single_threaded
def forecast_at_size(game: GameFit, params: float, samples: float) -> ForecastEntry | None:
    """The loss of a network of `params` after `samples`, by the parametric law of all cells; None without one."""
    if game.parametric is None:
        return None
    found, cells, surface = game.profiles, cells_of(game.profiles), game.parametric.fit.surface
    value = float(surface.predict(params, samples))
    redrawn = simulated_surfaces(cells, game.simulated, surface) if game.simulated else []
    spread = [float(each.predict(params, samples)) for each in redrawn]
    ends = _union(lognormal(value, residual_sd(cells, surface)), _around(value, spread, game.simulated))
    return ForecastEntry("parametric at N, D", (found[0].flops, found[-1].flops), value, ends, None, None)


def extrapolate(game: GameFit) -> Extrapolation:
    """Forecasts at ten times the largest budget and backtests, of a game with at least one profile."""
    found = game.profiles
    beyond = 10 * found[-1].flops
    held_out = (
        hold_out_last_decade("loss", _best_losses(found), found),
        hold_out_last_decade("return", _best_returns(found), found),
    )
    return Extrapolation(
        forecast_loss(game, beyond),
        forecast_return(game, beyond),
        tuple(each for each in held_out if each is not None),
    )


def _scored(
    y: Quantity, flops: float, made: Iterable[ForecastEntry], wanted: dict[float, tuple[float, float]]
) -> Forecast:
    """The entries, as they are made, with their scores on common cuts, and the combined forecast."""
    entries = list(Bar(made, f"forecast {y}", unit="fit", delay=BRIEF, leave=False))
    cuts = common_cuts([dict(entry.misses) for entry in entries])
    scored = [_with_score(entry, cuts) for entry in entries]
    baseline = {
        (entry.form.split()[0], entry.window[0]): entry.score for entry in scored if entry.form.endswith(f" {BASELINE}")
    }
    lowest = min((score for score in baseline.values() if score is not None), default=None)
    scored = [replace(entry, preferred=_preferred(entry, baseline, lowest)) for entry in scored]
    horizon = math.exp(float(np.mean([math.log(wanted[cut][0] / cut) for cut in cuts]))) if cuts else None
    return Forecast(y, flops, tuple(scored), combine(scored, cuts), horizon, len(cuts))


def _with_score(entry: ForecastEntry, cuts: Sequence[float]) -> ForecastEntry:
    misses = dict(entry.misses)
    if not cuts or any(cut not in misses for cut in cuts):
        return entry
    score = math.sqrt(float(np.mean([misses[cut].error ** 2 for cut in cuts])))
    return replace(entry, score=score, coverage=float(np.mean([misses[cut].covered for cut in cuts])))


def _preferred(entry: ForecastEntry, baseline: dict[tuple[str, float], float | None], lowest: float | None) -> bool:
    if entry.score is None or not entry.value > 0:
        return False
    if entry.form.endswith(f" {BASELINE}"):
        return True
    other = baseline.get((entry.form.split()[0], entry.window[0]))
    other = lowest if other is None else other
    return other is None or entry.score < other


def combine(entries: Sequence[ForecastEntry], cuts: Sequence[float]) -> tuple[float, Interval] | None:
    """One forecast from the preferred entries, weighted by 1 / score²; None without any.

    Its variance adds their own and their spread, times how far off that was at `cuts`, each combined with the weights
    of the other cuts. `TRUSTED` cuts at which it would have been right are added, so that a few lucky ones say little.
    """
    chosen = [entry for entry in entries if entry.preferred]
    if not chosen or len(cuts) < MIN_CUTS:
        return None
    misses = [[dict(entry.misses)[cut] for cut in cuts] for entry in chosen]
    error_ExC = np.array([[miss.error for miss in row] for row in misses])
    half_ExC = np.array([[miss.half for miss in row] for row in misses])
    past = []
    for place in range(len(cuts)):
        weight_E = _weights(np.delete(error_ExC, place, axis=1))
        mean, sd = _mixture(weight_E, error_ExC[:, place], half_ExC[:, place])
        past.append(mean / sd)
    scale = math.sqrt((float(np.sum(np.square(past))) + TRUSTED) / (len(cuts) + TRUSTED))
    quantile = float(special.stdtrit(len(cuts) + TRUSTED - 1, (1 + LEVEL) / 2))
    half_E = np.array([math.log(entry.interval[1] / max(entry.interval[0], 1e-300)) / 2 for entry in chosen])
    mean, sd = _mixture(_weights(error_ExC), np.log([entry.value for entry in chosen]), half_E)
    half = quantile * scale * sd
    return math.exp(mean), (finite_exp(mean - half), finite_exp(mean + half))


def _mixture(weight_E: np.ndarray, middle_E: np.ndarray, half_E: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of ln value over forms with 95 % intervals of half width `half`."""
    mean = float(weight_E @ middle_E)
    return mean, math.sqrt(float(weight_E @ (np.square(half_E / Z95) + np.square(middle_E - mean)))) or LEAST_SCORE


def _weights(errors_ExC: np.ndarray) -> np.ndarray:
    score_E = np.maximum(np.sqrt(np.mean(np.square(errors_ExC), axis=1)), LEAST_SCORE)
    return score_E**-2.0 / np.sum(score_E**-2.0)


def _one_game(found: Fitted | Fit | GameFit | Runs | Sequence[ResultRow], draws: int) -> GameFit:
    """The one game in `found`, fitted."""
    if isinstance(found, GameFit):
        return found
    if isinstance(found, Fitted):
        return found.fitted
    fitted = found if isinstance(found, Fit) else fit(found, draws=draws)
    if len(fitted.games) != 1:
        names = ", ".join(game.game for game in fitted.games)
        raise UserError(f"a forecast is of one game, not of {names or 'none'}: choose one")
    return fitted.games[0]


def _best_losses(found: Sequence[Profile]) -> list[tuple[float, float]]:
    return [(profile.best.flops, profile.best.loss) for profile in found]


def _best_returns(found: Sequence[Profile]) -> list[tuple[float, float]]:
    """The greatest mean return of each budget, where positive."""
    best = [profile.best_return for profile in found]
    return [(cell.flops, cell.return_mean or 0.0) for cell in best if cell and (cell.return_mean or 0) > 0]


def _entries(
    method: Method,
    y: Quantity,
    points: Points,
    forms: dict[str, tuple[Form, PowerForm | None]],
    wanted: dict[float, tuple[float, float]],
    flops: float,
    simulated: Simulated | None,
) -> Iterator[ForecastEntry]:
    """Every form in every window of `points`, the optima of one method."""
    for low in windows([x for x, _ in points]):
        inside = [point for point in points if point[0] >= low]
        for name, (form, power) in forms.items():
            predictor = form(inside) if len(inside) >= MIN_BUDGETS else None
            if predictor is None:
                continue
            value, ends = predictor.predict(flops)
            if power is not None and simulated is not None and (law := attempt(power, inside)) is not None:
                kept = np.flatnonzero(simulated.grid.flops_B >= low / 1.05).tolist()
                spread = spread_of(simulated, law, method, y, kept)
                ends = _union(ends, basic_of_log(math.log(value), *spread.at(flops), spread.noise))
            yield ForecastEntry(
                f"{method} {name}",
                (inside[0][0], inside[-1][0]),
                value,
                ends,
                None,
                None,
                predictor.aicc if math.isfinite(predictor.aicc) else None,
                misses=tuple(rolling_validation(form, inside, wanted).items()),
            )


def _parametric_entries(
    found: Sequence[Profile],
    truth: Points,
    wanted: dict[float, tuple[float, float]],
    flops: float,
    simulated: Simulated | None,
) -> Iterator[ForecastEntry]:
    """L(N, D) in each window, on its compute-optimal frontier."""
    for low in windows([x for x, _ in truth]):
        kept = [profile for profile in found if profile.best.flops >= low]
        cells = cells_of(kept)
        fitted = surface_of(cells) if len(kept) >= MIN_BUDGETS else None
        price = price_of(cells) if fitted else None
        if fitted is None or price is None:
            continue
        value = float(fitted.surface.optimum(flops, price).loss)
        if not 0 < value < math.inf:
            continue
        redrawn = simulated_surfaces(cells, simulated, fitted.surface) if simulated else []
        spread = [float(each.optimum(flops, price).loss) for each in redrawn]
        ends = _union(lognormal(value, residual_sd(cells, fitted.surface)), _around(value, spread, simulated))
        form = ParametricForm(kept, fitted.surface, price)
        misses = rolling_validation(form, _best_losses(kept), wanted)
        window = kept[0].flops, kept[-1].flops
        yield ForecastEntry("parametric", window, value, ends, None, None, misses=tuple(misses.items()))


def _around(value: float, spread: Sequence[float], simulated: Simulated | None) -> Interval | None:
    """Basic interval from the noise-free value and those of simulated studies, in logarithms."""
    if not spread or simulated is None or value <= 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        clean, *drawn = np.log(spread)
    return basic_of_log(math.log(value), np.array(drawn), float(clean), simulated.noise[:1])


def _union(ends: Interval, other: Interval | None) -> Interval:
    return ends if other is None else (min(ends[0], other[0]), max(ends[1], other[1]))
