"""Sensitivity of the exponents: fits under every combination of method, window, weights and FLOP convention."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from eval.results import ResultRow
from laws.fitting.bootstrap import AT_BEST, Simulated, basic, surface_of
from laws.fitting.frontier import ParametricLaw
from laws.fitting.isoflop import Cell, Profile, Quantity, cells_of, grid_of, price_of
from laws.fitting.law import spread_of
from laws.fitting.parabola import WINDOW, parabolas
from laws.fitting.parametric import Surface
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
) -> tuple[Choice, ...]:
    """Every choice for one game's rows and profiles, those with the FLOPs as given first.

    `parametric`, L(N, D) of all cells if there is one, is the start of the parametric fits in each window; `simulated`
    studies give intervals.
    """
    found = [_with_interval(choice, power, simulated) for choice, power in _of_profiles(as_given, "as given")]
    found += _of_surfaces(as_given, parametric.fit.surface if parametric else None)
    found += _of_hull(as_given)
    for convention, column in COMPUTE.items():
        found += [choice for choice, _ in _of_profiles(recounted(as_given, rows, column), convention)]
    for counted, column in SIZES.items():
        profiles = _replaced(as_given, rows, column, "params")
        found += [replace(choice, params=counted) for choice, _ in _of_profiles(profiles, "as given")]
    return tuple(found)


def _with_interval(choice: Choice, power: PowerLaw, simulated: Simulated | None) -> Choice:
    method = _SIMULATED.get(choice.method)
    if simulated is None or method is None or choice.weights != "equal":
        return choice
    spread = spread_of(simulated, power, method, choice.y, choice.window[0] / 1.05)
    return replace(choice, exponent_ci=basic(choice.exponent, spread.exponent_S, spread.clean[0], spread.noise))


def _of_hull(found: Sequence[Profile]) -> Iterator[Choice]:
    """Exponents of the cells on the lower convex hull of ln loss against ln C, over all runs and budgets."""
    cells = hull(cells_of(found))
    if len(cells) < 3 or len({cell.flops for cell in cells}) < 3:
        return
    for y in ("loss", "params", "samples"):
        points = [(cell.flops, float(getattr(cell, y))) for cell in cells]
        for choice, _ in _choice(y, "hull", "power", points, None, "as given"):
            yield choice


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


def _of_surfaces(found: Sequence[Profile], surface: Surface | None) -> Iterator[Choice]:
    """Exponents of the parametric law's frontier in each window, with FLOPs as given."""
    for low in windows([profile.flops for profile in found]) if surface else ():
        kept = [profile for profile in found if profile.flops >= low]
        cells = cells_of(kept)
        fitted, price = surface_of(cells, surface), price_of(cells)
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
            yield Choice(y, "parametric", form, window, "equal", "as given", value, None, budgets)


def _of_profiles(found: Sequence[Profile], convention: str) -> Iterator[tuple[Choice, PowerLaw]]:
    if not found:
        return
    for y, method, points, errors in _points(found):
        for low in windows([x for x, _ in points]):
            kept = [place for place, (x, _) in enumerate(points) if x >= low]
            inside = [points[place] for place in kept]
            forms: tuple[Form, ...] = ("power", "offset") if y == "loss" else ("power",)
            for form in forms:
                yield from _choice(y, method, form, inside, None, convention)
            given = [errors[place] for place in kept] if errors else []
            if given and all(given):
                yield from _choice(y, method, "power", inside, given, convention)


def _choice(
    y: Quantity,
    method: str,
    form: Form,
    points: Sequence[tuple[float, float]],
    errors: Sequence[float | None] | None,
    convention: str,
) -> Iterator[tuple[Choice, PowerLaw]]:
    law = attempt(form, points, errors)
    if law is not None:
        window, weights = (points[0][0], points[-1][0]), "by error" if errors else "equal"
        yield Choice(y, method, form, window, weights, convention, law.exponent, None, len(points)), law


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


Series = tuple[Quantity, str, list[tuple[float, float]], list[float | None]]


def _points(found: Sequence[Profile]) -> Iterator[Series]:
    """Each quantity at the optima of each method, with its standard errors where it has them."""
    bests = [profile.best for profile in found]
    yield "loss", "envelope", [(cell.flops, cell.loss) for cell in bests], [cell.loss_se for cell in bests]
    yield "params", "envelope", [(cell.flops, float(cell.params)) for cell in bests], []
    yield "samples", "envelope", [(cell.flops, float(cell.samples)) for cell in bests], []
    played = [cell for cell in (profile.best_return for profile in found) if cell and (cell.return_mean or 0) > 0]
    yield (
        "return",
        "envelope",
        [(cell.flops, cell.return_mean or 0.0) for cell in played],
        [cell.return_se for cell in played],
    )
    at_best = [cell for cell in bests if (cell.return_mean or 0) > 0]
    yield (
        "return",
        AT_BEST,
        [(cell.flops, cell.return_mean or 0.0) for cell in at_best],
        [cell.return_se for cell in at_best],
    )
    grid = grid_of([profile.cells for profile in found])
    for name, window, log in (
        ("isoflop, ln loss", WINDOW, True),
        ("isoflop, loss", WINDOW, False),
        ("isoflop, ln loss of all sizes", np.inf, True),
    ):
        fitted = parabolas(grid, grid.log_loss_BxM if log else np.exp(grid.log_loss_BxM), window)
        good = np.flatnonzero(np.isfinite(fitted.vertex_B))
        params = 10 ** fitted.vertex_B[good]
        least = np.exp(fitted.least_B[good]) if log else fitted.least_B[good]
        yield "params", name, list(zip(grid.flops_B[good].tolist(), params.tolist(), strict=True)), []
        yield "loss", name, list(zip(grid.flops_B[good].tolist(), least.tolist(), strict=True)), []
