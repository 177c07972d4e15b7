"""Sensitivity of the exponents: fits under every combination of method, window, weights and FLOP convention."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from eval.results import ResultRow
from laws.fitting.bootstrap import AT_BEST, Simulated, surface_of
from laws.fitting.frontier import ParametricLaw
from laws.fitting.isoflop import Cell, Profile, Quantity, cells_of, grid_of, price_of
from laws.fitting.law import Law, spread_of
from laws.fitting.parabola import MIN_CELLS, WINDOW, Grid, parabolas
from laws.fitting.power import Form, PowerLaw, fit_law

MIN_BUDGETS = 5
"""Fewest budgets in a window."""


@dataclass(frozen=True)
class Choice:
    """One way to fit an exponent against compute, and its result."""

    y: Quantity
    method: str
    """`envelope`, `at the least loss`, `isoflop, …` followed by what its parabola fits, `parametric`, or `hull`."""
    form: Form
    window: tuple[float, float]
    """Smallest and largest budget, FLOPs."""
    weights: str
    """`equal`, or `by error`: inverse squared standard errors."""
    convention: str
    """How compute was counted: `as given`, or a key of `COMPUTE`."""
    exponent: float
    exponent_ci: tuple[float, float] | None
    """95 %, by bootstrap of the study; None where that isn't made."""
    budgets: int
    params: str = "as given"
    """How N was counted: `as given`, or a key of `SIZES`."""


COMPUTE = {"exact": "flops_exact", "paper": "flops_paper", "seconds": "seconds"}
"""Columns of compute by the name of its convention."""
SIZES = {"all": "params_all", "core only": "params_core"}
"""Columns of size by what is counted."""
_SIMULATED = {"envelope": "envelope", "isoflop, ln loss": "isoflop", AT_BEST: AT_BEST}
"""The methods whose optima are simulated too."""


def choices(
    rows: Sequence[ResultRow],
    as_given: Sequence[Profile],
    parametric: ParametricLaw | None = None,
    simulated: Simulated | None = None,
    least: int = MIN_CELLS,
) -> tuple[Choice, ...]:
    """Every choice for one game's rows and profiles, those with the FLOPs as given first.

    `parametric`, L(N, D) of all cells if there is one, is the start of the parametric fits in each window; `simulated`
    studies give intervals; `least` sizes determine a parabola.
    """
    found = list(_of_profiles(as_given, simulated, least))
    found += _of_surfaces(as_given, parametric) if parametric else ()
    found += _of_hull(as_given)
    for convention, column in COMPUTE.items():
        profiles = recounted(as_given, rows, column)
        found += [
            replace(choice, convention=convention)
            for choice in _of_profiles(profiles, _counted(simulated, profiles), least)
        ]
    for counted, column in SIZES.items():
        profiles = _replaced(as_given, rows, column, "params")
        found += [
            replace(choice, params=counted) for choice in _of_profiles(profiles, _counted(simulated, profiles), least)
        ]
    return tuple(found)


def _counted(simulated: Simulated | None, found: Sequence[Profile]) -> Simulated | None:
    """The simulated studies with compute and sizes as `found` counts them."""
    if simulated is None or not found:
        return None
    return simulated.counted(grid_of([profile.cells for profile in found]))


def _of_hull(found: Sequence[Profile]) -> Iterator[Choice]:
    """Exponents of the cells on the lower convex hull of ln loss against ln C, over all runs and budgets."""
    cells = hull(cells_of(found))
    if len(cells) < 3 or len({cell.flops for cell in cells}) < 3:
        return
    for y in ("loss", "params", "samples"):
        points = [(cell.flops, float(getattr(cell, y))) for cell in cells]
        law = attempt("power", points)
        if law is not None:
            yield _choice(y, "hull", law)


