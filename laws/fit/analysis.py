"""The fit of every game: profiles, laws against compute, correlation and what is in doubt."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from eval.results import ResultRow
from laws.fit.bootstrap import (
    DRAWS,
    METHODS,
    QUANTITIES,
    SLOW_DRAWS,
    Drawn,
    Method,
    Quantity,
    exponent,
    interval,
    optima,
    resampled,
    surface_of,
    surfaces,
    vertices,
)
from laws.fit.choices import Choice, choices
from laws.fit.correlation import Correlation, correlate
from laws.fit.diagnose import Diagnostic
from laws.fit.isoflop import Cell, Grid, Profile, cells_of, price_of, profiles
from laws.fit.parametric import Parametric, Price, Surface
from laws.fit.power import Form, PowerLaw, fit_law, fit_power, refit
from laws.rows.runs import ordered

TIED = 0.95
"""Correlation of ln N and ln D above which the two exponents of L(N, D) can't be told apart."""
DRAWN_CELLS = 1_000_000
"""Cells of all draws together to which the parametric law is fitted."""
MISFIT = 0.05
"""Standard deviation of ln loss about L(N, D) above which it is the wrong shape; seeds differ by a fifth of that."""
WIDER = 2.5
"""How many times wider the interval by runs may be than that of independent budgets: of cells that are each a run of
their own it is up to twice as wide, since draws leave sizes out."""
MIN_DECADES = 3.0
"""Of compute, below which an exponent says little of what lies beyond."""


@dataclass(frozen=True)
class Law:
    """A power law of one quantity against training compute C in FLOPs.

    `envelope` takes the best trained cell of each budget, as the paper does: that of least loss, and for the return
    that of greatest mean return. Either is the best of several noisy values, and so a little too good. `isoflop`
    reads the quantity at the vertex of the budget's parabola.
    """

    y: Quantity
    """`loss` in nats per step, `params` N, `samples` D, `return` in points of the game."""
    method: Method
    form: Form
    power: PowerLaw
    runs_ci: tuple[float, float] | None
    """95 % interval of the exponent by bootstrap over runs; None where it was not asked for or has too few draws."""


@dataclass(frozen=True)
class Fitted:
    """The parametric law of a game, with 95 % intervals by bootstrap over runs."""

    fit: Parametric
    price: Price
    """What a sample costs by the cells, which shapes the frontier."""
    middle: float
    """A budget in the midst of the cells, FLOPs."""
    draws: tuple[dict[str, float], ...]
    """`values` of each draw of runs."""

    @property
    def values(self) -> dict[str, float]:
        """E, A, B, alpha, beta, and the exponents of N*, D* and the loss against compute."""
        return _values(self.fit.surface, self.price)

    @property
    def intervals(self) -> dict[str, tuple[float, float] | None]:
        """95 % intervals of `values` by bootstrap over runs; None with too few draws."""
        return {name: interval([draw[name] for draw in self.draws]) for name in self.values}

    def power(self, y: Literal["loss", "params", "samples"]) -> PowerLaw | None:
        """The frontier's law against compute, exact: the optimum of the surface has no other shape.

        None where its coefficient is beyond double precision.
        """
        surface, exponent = self.fit.surface, self.values[y]
        offset = surface.E if y == "loss" else 0.0
        above = float(getattr(surface.optimum(self.middle, self.price), y)) - offset
        log_coefficient = math.log(above) - exponent * math.log(self.middle) if 0 < above < math.inf else math.inf
        if abs(log_coefficient) > 700:
            return None
        form = "offset" if y == "loss" else "power"
        return PowerLaw(math.exp(log_coefficient), exponent, None, (), None, np.zeros((2, 2)), offset, form)


@dataclass(frozen=True)
class GameFit:
    """Everything that one game's rows say."""

    game: str
    profiles: tuple[Profile, ...]
    laws: tuple[Law, ...]
    correlation: Correlation | None
    parametric: Fitted | None
    """L(N, D) through all cells; None with too few."""
    choices: tuple[Choice, ...]
    """The exponents under every defensible choice."""
    rows: tuple[ResultRow, ...]
    """What was fitted."""

    @property
    def envelope(self) -> tuple[Cell, ...]:
        """The cell of least loss of each budget, by budget."""
        return tuple(profile.best for profile in self.profiles)

    def law(self, y: Quantity, method: Method, form: Form = "power") -> PowerLaw | None:
        """The law of `y` by `method`, None where there were too few budgets for it."""
        found = [law.power for law in self.laws if (law.y, law.method, law.form) == (y, method, form)]
        return found[0] if found else None


