"""IsoFLOP profiles: loss against size at one budget, and the compute-optimal size.

Two estimates of the optimum, both in Hoffmann et al. (arXiv 2203.15556) and Tuyls et al. (arXiv 2307.09423):
the *envelope* takes the trained cell of least loss at each budget (the definition behind the paper's NetHack
exponents); the *vertex* of a parabola of ln loss in log10 N interpolates between the sizes that were trained.

Shapes: B budgets, M the most cells of any budget (others are padded), P cells in all, R runs.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from scipy import special

from eval.results import ResultRow
from laws.fitting.parabola import FEWEST, MIN_CELLS, Grid, Parabolas, middle, parabolas
from laws.fitting.parametric import Price
from laws.fitting.power import LEVEL
from laws.rows.budgets import BIN, binned
from laws.rows.diagnostic import Code, Diagnostic
from laws.rows.tuning import best_tuned

Quantity = Literal["loss", "params", "samples", "return"]
Method = Literal["envelope", "isoflop"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
METHODS: tuple[Method, ...] = get_args(Method)

MIN_POWER = 0.05
"""Least exponent of N in the cost of a sample for which larger networks count as more expensive."""
NEAR = 0.01
"""Relative excess over the least loss that bounds `Vertex.near`."""


@dataclass(frozen=True)
class Cell:
    """One trained size at one budget."""

    flops: float
    params: int
    samples: int
    loss: float
    """Nats per step."""
    run: str
    loss_se: float | None = None
    return_mean: float | None = None
    return_se: float | None = None
    episodes: int | None = None
    population: str | None = None


@dataclass(frozen=True)
class Parabola:
    """ln loss = a·u² + b·u + c with u = log10 N, least squares over the cells in `window`."""

    a: float
    b: float
    c: float
    window: tuple[float, float]
    """Smallest and largest N fitted."""

    def loss(self, params: np.ndarray) -> np.ndarray:
        """Loss on the parabola at sizes N."""
        return np.exp(np.polyval((self.a, self.b, self.c), np.log10(params)))


@dataclass(frozen=True)
class Vertex:
    """The minimum of a profile's parabola."""

    params: float
    params_ci: tuple[float, float] | None
    """95 % interval of `params` by the bootstrap of the study; None where the study doesn't tell its noise."""
    params_ci_residuals: tuple[float, float] | None
    """The same from the residuals of the parabola: delta method, Student's t with (cells - 3) degrees of freedom; None
    without any. It takes cells as independent, and misfit as noise."""
    near: tuple[float, float]
    """Smallest and largest N whose loss on the parabola is at most 1 % above the least."""
    samples: float
    """D at `params`: log10 D interpolated linearly in log10 N between the cells."""
    loss: float
    return_mean: float | None
    """Return at `params`, interpolated linearly in log10 N between the cells that have one; None outside them."""


@dataclass(frozen=True)
class Profile:
    """All cells of one budget, and the parabola through those near the best."""

    flops: float
    cells: tuple[Cell, ...]
    parabola: Parabola | None
    """None with fewer than five cells."""
    vertex: Vertex | None
    """None where the parabola has no usable minimum; a diagnostic says why."""

    @property
    def best(self) -> Cell:
        """The cell of least loss; of equal ones the smallest."""
        return min(self.cells, key=lambda cell: (cell.loss, cell.params, cell.samples, cell.run))

    @property
    def best_return(self) -> Cell | None:
        """The cell of greatest mean return; of equal ones the smallest. None where no cell has a return."""
        played = [cell for cell in self.cells if cell.return_mean is not None]
        return max(played, key=lambda cell: (cell.return_mean or 0.0, -cell.params), default=None)


def profiles(
    game: str, rows: Sequence[ResultRow], tolerance: float = BIN, least: int = MIN_CELLS
) -> tuple[tuple[Profile, ...], list[Diagnostic]]:
    """The profiles of `game`'s rows, one per budget in ascending order, and their diagnostics.

    Args:
        game: Named in the diagnostics.
        rows: Of one game. Of a size that was trained with several settings, the best at each budget enters.
        tolerance: Relative difference of FLOPs up to which cells are of one budget.
        least: Sizes that a parabola needs, 3 at least.
    """
    diagnostics: list[Diagnostic] = []
    usable: list[ResultRow] = []
    for row in rows:
        if row.loss is None or row.loss <= 0:
            lack = "no loss" if row.loss is None else "a loss of 0"
            message = f"Run {row.run} with {row.params} parameters has {lack}: the cell was left out."
            diagnostics.append(Diagnostic("no_loss", "warning", game, row.flops, message))
        else:
            usable.append(row)
    chosen = [best_tuned(_one_each([usable[place] for place in places])) for places in _bins(usable, tolerance)]
    diagnostics += _check_bins(game, usable, len(chosen), tolerance)
    if settings := sorted({name for each in chosen for name in each.settings}):
        message = (
            f"Of {sum(each.sizes for each in chosen)} sizes at a budget that were trained with several settings"
            f" ({', '.join(settings)}), the runs of the setting with the least loss were taken; the best of several"
            " noisy losses is a little too low."
        )
        diagnostics.append(Diagnostic("tuned", "info", game, None, message))
    found: list[Profile] = []
    for each in chosen:
        profile, of_profile = _profile(game, tuple(_cell(row, row.loss or 0.0) for row in each.rows), least)
        found.append(profile)
        diagnostics.extend(of_profile)
    if scattered(found):
        diagnostics = [item for item in diagnostics if item.code != "few_sizes"]
        message = (
            f"The {len(usable)} cells stand at {len(found)} budgets, most of one size: there are no isoFLOP profiles."
            " The parametric law and the lower hull remain; widen --bin if cells belong together."
        )
        diagnostics.append(Diagnostic("no_budgets", "warning", game, None, message))
    return tuple(found), diagnostics


