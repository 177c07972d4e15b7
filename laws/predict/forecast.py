"""What a larger budget will give: from every form and window, each scored on what it would have foretold before.

A forecast hangs more on the budgets that are fitted and on the form than on noise: all are shown, and the combined
one is as wide as they differ.

Rolling validation: a form is fitted to the budgets up to each b in turn and foretells the best loss (or return)
that was then reached at budgets beyond it, up to as far beyond as is asked for now and at least a decade.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from laws.fit.bootstrap import (
    DRAWS,
    METHODS,
    SLOW_DRAWS,
    Drawn,
    Method,
    Quantity,
    exponent,
    interval,
    resampled,
    surface_of,
    surfaces,
)
from laws.fit.choices import MIN_BUDGETS, attempt, windows
from laws.fit.isoflop import Cell, Grid, Profile, cells_of, price_of
from laws.fit.parametric import Price, Surface
from laws.fit.power import FORMS, Z95, Form, PowerLaw, refit

Points = Sequence[tuple[float, float]]
Foretell = Callable[[float], tuple[float, tuple[float, float]]]
"""A budget in FLOPs to a value there and its 95 % prediction interval."""


@dataclass(frozen=True)
class Entry:
    """The forecast of one form fitted to one window of budgets."""

    form: str
    window: tuple[float, float]
    """Smallest and largest budget fitted, FLOPs."""
    value: float
    interval: tuple[float, float]
    """95 % prediction interval: the wider of that of the fit and that of the bootstrap over runs."""
    score: float | None
    """Root of the mean squared error of ln value in rolling validation; None with too few budgets for it."""
    held: float | None
    """Share of held-out values that the fit's own interval held."""


@dataclass(frozen=True)
class Forecast:
    """Everything foretold of one quantity at one budget."""

    y: Quantity
    flops: float
    entries: tuple[Entry, ...]
    combined: tuple[float, tuple[float, float]] | None
    """Of the scored entries: weights 1 / score², and an interval as wide as they err and differ."""


def forecast_loss(profiles: Sequence[Profile], flops: float, draws: int = DRAWS) -> Forecast:
    """The least loss at `flops`, nats per step."""
    drawn = _drawn(profiles, draws)
    truth = _best_losses(profiles)
    vertices = [(profile.flops, profile.vertex.loss) for profile in profiles if profile.vertex]
    entries = []
    for method, points in zip(METHODS, (truth, vertices), strict=True):
        for low in windows([x for x, _ in points]):
            inside = [point for point in points if point[0] >= low]
            for form in FORMS:
                entries += _entry(method, form, "loss", inside, truth, flops, drawn)
    entries += _parametric(profiles, truth, flops, drawn)
    return Forecast("loss", flops, tuple(entries), combine(entries))


def forecast_return(
    profiles: Sequence[Profile], flops: float, draws: int = DRAWS, expert: float | None = None
) -> Forecast:
    """The greatest mean return at `flops`, in points; with the expert's mean return also forms that end there.

    `clipped` is a power law of the returns below the expert's, cut off at it. `saturating` is
    R = R_e · (1 - exp(-c · C^k / R_e)): the power law c · C^k as long as it is small, and R_e in the end.
    """
    drawn = _drawn(profiles, draws)
    truth = _best_returns(profiles)
    vertices = [
        (profile.flops, profile.vertex.return_mean or 0.0)
        for profile in profiles
        if profile.vertex and (profile.vertex.return_mean or 0) > 0
    ]
    entries = []
    for method, points in zip(METHODS, (truth, vertices), strict=True):
        for low in windows([x for x, _ in points]):
            inside = [point for point in points if point[0] >= low]
            entries += _entry(method, "power", "return", inside, truth, flops, drawn)
            if expert is not None:
                entries += _capped(method, inside, truth, flops, expert)
    return Forecast("return", flops, tuple(entries), combine(entries))


def at_size(profiles: Sequence[Profile], params: float, samples: float, draws: int = SLOW_DRAWS) -> Entry | None:
    """The loss of a given size after given samples, by the parametric law of all cells; None where it has no fit."""
    cells = cells_of(profiles)
    fitted = surface_of(cells)
    if fitted is None:
        return None
    surface = fitted.surface
    value = float(surface.predict(params, samples))
    drawn = [float(each.predict(params, samples)) for each in surfaces(cells, surface, draws)]
    ends = _hull(_about(value, _misfit(cells, surface)), interval(drawn))
    return Entry("parametric at N, D", (profiles[0].flops, profiles[-1].flops), value, ends, None, None)