def hull(cells: Sequence[Cell]) -> list[Cell]:
    """The cells on the lower convex hull of (ln C, ln L) that lie before its least loss, by C."""
    best: dict[float, Cell] = {}
    for cell in sorted(cells, key=lambda cell: (cell.flops, cell.loss)):
        best.setdefault(cell.flops, cell)
    found: list[Cell] = []
    for cell in best.values():
        while len(found) > 1 and not _turns_up(found[-2], found[-1], cell):
            found.pop()
        found.append(cell)
    least = min(range(len(found)), key=lambda place: found[place].loss, default=-1)
    return found[: least + 1]


def _turns_up(one: Cell, other: Cell, last: Cell) -> bool:
    """Whether the slope of ln loss against ln C rises at `other`."""
    (x, y), (x_1, y_1), (x_2, y_2) = ((math.log(cell.flops), math.log(cell.loss)) for cell in (one, other, last))
    return (y_1 - y) * (x_2 - x_1) < (y_2 - y_1) * (x_1 - x)


def recounted(found: Sequence[Profile], rows: Sequence[ResultRow], column: str) -> tuple[Profile, ...]:
    """The profiles with each cell's compute by `column`: FLOPs by another convention, or seconds.

    () unless all rows state it and it differs from `flops`. The cells of one budget then differ in compute: a best cell
    has its own, a vertex the geometric mean of its budget.
    """
    return _replaced(found, rows, column, "flops")


def _replaced(
    found: Sequence[Profile], rows: Sequence[ResultRow], column: str, name: Literal["flops", "params"]
) -> tuple[Profile, ...]:
    """The profiles with `name` of each cell by `column`; () unless all rows state that and it isn't the same."""
    stated = {(row.flops, row.run, row.params, row.samples): getattr(row, column) for row in rows}
    given = [getattr(row, name) for row in rows]
    values = [getattr(row, column) for row in rows]
    if not all(values) or np.allclose(given, values, rtol=0.02):
        return ()

    def counted(cell: Cell) -> Cell:
        return replace(cell, **{name: stated[cell.flops, cell.run, cell.params, cell.samples]})

    return tuple(replace(profile, cells=tuple(map(counted, profile.cells))) for profile in found)


def _of_surfaces(found: Sequence[Profile], parametric: ParametricLaw) -> Iterator[Choice]:
    """Exponents of the parametric law's frontier in each window, with FLOPs as given; `parametric` is of all cells."""
    for low in windows([profile.flops for profile in found]):
        kept = [profile for profile in found if profile.flops >= low]
        cells = cells_of(kept)
        fitted, price = surface_of(cells, parametric.fit.surface), price_of(cells)
        if fitted is None or price is None:
            continue
        params, samples = fitted.surface.exponents(price)
        window, budgets = (kept[0].flops, kept[-1].flops), len(kept)
        exponents: dict[Quantity, float] = {
            "loss": -fitted.surface.beta * samples,
            "params": params,
            "samples": samples,
        }
        for y, value in exponents.items():
            form: Form = "offset" if y == "loss" else "power"
            ends = parametric.intervals[y] if budgets == len(found) else None
            yield Choice(y, "parametric", form, window, "equal", "as given", value, ends, budgets)


def _of_profiles(found: Sequence[Profile], simulated: Simulated | None, least: int) -> Iterator[Choice]:
    """The choices of method, form, window and weights; `simulated` studies count compute and sizes as `found` does."""
    if not found:
        return
    for series in _points(found, grid_of([profile.cells for profile in found]), least):
        y, method, points = series.y, series.method, series.points
        for low in windows([x for x, _ in points]):
            kept = [place for place, (x, _) in enumerate(points) if x >= low]
            inside, budgets = [points[place] for place in kept], [series.budgets[place] for place in kept]
            forms: tuple[Form, ...] = ("power", "offset") if y == "loss" else ("power",)
            for law in filter(None, (attempt(form, inside) for form in forms)):
                yield _choice(y, method, law, _interval(series, law, budgets, simulated))
            errors = [series.errors[place] for place in kept] if series.errors else []
            law = attempt("power", inside, errors) if errors and all(errors) else None
            if law is not None:
                yield _choice(y, method, law)