def scattered(found: Sequence[Profile]) -> bool:
    """Whether most cells have no other size beside them at their budget, so that there is nothing to choose from."""
    sizes = [len({cell.params for cell in profile.cells}) for profile in found]
    return len(found) > 2 and sum(number < 2 for number in sizes) > len(found) / 2


def _bins(rows: Sequence[ResultRow], tolerance: float) -> list[list[int]]:
    """Places in `rows` by budget, each in the order of `rows`."""
    return [sorted(places) for places in binned([row.flops for row in rows], tolerance)]


def _one_each(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Of a training with several checkpoints at one budget, that nearest to the geometric mean of the budget."""
    names = {(row.run, row.params) for row in rows}
    if len(names) == len(rows):
        return list(rows)
    centre = math.log(middle([row.flops for row in rows]))
    nearest: dict[tuple[str, int], ResultRow] = {}
    for row in sorted(rows, key=lambda row: (abs(math.log(row.flops) - centre), row.samples)):
        nearest.setdefault((row.run, row.params), row)
    return [row for row in rows if nearest[row.run, row.params] is row]


def _check_bins(game: str, rows: Sequence[ResultRow], bins: int, tolerance: float) -> list[Diagnostic]:
    different = len({row.flops for row in rows})
    if different == bins:
        return []
    message = (
        f"{len(rows)} cells at {different} different FLOPs are {bins} budgets: FLOPs within {tolerance:.3g} of each"
        " other are one (--bin), and each training enters one once."
    )
    return [Diagnostic("binned", "info", game, None, message)]


def return_profiles(found: Sequence[Profile]) -> tuple[Profile, ...]:
    """IsoFLOP profiles of the return: parabolas of ln(1 / R), whose minimum is the greatest return.

    `loss` of their cells, parabolas and vertices is 1 / R. Cells without a positive return, and budgets without such
    cells, are left out.
    """
    scored = [[cell for cell in profile.cells if (cell.return_mean or 0) > 0] for profile in found]
    return tuple(
        _profile("", tuple(replace(cell, loss=1 / (cell.return_mean or 1)) for cell in cells), MIN_CELLS)[0]
        for cells in scored
        if cells
    )


def cells_of(found: Sequence[Profile]) -> list[Cell]:
    """The cells of all budgets."""
    return [cell for profile in found for cell in profile.cells]


def price_of(cells: Sequence[Cell]) -> Price | None:
    """FLOPs per sample against N: a line through each size's median ln(C / D) against ln N.

    6·N for a transformer; a convolutional network's cost grows slower than its parameters. None where the cost does not
    grow with N, so that a budget has no optimal size.
    """
    by_size: dict[int, list[float]] = defaultdict(list)
    for cell in cells:
        by_size[cell.params].append(math.log(cell.flops / cell.samples))
    sizes = np.log(list(by_size))
    costs = np.array([float(np.median(of_size)) for of_size in by_size.values()])
    power, level = np.polyfit(sizes, costs, 1) if len(sizes) > 1 else (1.0, float(costs[0] - sizes[0]))
    return Price(math.exp(level), float(power)) if power > MIN_POWER else None


def _cell(row: ResultRow, loss: float) -> Cell:
    return Cell(
        row.flops,
        row.params,
        row.samples,
        loss,
        row.run,
        row.loss_se,
        row.return_mean,
        row.return_se,
        row.episodes,
        row.population,
    )


def _profile(game: str, cells: tuple[Cell, ...], least: int) -> tuple[Profile, list[Diagnostic]]:
    flops, sizes = middle([cell.flops for cell in cells]), sorted({cell.params for cell in cells})
    chosen = Profile(flops, cells, None, None)

    def note(code: Code, message: str) -> Diagnostic:
        return Diagnostic(code, "warning", game, flops, message)

    if len(sizes) < least:
        also = "; --min-sizes 3 takes three" if len(sizes) >= FEWEST else ""
        message = f"Only {len(sizes)} of the {least} sizes that a parabola needs: no vertex at this budget{also}."
        return chosen, [note("few_sizes", message)]
    diagnostics: list[Diagnostic] = []
    if chosen.best.params in (sizes[0], sizes[-1]):
        which, way = ("smallest", "smaller") if chosen.best.params == sizes[0] else ("largest", "larger")
        message = f"The least loss is at the {which} size tried: the optimum may lie beyond it; train {way} sizes."
        diagnostics.append(note("edge_optimum", message))
    grid = grid_of([cells])
    fitted = parabolas(grid, grid.log_loss_BxM, least=least)
    (a, b, c), centre = (float(x) for x in fitted.abc_Bx3[0]), float(fitted.centre_B[0])
    window = float(10 ** fitted.low_B[0]), float(10 ** fitted.high_B[0])
    curve = Parabola(a, b - 2 * a * centre, a * centre**2 - b * centre + c, window)
    profile = Profile(flops, cells, curve, None)
    u = centre - b / (2 * a) if a else math.nan
    if a <= 0:
        message = "The parabola opens downwards: no vertex at this budget; train more sizes."
        return profile, [*diagnostics, note("opens_downwards", message)]
    if not fitted.low_B[0] <= u <= fitted.high_B[0]:
        way = "smaller" if u < fitted.low_B[0] else "larger"
        message = f"The vertex lies outside the sizes tried and is not used; train {way} sizes."
        return profile, [*diagnostics, note("vertex_outside", message)]
    vertex = _vertex(fitted, u, cells)
    low, high = vertex.params_ci_residuals or (1.0, 1.0)
    if high > 10 * low:
        message = (
            f"The profile is flat: going by its residuals, its vertex lies between {low:.3g} and {high:.3g} parameters;"
            " train sizes farther apart, or measure the losses on more games."
        )
        diagnostics.append(note("flat_profile", message))
    return Profile(flops, cells, curve, vertex), diagnostics


def _vertex(fitted: Parabolas, u: float, cells: tuple[Cell, ...]) -> Vertex:
    """The vertex at log10 N = `u`, with its delta-method interval."""
    a, b, _ = (float(x) for x in fitted.abc_Bx3[0])
    slope = np.array([b / (2 * a * a), -1 / (2 * a), 0.0])
    residuals = None
    if (freedom := int(fitted.cells_B[0]) - 3) > 0:
        error = math.sqrt(max(float(slope @ fitted.covariance_Bx3x3[0] @ slope), 0.0))
        half = float(special.stdtrit(freedom, (1 + LEVEL) / 2)) * error
        residuals = _power(u - half), _power(u + half)
    reach = math.sqrt(math.log1p(NEAR) / a)
    log_samples = _interpolate(u, [(cell.params, math.log10(cell.samples)) for cell in cells])
    played = [(cell.params, cell.return_mean) for cell in cells if cell.return_mean is not None]
    sizes = [math.log10(params) for params, _ in played]
    between = bool(sizes) and min(sizes) <= u <= max(sizes)
    return Vertex(
        10**u,
        None,
        residuals,
        (_power(u - reach), _power(u + reach)),
        10**log_samples,
        math.exp(float(fitted.least_B[0])),
        _interpolate(u, played) if between else None,
    )


def _power(u: float) -> float:
    """10^u, clipped to the range of double precision."""
    return 10 ** min(max(u, -300.0), 300.0)


def _interpolate(u: float, pairs: Sequence[tuple[int, float]]) -> float:
    """Value at log10 N = `u`, interpolated linearly between sizes; the mean at a size that occurs twice."""
    by_size: dict[int, list[float]] = defaultdict(list)
    for size, value in pairs:
        by_size[size].append(value)
    sizes = sorted(by_size)
    return float(np.interp(u, np.log10(sizes), [float(np.mean(by_size[size])) for size in sizes]))


def grid_of(cells: Sequence[Sequence[Cell]]) -> Grid:
    """The cells of each budget as arrays."""
    clusters = sorted({cell.population or cell.run for row in cells for cell in row})
    number = {name: place for place, name in enumerate(clusters)}
    shape = len(cells), max(map(len, cells))
    table = np.full((7, *shape), np.nan)
    table[2] = np.inf
    run = np.zeros(shape, int)
    for budget, row in enumerate(cells):
        for place, cell in enumerate(row):
            own = cell.params, cell.samples, cell.loss, cell.loss_se, cell.return_mean, cell.return_se, cell.flops
            table[:, budget, place] = [math.nan if value is None else float(value) for value in own]
            run[budget, place] = number[cell.population or cell.run]
    params, samples, loss, loss_se, returns, return_se, flops = table
    there = np.isfinite(params)
    with np.errstate(invalid="ignore"):
        return Grid(
            np.array([middle([cell.flops for cell in row]) for row in cells]),
            np.log10(np.where(there, params, 1.0)),
            np.log10(np.where(there, samples, 1.0)),
            np.log(loss),
            np.where(there, loss_se / loss, np.nan),
            returns,
            return_se,
            np.log(np.where(there, flops, 1.0)),
            run,
            tuple(clusters),
        )