@dataclass(frozen=True)
class Backtest:
    """What a form foretells of the held-out largest budgets, from the others."""

    form: str
    flops_G: np.ndarray
    """From the smallest budget to the largest, FLOPs."""
    value_G: np.ndarray
    low_G: np.ndarray
    """95 % prediction interval."""
    high_G: np.ndarray
    error: float
    """ln of the value over what was reached, at the largest budget."""


@dataclass(frozen=True)
class HeldOut:
    """The budgets of the last decade kept back, and every form's forecast of them."""

    y: Quantity
    fitted: tuple[tuple[float, float], ...]
    """Budgets in FLOPs and the best that was reached there."""
    kept_back: tuple[tuple[float, float], ...]
    tests: tuple[Backtest, ...]


@dataclass(frozen=True)
class Outlook:
    """What a game's rows say of a budget ten times their largest, and how well they foretold their own largest.

    Without draws of runs, which take long: the intervals are those of the fits.
    """

    loss: Forecast
    returns: Forecast
    held_out: tuple[HeldOut, ...]
    """Of the loss and of the return; without those that leave fewer than five budgets to fit."""


def outlook(profiles: Sequence[Profile]) -> Outlook:
    """Of profiles that are at least one."""
    beyond = 10 * profiles[-1].flops
    loss, returns = forecast_loss(profiles, beyond, 0), forecast_return(profiles, beyond, 0)
    held = _held_out("loss", _best_losses(profiles), profiles), _held_out("return", _best_returns(profiles), profiles)
    return Outlook(loss, returns, tuple(each for each in held if each is not None))


def _held_out(y: Quantity, points: Points, profiles: Sequence[Profile]) -> HeldOut | None:
    cut = sum(x <= points[-1][0] / 10 * (1 + 1e-9) for x, _ in points) if points else 0
    if cut < MIN_BUDGETS:
        return None
    fitted, kept_back = points[:cut], points[cut:]
    forms: dict[str, Foretell | None] = {"power": _foretell(attempt("power", fitted))}
    if y == "loss":
        forms["offset"] = _foretell(attempt("offset", fitted))
        cells = cells_of(profiles[:cut])
        surface, price = surface_of(cells), price_of(cells)
        if surface is not None and price is not None:
            forms["parametric"] = _Rolling(profiles, surface.surface, price)(fitted)
    flops_G = np.geomspace(points[0][0], points[-1][0], 60)
    tests = []
    for form, foretell in forms.items():
        if foretell is not None:
            told = [foretell(flops) for flops in flops_G.tolist()]
            value_G, low_G, high_G = (
                np.array(column) for column in zip(*[(v, *ends) for v, ends in told], strict=True)
            )
            error = math.log(value_G[-1] / points[-1][1])
            tests.append(Backtest(form, flops_G, value_G, low_G, high_G, error))
    return HeldOut(y, tuple(fitted), tuple(kept_back), tuple(tests))


def _best_losses(profiles: Sequence[Profile]) -> list[tuple[float, float]]:
    return [(profile.flops, profile.best.loss) for profile in profiles]


def _best_returns(profiles: Sequence[Profile]) -> list[tuple[float, float]]:
    """The positive ones."""
    best = [(profile.flops, profile.best_return) for profile in profiles]
    return [(x, cell.return_mean or 0.0) for x, cell in best if cell and (cell.return_mean or 0) > 0]


def combine(entries: Sequence[Entry]) -> tuple[float, tuple[float, float]] | None:
    """One forecast of all scored ones, in logs: variance is each one's own, its past error, and their spread."""
    scored = [entry for entry in entries if entry.score is not None and entry.value > 0 and entry.interval[0] > 0]
    if not scored:
        return None
    error = np.array([max(entry.score or 0.0, 1e-4) for entry in scored])
    middle = np.log([entry.value for entry in scored])
    half = np.array([np.log(entry.interval[1] / entry.interval[0]) / (2 * Z95) for entry in scored])
    weight = error**-2.0 / np.sum(error**-2.0)
    mean = float(weight @ middle)
    sd = math.sqrt(float(weight @ (np.maximum(half, error) ** 2 + (middle - mean) ** 2)))
    return math.exp(mean), _about(math.exp(mean), sd)