def _interval(
    series: "Series", law: PowerLaw, budgets: Sequence[int], simulated: Simulated | None
) -> tuple[float, float] | None:
    """The interval that the law of such points has; None of methods that aren't simulated."""
    optima = _SIMULATED.get(series.method)
    if simulated is None or optima is None:
        return None
    spread = spread_of(simulated, law, optima, series.y, budgets)
    method = "isoflop" if optima == "isoflop" else "envelope"
    return Law(series.y, method, law.form, law, None, spread).exponent_ci


def _choice(y: Quantity, method: str, law: PowerLaw, ends: tuple[float, float] | None = None) -> Choice:
    """What a law through points says of y against compute, as given."""
    window, weights = (law.points[0][0], law.points[-1][0]), "by error" if law.weighted else "equal"
    return Choice(y, method, law.form, window, weights, "as given", law.exponent, ends, len(law.points))


def attempt(
    form: Form, points: Sequence[tuple[float, float]], errors: Sequence[float | None] | None = None
) -> PowerLaw | None:
    """`fit_law`, or None where it raises ValueError."""
    try:
        return fit_law(form, points, errors)
    except ValueError:
        return None


def windows(budgets: Sequence[float]) -> list[float]:
    """Smallest budgets of the windows: the first, then the first of each later decade, `MIN_BUDGETS` left at least."""
    ordered = sorted(budgets)
    if len(ordered) < MIN_BUDGETS:
        return ordered[:1]
    starts, last = [], ordered[-MIN_BUDGETS]
    for budget in ordered:
        if budget <= last and (not starts or budget >= starts[-1] * 10 * (1 - 1e-9)):
            starts.append(budget)
    return starts


class Series(NamedTuple):
    """A quantity at the optima of a method."""

    y: Quantity
    method: str
    points: list[tuple[float, float]]
    """(C, y), by budget."""
    budgets: Sequence[int]
    """Their places among all budgets."""
    errors: Sequence[float | None] = ()
    """Standard errors of y, where there are any."""


def _points(found: Sequence[Profile], grid: Grid, least: int) -> Iterator[Series]:
    """Each quantity at the optima of each method."""
    bests, every = [profile.best for profile in found], range(len(found))
    yield Series(
        "loss", "envelope", [(cell.flops, cell.loss) for cell in bests], every, [cell.loss_se for cell in bests]
    )
    yield Series("params", "envelope", [(cell.flops, float(cell.params)) for cell in bests], every)
    yield Series("samples", "envelope", [(cell.flops, float(cell.samples)) for cell in bests], every)
    for method, cells in (("envelope", [profile.best_return for profile in found]), (AT_BEST, bests)):
        played = [(place, cell) for place, cell in enumerate(cells) if cell and (cell.return_mean or 0) > 0]
        points = [(cell.flops, cell.return_mean or 0.0) for _, cell in played]
        errors = [cell.return_se for _, cell in played]
        yield Series("return", method, points, [place for place, _ in played], errors)
    for name, window, log in (
        ("isoflop, ln loss", WINDOW, True),
        ("isoflop, loss", WINDOW, False),
        ("isoflop, ln loss of all sizes", np.inf, True),
    ):
        fitted = parabolas(grid, grid.log_loss_BxM if log else np.exp(grid.log_loss_BxM), window, least)
        good = np.flatnonzero(np.isfinite(fitted.vertex_B))
        params = 10 ** fitted.vertex_B[good]
        loss = np.exp(fitted.least_B[good]) if log else fitted.least_B[good]
        flops, budgets = grid.flops_B[good].tolist(), good.tolist()
        yield Series("params", name, list(zip(flops, params.tolist(), strict=True)), budgets)
        yield Series("loss", name, list(zip(flops, loss.tolist(), strict=True)), budgets)
