"""The power laws of one game: each quantity at the optimum of every budget against compute, and return against loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from laws.fitting.bootstrap import AT_BEST, Optima, RunNoise, Simulated, basic, basic_of_log, slopes
from laws.fitting.isoflop import METHODS, QUANTITIES, Cell, Method, Profile, Quantity
from laws.fitting.power import Form, PowerLaw, fit_law, fit_power
from laws.fitting.refits import refit_offsets
from laws.rows.diagnostic import Diagnostic

Interval = tuple[float, float]


@dataclass(frozen=True)
class Spread:
    """A law refitted to simulated studies, arrays [S], and to that without noise: y = offset + e^level · x^exponent."""

    exponent_S: np.ndarray
    level_S: np.ndarray
    offset_S: np.ndarray
    clean: tuple[float, float, float]
    """Exponent, level and offset without noise."""
    noise: tuple[RunNoise, ...]
    """Of the runs in the simulated studies."""

    def at(self, x: float) -> tuple[np.ndarray, float]:
        """ln y at `x` of every simulated study [S], and of the noise-free one."""
        return _log_at(x, self.exponent_S, self.level_S, self.offset_S), float(_log_at(x, *self.clean))


def _log_at(x: float, exponent: ArrayLike, level: ArrayLike, offset: ArrayLike) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(np.asarray(offset) + np.exp(np.clip(level + np.multiply(exponent, math.log(x)), -700, 700)))


@dataclass(frozen=True)
class Law:
    """A power law of one quantity against training compute C in FLOPs.

    `envelope` takes the best trained cell of each budget, as the paper does: the cell of least loss, or for the return
    the cell of greatest mean return. Either is the best of several noisy values and so slightly optimistic. `isoflop`
    takes the quantity at the vertex of the budget's parabola.
    """

    y: Quantity
    """`loss` in nats per step, `params` N, `samples` D, `return` in points of the game."""
    method: Method
    form: Form
    power: PowerLaw
    sensitivity: Interval | None
    """Least and greatest exponent with any one training left out: what hangs on single sizes, which is not noise."""
    spread: Spread | None = field(default=None, repr=False, compare=False)

    @property
    def discrete(self) -> bool:
        """Whether y takes only the values that were trained, so that it jumps between them."""
        return self.method == "envelope" and self.y in ("params", "samples")

    @property
    def exponent(self) -> float:
        """The exponent of C."""
        return self.power.exponent

    @property
    def exponent_ci(self) -> Interval | None:
        """95 % interval of the exponent by bootstrap of the study; None where its noise can't be told."""
        if self.spread is None:
            return None
        spread = self.spread
        ends = basic(self.power.exponent, spread.exponent_S, spread.clean[0], spread.noise, centred=self.discrete)
        # With an offset only what falls is fitted.
        return ends if ends is None or self.form == "power" else (min(ends[0], 0.0), min(ends[1], 0.0))

    @property
    def offset_ci(self) -> Interval | None:
        """The same of the offset."""
        if self.spread is None or self.form == "power":
            return None
        ends = basic(self.power.offset, self.spread.offset_S, self.spread.clean[2], self.spread.noise, centred=True)
        return None if ends is None else (max(ends[0], 0.0), max(ends[1], 0.0))

    def interval_at(self, x: float) -> Interval | None:
        """The same of the law's value at C = `x`."""
        if self.spread is None:
            return None
        log_value = math.log(float(self.power.predict(x)))
        return basic_of_log(log_value, *self.spread.at(x), self.spread.noise, centred=self.discrete)


def fit_laws(
    game: str,
    found: Sequence[Profile],
    simulated: Simulated | None = None,
    without: Optima | None = None,
    *,
    methods: Sequence[Method] = METHODS,
) -> tuple[list[Law], list[Diagnostic]]:
    """The laws of every method and quantity, and their diagnostics.

    Args:
        game: Named in the diagnostics.
        found: The profiles of all budgets.
        simulated: Studies simulated from this one, for the intervals.
        without: Optima of the study without each of its runs in turn, for the sensitivity.
        methods: The methods that the cells support.
    """
    laws: list[Law] = []
    diagnostics: list[Diagnostic] = []
    played = any(cell.return_mean is not None for profile in found for cell in profile.cells)
    for method in methods:
        for y in QUANTITIES if played else QUANTITIES[:-1]:
            points, left_out = points_of(game, found, y, method)
            fitted, of_fit = _fit(game, y, method, points)
            for law in fitted:
                spread = None if simulated is None else spread_of(simulated, law, method, y)
                laws.append(Law(y, method, law.form, law, _sensitivity(without, law, method, y), spread))
            diagnostics.extend([*left_out, *of_fit])
    return laws, diagnostics