def document(forecast: Forecast) -> dict[str, Any]:
    """As the command prints it with `--json`."""
    found = forecast.combined
    return {
        "forms": [vars(entry) for entry in forecast.entries],
        "combined": None if found is None else {"value": found[0], "interval": found[1]},
    }


def lines(loss: Forecast, returns: Forecast, sized: Entry | None = None) -> Iterator[str]:
    """As the command prints it."""
    for told, name in ((loss, "dev loss, nats per step"), (returns, "greatest mean return")):
        if not told.entries:
            continue
        yield f"{name} at {told.flops:.3g} FLOPs"
        yield f"  {'form':22} {'fitted from':>11} {'value':>10}  {'95 % interval':^23} {'past error':>10} {'held':>5}"
        for entry in (*told.entries, *([sized] if sized and told is loss else [])):
            score = "" if entry.score is None else f"{entry.score:.1%}"
            held = "" if entry.held is None else f"{entry.held:.0%}"
            ends = f"{entry.interval[0]:.4g} to {entry.interval[1]:.4g}"
            yield f"  {entry.form:22} {entry.window[0]:11.3g} {entry.value:10.4g}  {ends:^23} {score:>10} {held:>5}"
        values = [entry.value for entry in told.entries]
        yield f"  form and window alone move it from {min(values):.4g} to {max(values):.4g}"
        if told.combined:
            value, (low, high) = told.combined
            yield f"  combined: {value:.4g} ({low:.4g} to {high:.4g})"


def _drawn(profiles: Sequence[Profile], draws: int) -> list[Drawn]:
    if not profiles or not draws:
        return []
    return resampled(Grid.of([profile.cells for profile in profiles]), draws)


def _entry(
    method: Method, form: Form, y: Quantity, points: Points, truth: Points, flops: float, drawn: Sequence[Drawn]
) -> Iterator[Entry]:
    """A law of y against C through these points."""

    def fitted(some: Points) -> PowerLaw | None:
        return attempt(form, some) if len(some) >= MIN_BUDGETS else None

    law = fitted(points)
    foretell = _foretell(law)
    if foretell is None or law is None:
        return
    value, ends = foretell(flops)
    values = []
    for draw in drawn if form == "power" else drawn[:SLOW_DRAWS]:
        if (method, y) in draw:
            log_x, log_y = draw[method, y]
            kept = log_x >= math.log(points[0][0]) - 1e-9
            values.append(_redrawn(law, log_x[kept], log_y[kept], flops))
    score, held = _rolled(lambda some: _foretell(fitted(some)), points, truth, flops)
    yield Entry(f"{method} {form}", (points[0][0], points[-1][0]), value, _hull(ends, interval(values)), score, held)


def _foretell(law: PowerLaw | None) -> Foretell | None:
    """None of a law that is none, or that has no interval."""
    if law is None or law.residual_sd is None:
        return None

    def at(flops: float) -> tuple[float, tuple[float, float]]:
        where = np.array([flops])
        band = law.band(where, new_point=True)
        assert band is not None, "a law with residuals has a band"
        return float(law.predict(where)[0]), (float(band[0][0]), float(band[1][0]))

    return at


def _redrawn(law: PowerLaw, log_x: np.ndarray, log_y: np.ndarray, flops: float) -> float:
    """What the same form says of a draw's optima; NaN where it can't be fitted to them."""
    if len(log_x) < MIN_BUDGETS:
        return math.nan
    if law.form == "power":
        slope = exponent(log_x, log_y)
        return math.exp(float(log_y.mean()) + slope * (math.log(flops) - float(log_x.mean())))
    again = refit(law, log_x, log_y)
    return math.nan if again is None else float(again.predict(np.array([flops]))[0])


def _rolled(
    fit: Callable[[Points], Foretell | None], points: Points, truth: Points, flops: float
) -> tuple[float | None, float | None]:
    """Score and share held, over every cut of `points` that leaves five budgets to fit."""
    reach = max(10.0, flops / points[-1][0])
    errors, held = [], []
    for cut in range(MIN_BUDGETS, len(points) + 1):
        last = points[cut - 1][0]
        beyond = [(x, y) for x, y in truth if last < x <= last * reach * (1 + 1e-9)]
        foretell = fit(points[:cut]) if beyond else None
        if foretell is None:
            continue
        for x, y in beyond:
            value, (low, high) = foretell(x)
            errors.append(math.log(value / y))
            held.append(low <= y <= high)
    if not errors:
        return None, None
    return math.sqrt(float(np.mean(np.square(errors)))), float(np.mean(held))