@dataclass(frozen=True)
class Fit:
    """The fits of all games, by name, and what is in doubt."""

    games: tuple[GameFit, ...]
    diagnostics: tuple[Diagnostic, ...]


def analyse(rows: Sequence[ResultRow], diagnostics: Sequence[Diagnostic] = (), *, draws: int = DRAWS) -> Fit:
    """Fit each game in `rows`; `diagnostics` are those of reading the rows and come first.

    `draws` bootstraps over runs give the intervals; none if 0.
    """
    games: list[GameFit] = []
    said = list(diagnostics)
    for game in sorted({row.game for row in rows}):
        fit, of_game = _analyse_game(game, [row for row in ordered(rows) if row.game == game], draws)
        games.append(fit)
        said.extend(of_game)
    return Fit(tuple(games), tuple(said))


def _analyse_game(game: str, rows: Sequence[ResultRow], draws: int) -> tuple[GameFit, list[Diagnostic]]:
    said = _mixtures(game, rows)
    found, of_profiles = profiles(game, rows)
    said.extend(of_profiles)
    said.extend(_spread(game, found))
    grid = Grid.of([profile.cells for profile in found]) if found else None
    drawn = resampled(grid, draws) if grid else []
    if grid:
        found = _with_intervals(found, vertices(grid, drawn))
    laws: list[Law] = []
    for method in METHODS:
        for y in QUANTITIES:
            points, left_out = _points(game, found, y, method)
            of_points, doubts = _laws(game, y, method, points, drawn)
            said.extend([*left_out, *doubts])
            laws.extend(of_points)
    said.extend(_one_run(game, grid, laws) if grid else [])
    said.extend(_disagreements(game, laws))
    said.extend(_narrow(game, laws))
    correlation, doubts = _correlation(game, [profile.best for profile in found])
    surface, of_surface = _parametric(game, cells_of(found), draws)
    chosen = choices(rows, found, surface.fit.surface if surface else None)
    fit = GameFit(game, found, tuple(laws), correlation, surface, chosen, tuple(rows))
    return fit, [*said, *doubts, *of_surface]