def points_of(
    game: str, found: Sequence[Profile], y: Quantity, method: Method
) -> tuple[list[tuple[float, float]], list[Diagnostic]]:
    """(C, y) of every budget with a positive y, and diagnostics for returns that were left out.

    C is that of the best cell, or of the budget at a vertex.
    """
    points: list[tuple[float, float]] = []
    diagnostics: list[Diagnostic] = []
    for profile in found:
        optimum, flops = profile.vertex, profile.flops
        if method == "envelope":
            optimum = (profile.best_return or profile.best) if y == "return" else profile.best
            flops = optimum.flops
        if optimum is None:
            continue
        value = optimum.return_mean if y == "return" else getattr(optimum, y)
        if value is None:
            message = f"No return at the optimum: the budget is not in the return law ({method})."
            diagnostics.append(Diagnostic("no_return", "info", game, profile.flops, message))
        elif value <= 0:
            message = f"Return {value:.6g} is not positive: the budget is not in the return law ({method})."
            diagnostics.append(Diagnostic("nonpositive_return", "warning", game, profile.flops, message))
        else:
            points.append((flops, float(value)))
    return points, diagnostics


def _fit(
    game: str, y: Quantity, method: Method, points: Sequence[tuple[float, float]]
) -> tuple[list[PowerLaw], list[Diagnostic]]:
    """The power law through `points`; for the loss also the power law with an offset."""
    name = f"{y} against compute ({method})"
    if len(points) < 2:
        message = f"{len(points)} usable budgets, 2 are needed: no law of {name}."
        return [], [Diagnostic("few_budgets", "warning", game, None, message)]
    try:
        power = fit_power(points)
    except ValueError as error:
        return [], [Diagnostic("unfittable", "warning", game, None, f"No law of {name}: {error}.")]
    if y != "loss" or len(points) < 3:
        return [power], []
    try:
        return [power, fit_law("offset", points)], []
    except ValueError as error:
        message = f"No law with an offset of {name}: {error}."
        return [power], [Diagnostic("unfittable", "info", game, None, message)]


def spread_of(
    simulated: Simulated, law: PowerLaw, method: str, y: Quantity, budgets: Sequence[int] | slice = slice(None)
) -> Spread:
    """`law` refitted to the optima of simulated studies at these `budgets`, by their place."""
    x_SxB, y_SxB = (each[..., budgets] for each in simulated.draws[method, y])
    x_B, y_B = (each[budgets][None] for each in simulated.clean[method, y])
    x_SxB = np.broadcast_to(x_SxB, y_SxB.shape)
    noise = simulated.noise if y == "return" else simulated.noise[:1]
    if law.form == "power":
        exponent_S, level_S = slopes(x_SxB, y_SxB)
        exponent, level = slopes(x_B, y_B)
        return Spread(exponent_S, level_S, np.zeros(len(exponent_S)), (float(exponent[0]), float(level[0]), 0.0), noise)
    share = law.offset / min(value for _, value in law.points)
    exponent_S, level_S, offset_S = refit_offsets(x_SxB, y_SxB, law.exponent, share)
    clean = refit_offsets(x_B, y_B, law.exponent, share)
    return Spread(exponent_S, level_S, offset_S, (float(clean[0][0]), float(clean[1][0]), float(clean[2][0])), noise)


def law_at_best(found: Sequence[Profile], simulated: Simulated | None) -> Law | None:
    """The law of the return at the cell of least loss of each budget; None with fewer than two positive ones."""
    cells = [profile.best for profile in found]
    points = [(cell.flops, cell.return_mean) for cell in cells if cell.return_mean is not None and cell.return_mean > 0]
    if len({x for x, _ in points}) < 2:
        return None
    power = fit_power(points)
    spread = None if simulated is None else spread_of(simulated, power, AT_BEST, "return")
    return Law("return", "envelope", "power", power, None, spread)


def _sensitivity(without: Optima | None, law: PowerLaw, method: Method, y: Quantity) -> Interval | None:
    if without is None or law.form != "power":
        return None
    found = slopes(*np.broadcast_arrays(*without[method, y]))[0]
    found = found[np.isfinite(found)]
    return (float(found.min()), float(found.max())) if len(found) else None


@dataclass(frozen=True)
class Correlation:
    """Return against loss over the cells of least loss, one per budget."""

    r: float
    """Pearson's r of ln loss and ln return."""
    r_linear: float
    """Pearson's r of loss and return."""
    power: PowerLaw
    """return = coefficient · loss^exponent."""
    exponent_ci: Interval | None = None
    """95 % interval of that exponent by bootstrap of the study; None where its noise can't be told."""


def correlate(cells: Sequence[Cell], simulated: Simulated | None = None) -> Correlation:
    """Correlate loss with return over those of `cells`, the best of each budget, that have a positive return.

    Raises:
        ValueError: fewer than three such cells, or all losses or all returns are equal, so that r is undefined.
    """
    points = [(cell.loss, cell.return_mean) for cell in cells if cell.return_mean is not None and cell.return_mean > 0]
    if len(points) < 3:
        raise ValueError(f"{len(points)} budgets with a positive return, 3 are needed")
    values_2xP = np.array(points).T
    if np.any(np.ptp(values_2xP, axis=1) == 0):
        raise ValueError("all losses or all returns are equal")
    r, r_linear = (float(np.corrcoef(each)[0, 1]) for each in (np.log(values_2xP), values_2xP))
    power, ends = fit_power(points), None
    if simulated is not None:
        drawn, clean = (
            slopes(*np.broadcast_arrays(each["envelope", "loss"][1], each[AT_BEST, "return"][1]))[0]
            for each in (simulated.draws, simulated.clean)
        )
        ends = basic(power.exponent, drawn, float(clean), simulated.noise)
    return Correlation(r, r_linear, power, ends)