def _capped(method: Method, points: Points, truth: Points, flops: float, expert: float) -> Iterator[Entry]:
    """Power laws that end at the expert's mean return."""

    def clipped(some: Points) -> Foretell | None:
        below = _foretell(attempt("power", [point for point in some if point[1] < expert]))
        if below is None:
            return None

        def at(where: float) -> tuple[float, tuple[float, float]]:
            value, (low, high) = below(where)
            return min(value, expert), (min(low, expert), min(high, expert))

        return at

    def saturating(some: Points) -> Foretell | None:
        bent = [(x, -expert * math.log1p(-y / expert)) for x, y in some if y < expert]
        straight = _foretell(attempt("power", bent))
        if straight is None:
            return None

        def at(where: float) -> tuple[float, tuple[float, float]]:
            value, (low, high) = straight(where)
            value, low, high = (-expert * math.expm1(-each / expert) for each in (value, low, high))
            return value, (low, high)

        return at

    for name, fit in (("clipped", clipped), ("saturating", saturating)):
        foretell = fit(points)
        if foretell is None:
            continue
        value, ends = foretell(flops)
        score, held = _rolled(fit, points, truth, flops)
        yield Entry(f"{method} {name}", (points[0][0], points[-1][0]), value, ends, score, held)


def _parametric(profiles: Sequence[Profile], truth: Points, flops: float, drawn: Sequence[Drawn]) -> Iterator[Entry]:
    """L(N, D) at the optimum of a budget, C in the cells' own measure of N·D."""
    for low in windows([x for x, _ in truth]):
        kept = [profile for profile in profiles if profile.flops >= low]
        cells = cells_of(kept)
        fitted = surface_of(cells) if len(kept) >= MIN_BUDGETS else None
        if fitted is None:
            continue
        surface, price = fitted.surface, price_of(cells)
        if price is None:
            continue
        value = float(surface.optimum(flops, price).loss)
        if not math.isfinite(value):
            continue
        spread = [float(one.optimum(flops, price).loss) for one in surfaces(cells, surface, SLOW_DRAWS * bool(drawn))]
        ends = _hull(_about(value, _misfit(cells, surface)), interval(spread))
        fit = _Rolling(kept, surface, price)
        score, held = _rolled(fit, _best_losses(kept), truth, flops)
        yield Entry("parametric", (kept[0].flops, kept[-1].flops), value, ends, score, held)


@dataclass(frozen=True)
class _Rolling:
    """The parametric law of the first budgets, as rolling validation wants it."""

    profiles: Sequence[Profile]
    start: Surface
    price: Price

    def __call__(self, points: Points) -> Foretell | None:
        cells = cells_of(self.profiles[: len(points)])
        fitted = surface_of(cells, self.start)
        if fitted is None:
            return None
        surface = fitted.surface
        sd = _misfit(cells, surface)

        def at(flops: float) -> tuple[float, tuple[float, float]]:
            value = float(surface.optimum(flops, self.price).loss)
            # Without a frontier it foretells nothing, which is counted as far off.
            value = value if math.isfinite(value) else 1e100
            return value, _about(value, sd)

        return at


def _misfit(cells: Sequence[Cell], surface: Surface) -> float:
    """Standard deviation of ln loss about the surface, five parameters off."""
    params, samples = (np.array([getattr(cell, name) for cell in cells], float) for name in ("params", "samples"))
    residual = np.log([cell.loss for cell in cells]) - np.log(surface.predict(params, samples))
    return math.sqrt(float(residual @ residual) / max(len(cells) - 5, 1))


def _about(value: float, sd: float) -> tuple[float, float]:
    """95 % of what is normal in logs."""
    return value * math.exp(-Z95 * sd), value * math.exp(Z95 * sd)


def _hull(ends: tuple[float, float], other: tuple[float, float] | None) -> tuple[float, float]:
    return ends if other is None else (min(ends[0], other[0]), max(ends[1], other[1]))