def _parametric(game: str, cells: Sequence[Cell], draws: int) -> tuple[Fitted | None, list[Diagnostic]]:
    found = surface_of(cells, profiled=True)
    if found is None:
        message = "Too few cells, or all of one size or as many samples: no parametric law L(N, D)."
        return None, [Diagnostic("unfittable", "info", game, None, message)]
    price, middle = price_of(cells), math.exp(float(np.mean([math.log(cell.flops) for cell in cells])))
    if price is None:
        message = (
            "A sample costs no more with a larger network by these rows: no parametric law of how to spend compute."
        )
        return None, [Diagnostic("unfittable", "warning", game, None, message)]
    # Time goes with cells and draws: a thousand draws of a thousand cells take half a minute.
    draws = min(draws, DRAWN_CELLS // len(cells))
    drawn = tuple(_values(surface, price) for surface in surfaces(cells, found.surface, draws))
    said: list[Diagnostic] = []
    if abs(found.correlation) > TIED:
        message = (
            f"ln N and ln D of the cells correlate by {found.correlation:.3f}: alpha and beta can't be told apart;"
            " train sizes at several lengths."
        )
        said.append(Diagnostic("inseparable", "warning", game, None, message))
    if found.on_bounds:
        message = (
            f"The parametric fit has {', '.join(found.on_bounds)} at a bound: the cells don't determine it;"
            " train larger budgets, or trust the other laws."
        )
        said.append(Diagnostic("on_bound", "warning", game, None, message))
    if not found.moved or found.share_reaching_best < 1 / found.starts + 1e-9:
        message = (
            f"Only {found.share_reaching_best:.0%} of {found.starts} starts of the parametric fit end at the best:"
            " its parameters may not be the best there are."
        )
        said.append(Diagnostic("stuck", "warning", game, None, message))
    left = np.array([math.log(cell.loss / found.surface.predict(cell.params, cell.samples)) for cell in cells])
    if (typical := float(np.std(left))) > MISFIT:
        message = (
            f"The cells lie {typical:.0%} about the parametric law: they follow another shape (see its residuals);"
            " fit larger budgets alone, or trust the laws of the optima."
        )
        said.append(Diagnostic("misfit", "warning", game, None, message))
    return Fitted(found, price, middle, drawn), said


def _values(surface: Surface, price: Price) -> dict[str, float]:
    params, samples = surface.exponents(price)
    own = {name: getattr(surface, name) for name in ("E", "A", "B", "alpha", "beta")}
    return {**own, "params": params, "samples": samples, "loss": -surface.beta * samples}


def _spread(game: str, found: Sequence[Profile]) -> list[Diagnostic]:
    """Whether the budgets reach far enough, and what the envelope is."""
    if len(found) < 2:
        return []
    said: list[Diagnostic] = []
    decades = float(np.log10(found[-1].flops / found[0].flops))
    if decades < MIN_DECADES:
        message = (
            f"The budgets span {decades:.1f} decades of compute; below {MIN_DECADES:.0f} a power law can't be told"
            " from other curves: add budgets."
        )
        said.append(Diagnostic("few_decades", "warning", game, None, message))
    message = (
        "The envelope takes the best of several noisy cells at each budget, so its losses are a little too low and"
        " its returns too high, and it knows only the sizes that were trained; compare with the isoFLOP laws."
    )
    return [*said, Diagnostic("best_of_noisy", "info", game, None, message)]


def _one_run(game: str, grid: Grid, laws: Sequence[Law]) -> list[Diagnostic]:
    """Exponents that leave their interval when one run is left out."""
    without = {}
    for number, run in enumerate(grid.runs):
        count_R = np.ones(len(grid.runs), int)
        count_R[number] = 0
        without[run] = {key: exponent(*points) for key, points in optima(grid, count_R).items()}
    said: list[Diagnostic] = []
    for law in laws:
        low, high = law.power.exponent_ci or (-np.inf, np.inf)
        values = {run: at[law.method, law.y] for run, at in without.items() if (law.method, law.y) in at}
        finite = {run: value for run, value in values.items() if np.isfinite(value)}
        if law.form != "power" or not finite:
            continue
        run = max(finite, key=lambda name: abs(finite[name] - law.power.exponent))
        if not low <= finite[run] <= high:
            message = (
                f"Without run {run} the exponent of {law.y} ({law.method}) is {finite[run]:.3f} instead of"
                f" {law.power.exponent:.3f}, outside its interval: it hangs on that run; train its size once more."
            )
            said.append(Diagnostic("one_run", "warning", game, None, message))
    return said


def _disagreements(game: str, laws: Sequence[Law]) -> list[Diagnostic]:
    """Quantities whose two readings have exponents outside each other's intervals."""
    said: list[Diagnostic] = []
    for y in QUANTITIES:
        both = [law for law in laws if law.y == y and law.form == "power"]
        for one, other in pairwise(both):
            first, second = one.power.exponent_ci, other.power.exponent_ci
            if first and second and (first[1] < second[0] or second[1] < first[0]):
                message = (
                    f"Exponents of {y} disagree: {one.power.exponent:.3f} ({one.method}) and"
                    f" {other.power.exponent:.3f} ({other.method}) have intervals that don't touch."
                )
                said.append(Diagnostic("disagreement", "warning", game, None, message))
    return said


def _narrow(game: str, laws: Sequence[Law]) -> list[Diagnostic]:
    """Laws whose two intervals disagree: budgets of one training are no independent measurements."""
    said: list[Diagnostic] = []
    for law in laws:
        if law.runs_ci is None or law.power.exponent_ci is None:
            continue
        (low, high), (least, most) = law.power.exponent_ci, law.runs_ci
        if most - least > WIDER * (high - low) or not least <= law.power.exponent <= most:
            message = (
                f"The exponent of {law.y} ({law.method}) is {low:.3f} to {high:.3f} if budgets are independent, and"
                f" {least:.3f} to {most:.3f} by draws of runs: report the latter, or train each budget by itself."
            )
            said.append(Diagnostic("intervals_differ", "warning", game, None, message))
    return said


def _mixtures(game: str, rows: Sequence[ResultRow]) -> list[Diagnostic]:
    """Budgets counted in two ways, or returns measured in two ways, don't belong in one law."""
    said: list[Diagnostic] = []
    conventions = sorted({str(row.flop_convention) for row in rows})
    if len(conventions) > 1:
        message = f"Rows count FLOPs in different ways ({', '.join(conventions)}): budgets don't compare."
        said.append(Diagnostic("mixed_convention", "warning", game, None, message))
    protocols = sorted({str(row.protocol) for row in rows if row.return_mean is not None})
    if len(protocols) > 1:
        message = f"Returns were measured in different ways ({'; '.join(protocols)}): they don't compare."
        said.append(Diagnostic("mixed_protocol", "warning", game, None, message))
    return said


def _points(
    game: str, found: Sequence[Profile], y: Quantity, method: Method
) -> tuple[list[tuple[float, float]], list[Diagnostic]]:
    """(C, y) of every budget that has one, and which returns had to be left out."""
    points: list[tuple[float, float]] = []
    said: list[Diagnostic] = []
    for profile in found:
        optimum = profile.vertex
        if method == "envelope":
            optimum = (profile.best_return or profile.best) if y == "return" else profile.best
        if optimum is None:
            continue
        value = optimum.return_mean if y == "return" else getattr(optimum, y)
        if value is None:
            message = f"No return at the optimum: the budget is not in the return law ({method})."
            said.append(Diagnostic("no_return", "info", game, profile.flops, message))
        elif value <= 0:
            message = f"Return {value:.6g} is not positive: the budget is not in the return law ({method})."
            said.append(Diagnostic("nonpositive_return", "warning", game, profile.flops, message))
        else:
            points.append((profile.flops, float(value)))
    return points, said


def _laws(
    game: str, y: Quantity, method: Method, points: Sequence[tuple[float, float]], drawn: Sequence[Drawn]
) -> tuple[list[Law], list[Diagnostic]]:
    """The law of these points, and of a loss also that with an offset."""
    name = f"{y} against compute ({method})"
    if len(points) < 2:
        message = f"{len(points)} usable budgets, 2 are needed: no law of {name}."
        return [], [Diagnostic("few_budgets", "warning", game, None, message)]
    try:
        power = fit_power(points)
    except ValueError as error:
        return [], [Diagnostic("unfittable", "warning", game, None, f"No law of {name}: {error}.")]
    law = Law(y, method, "power", power, _by_runs(power, method, y, drawn))
    if power.exponent_ci is None:
        message = f"2 usable budgets: the law of {name} passes through both and has no interval; add budgets."
        return [law], [Diagnostic("no_interval", "warning", game, None, message)]
    if y != "loss":
        return [law], []
    try:
        offset = fit_law("offset", points)
        return [law, Law(y, method, "offset", offset, _by_runs(offset, method, y, drawn))], []
    except ValueError as error:
        message = f"No law with an offset of {name}: {error}."
        return [law], [Diagnostic("unfittable", "info", game, None, message)]


def _by_runs(law: PowerLaw, method: Method, y: Quantity, drawn: Sequence[Drawn]) -> tuple[float, float] | None:
    """95 % interval of a law's exponent over draws of runs; None with too few that have a fit."""
    points = [draw[method, y] for draw in drawn if (method, y) in draw]
    if law.form == "power":
        return interval([exponent(*each) for each in points])
    again = (refit(law, *each) for each in points[:SLOW_DRAWS])
    return interval([each.exponent for each in again if each is not None])


def _with_intervals(
    found: Sequence[Profile], intervals: dict[float, tuple[float, float] | None]
) -> tuple[Profile, ...]:
    """The profiles, their vertices with intervals by runs."""
    return tuple(
        replace(profile, vertex=replace(profile.vertex, params_ci_runs=intervals[profile.flops]))
        if profile.vertex
        else profile
        for profile in found
    )


def _correlation(game: str, cells: Sequence[Cell]) -> tuple[Correlation | None, list[Diagnostic]]:
    try:
        return correlate(cells), []
    except ValueError as error:
        message = f"No correlation of loss and return: {error}."
        return None, [Diagnostic("unfittable", "info", game, None, message)]
