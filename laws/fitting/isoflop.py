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
from laws.fitting.parametric import Price
from laws.fitting.power import LEVEL
from laws.rows.diagnostic import Code, Diagnostic

Quantity = Literal["loss", "params", "samples", "return"]
Method = Literal["envelope", "isoflop"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
METHODS: tuple[Method, ...] = get_args(Method)

WINDOW = 1.0
"""Sizes within this many decades of the best one enter the parabola."""
MIN_CELLS = 5
"""Cells that a parabola needs."""
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
    params_ci: tuple[float, float]
    """95 % interval of `params`: delta method, Student's t with (cells - 3) degrees of freedom."""
    params_ci_runs: tuple[float, float] | None
    """The same by bootstrap over runs; None without a bootstrap or where too few draws have a vertex."""
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


def profiles(game: str, rows: Sequence[ResultRow]) -> tuple[tuple[Profile, ...], list[Diagnostic]]:
    """The profiles of `game`'s rows, one per budget in ascending order, and their diagnostics."""
    cells: dict[float, list[Cell]] = defaultdict(list)
    diagnostics: list[Diagnostic] = []
    for row in rows:
        if row.loss is None or row.loss <= 0:
            lack = "no loss" if row.loss is None else "a loss of 0"
            message = f"Run {row.run} with {row.params} parameters has {lack}: the cell was left out."
            diagnostics.append(Diagnostic("no_loss", "warning", game, row.flops, message))
            continue
        cells[row.flops].append(_cell(row, row.loss))
    found: list[Profile] = []
    for flops in sorted(cells):
        profile, of_profile = _profile(game, tuple(cells[flops]))
        found.append(profile)
        diagnostics.extend(of_profile)
    return tuple(found), diagnostics


def return_profiles(found: Sequence[Profile]) -> tuple[Profile, ...]:
    """IsoFLOP profiles of the return: parabolas of ln(1 / R), whose minimum is the greatest return.

    `loss` of their cells, parabolas and vertices is 1 / R. Cells without a positive return, and budgets without such
    cells, are left out.
    """
    scored = [[cell for cell in profile.cells if (cell.return_mean or 0) > 0] for profile in found]
    return tuple(
        _profile("", tuple(replace(cell, loss=1 / (cell.return_mean or 1)) for cell in cells))[0]
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
    )


@dataclass(frozen=True)
class Grid:
    """The cells of a game as arrays, one row per budget, padded with infinite losses."""

    flops_B: np.ndarray
    log_params_BxM: np.ndarray
    """log10 N."""
    log_samples_BxM: np.ndarray
    """log10 D."""
    log_loss_BxM: np.ndarray
    """ln L; infinite on padding."""
    return_BxM: np.ndarray
    """Mean return; NaN where there is none."""
    run_BxM: np.ndarray
    """Index into `runs`; 0 on padding."""
    runs: tuple[str, ...]

    @staticmethod
    def of(cells: Sequence[Sequence[Cell]]) -> "Grid":
        """From the cells of each budget."""
        runs = sorted({cell.run for row in cells for cell in row})
        shape = len(cells), max(map(len, cells))
        log_params, log_samples, run = np.zeros(shape), np.zeros(shape), np.zeros(shape, int)
        log_loss, returns = np.full(shape, np.inf), np.full(shape, np.nan)
        number = {name: place for place, name in enumerate(runs)}
        for budget, row in enumerate(cells):
            for place, cell in enumerate(row):
                where = budget, place
                log_params[where], log_samples[where] = math.log10(cell.params), math.log10(cell.samples)
                log_loss[where], run[where] = math.log(cell.loss), number[cell.run]
                if cell.return_mean is not None:
                    returns[where] = cell.return_mean
        flops = np.array([_middle([cell.flops for cell in row]) for row in cells])
        return Grid(flops, log_params, log_samples, log_loss, returns, run, tuple(runs))

    def weights(self, count_R: np.ndarray) -> np.ndarray:
        """Weight of each cell [B, M], given how often each run was drawn [R]; 0 on padding."""
        return np.where(np.isfinite(self.log_loss_BxM), count_R[self.run_BxM], 0)


def _middle(flops: Sequence[float]) -> float:
    """The common budget of cells, or the geometric mean of theirs."""
    return flops[0] if min(flops) == max(flops) else math.exp(float(np.mean(np.log(flops))))


@dataclass(frozen=True)
class Parabolas:
    """The parabola of every budget: value = a·v² + b·v + c with v = log10 N - centre."""

    centre_B: np.ndarray
    abc_Bx3: np.ndarray
    covariance_Bx3x3: np.ndarray
    """Of a, b and c; NaN without degrees of freedom."""
    cells_B: np.ndarray
    """Number of distinct cells fitted."""
    low_B: np.ndarray
    """log10 of the smallest N fitted."""
    high_B: np.ndarray

    @property
    def vertex_B(self) -> np.ndarray:
        """log10 N at the vertex; NaN where unusable: too few cells, concave, or outside the fitted sizes."""
        a_B, b_B, _ = self.abc_Bx3.T
        with np.errstate(divide="ignore", invalid="ignore"):
            u_B = self.centre_B - b_B / (2 * a_B)
        good_B = (self.cells_B >= MIN_CELLS) & (a_B > 0) & (self.low_B <= u_B) & (u_B <= self.high_B)
        return np.where(good_B, u_B, np.nan)

    @property
    def least_B(self) -> np.ndarray:
        """Value at the vertex."""
        a_B, b_B, c_B = self.abc_Bx3.T
        with np.errstate(divide="ignore", invalid="ignore"):
            return c_B - b_B**2 / (4 * a_B)


def parabolas(grid: Grid, weight_BxM: np.ndarray, window: float = WINDOW, *, log: bool = True) -> Parabolas:
    """Weighted least squares of ln loss (or loss) on log10 N at every budget, over the cells near the best.

    These are the sizes within `window` decades of the size of least loss, or the nearest five if that is more: a
    parabola is the second-order expansion of a smooth loss about its minimum, and distant sizes, with up to twenty
    times the least loss, would dominate the fit.
    """
    u, value = grid.log_params_BxM, grid.log_loss_BxM if log else np.exp(grid.log_loss_BxM)
    there = weight_BxM > 0
    best_B = np.where(there, value, np.inf).argmin(axis=1)
    away = np.where(there, np.abs(u - np.take_along_axis(u, best_B[:, None], 1)), np.inf)
    rank = np.argsort(np.argsort(away, axis=1, kind="stable"), axis=1, kind="stable")
    inside = there & ((away <= window) | (rank < MIN_CELLS))
    weight = np.where(inside, weight_BxM, 0).astype(float)
    total_B = np.maximum(weight.sum(axis=1), 1)
    centre_B = (weight * u).sum(axis=1) / total_B
    v = np.where(inside, u - centre_B[:, None], 0)
    column_BxMx3 = np.stack([v**2, v, np.ones_like(v)], axis=2)
    normal = np.einsum("bmi,bm,bmj->bij", column_BxMx3, weight, column_BxMx3)
    target = np.einsum("bmi,bm->bi", column_BxMx3, weight * np.where(inside, value, 0))
    inverse = np.linalg.pinv(normal, hermitian=True)
    abc = np.einsum("bij,bj->bi", inverse, target)
    residual = np.where(inside, value - np.einsum("bmi,bi->bm", column_BxMx3, abc), 0)
    cells_B = inside.sum(axis=1)
    freedom_B = np.where(cells_B > 3, cells_B - 3.0, np.nan)
    scale_B = (weight * residual**2).sum(axis=1) / total_B * cells_B / freedom_B
    low_B = np.where(inside, u, np.inf).min(axis=1)
    high_B = np.where(inside, u, -np.inf).max(axis=1)
    return Parabolas(centre_B, abc, inverse * scale_B[:, None, None], cells_B, low_B, high_B)


def _profile(game: str, cells: tuple[Cell, ...]) -> tuple[Profile, list[Diagnostic]]:
    flops, sizes = cells[0].flops, sorted({cell.params for cell in cells})
    chosen = Profile(flops, cells, None, None)

    def note(code: Code, message: str) -> Diagnostic:
        return Diagnostic(code, "warning", game, flops, message)

    if len(sizes) < MIN_CELLS:
        message = f"Only {len(sizes)} of the {MIN_CELLS} sizes that a parabola needs: no vertex at this budget."
        return chosen, [note("few_sizes", message)]
    diagnostics: list[Diagnostic] = []
    if chosen.best.params in (sizes[0], sizes[-1]):
        which, way = ("smallest", "smaller") if chosen.best.params == sizes[0] else ("largest", "larger")
        message = f"The least loss is at the {which} size tried: the optimum may lie beyond it; train {way} sizes."
        diagnostics.append(note("edge_optimum", message))
    grid = Grid.of([cells])
    fitted = parabolas(grid, grid.weights(np.ones(len(grid.runs))))
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
    low, high = vertex.params_ci
    if high > 10 * low:
        message = (
            f"The profile is flat: its vertex lies between {low:.3g} and {high:.3g} parameters with 95 % confidence;"
            " train sizes farther apart, or measure the losses on more games."
        )
        diagnostics.append(note("flat_profile", message))
    return Profile(flops, cells, curve, vertex), diagnostics


def _vertex(fitted: Parabolas, u: float, cells: tuple[Cell, ...]) -> Vertex:
    """The vertex at log10 N = `u`, with its delta-method interval."""
    a, b, _ = (float(x) for x in fitted.abc_Bx3[0])
    slope = np.array([b / (2 * a * a), -1 / (2 * a), 0.0])
    error = math.sqrt(max(float(slope @ fitted.covariance_Bx3x3[0] @ slope), 0.0))
    half = float(special.stdtrit(fitted.cells_B[0] - 3, (1 + LEVEL) / 2)) * error
    reach = math.sqrt(math.log1p(NEAR) / a)
    log_samples = _interpolate(u, [(cell.params, math.log10(cell.samples)) for cell in cells])
    played = [(cell.params, cell.return_mean) for cell in cells if cell.return_mean is not None]
    sizes = [math.log10(params) for params, _ in played]
    between = bool(sizes) and min(sizes) <= u <= max(sizes)
    return Vertex(
        10**u,
        (_power(u - half), _power(u + half)),
        None,
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
