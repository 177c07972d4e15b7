"""Bootstrap over runs (a cluster bootstrap): how much the laws vary between sets of training runs.

One run gives a cell at every budget that it passes, so cells are not independent and resampling single cells makes
intervals too narrow (Efron and Tibshirani 1993, section 8: resample what was drawn independently). Each draw takes
as many runs as there are, with replacement, and refits everything to the cells of those runs.

Shapes: B budgets, M cells of a budget, R runs, S draws.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from laws.fitting.isoflop import Cell, Grid, Method, Quantity, parabolas
from laws.fitting.parametric import Parametric, Surface, fit_surface
from laws.fitting.power import LEVEL

DRAWS = 1000
"""Bootstrap draws by default."""
SLOW_DRAWS = 120
"""Draws for laws that need an iterative fit: those with an offset, and parametric ones in many windows."""
MIN_DRAWS = 100
"""Draws with a finite value that an interval needs."""

Drawn = Mapping[tuple[Method, Quantity], tuple[np.ndarray, np.ndarray]]
"""One draw: by method and quantity, ln C and ln of the quantity at the budgets that have one."""


def optima(grid: Grid, count_R: np.ndarray) -> Drawn:
    """Optima of every budget, from cells weighted by how often their run was drawn, `count_R`."""
    weight = grid.weights(count_R)
    there = weight > 0
    some_B = there.any(axis=1)
    log_flops_B = np.log(grid.flops_B)
    best_B = np.where(there, grid.log_loss_BxM, np.inf).argmin(axis=1)[:, None]

    def of_best(value_BxM: np.ndarray) -> np.ndarray:
        return np.take_along_axis(value_BxM, best_B, axis=1)[:, 0]

    fitted = parabolas(grid, weight)
    u_B = fitted.vertex_B
    returns_B = np.where(there & np.isfinite(grid.return_BxM), grid.return_BxM, -np.inf).max(axis=1)
    ten = np.log(10)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: dict[tuple[Method, Quantity], np.ndarray] = {
            ("envelope", "loss"): of_best(grid.log_loss_BxM),
            ("envelope", "params"): ten * of_best(grid.log_params_BxM),
            ("envelope", "samples"): ten * of_best(grid.log_samples_BxM),
            ("envelope", "return"): np.log(np.maximum(returns_B, 0)),
            ("isoflop", "loss"): np.where(np.isfinite(u_B), fitted.least_B, np.nan),
            ("isoflop", "params"): ten * u_B,
            ("isoflop", "samples"): ten * (_product(grid, there) - u_B),
        }
    good = {key: some_B & np.isfinite(value_B) for key, value_B in found.items()}
    return {key: (log_flops_B[good[key]], value_B[good[key]]) for key, value_B in found.items()}


def vertices(grid: Grid, drawn: Sequence[Drawn]) -> dict[float, tuple[float, float] | None]:
    """95 % interval of N at each budget's vertex, by budget in FLOPs; None where too few draws have a vertex."""
    found: dict[float, list[float]] = {flops: [] for flops in grid.flops_B.tolist()}
    by_log = {float(log_flops): flops for flops, log_flops in zip(found, np.log(grid.flops_B), strict=True)}
    for draw in drawn:
        for log_flops, log_params in zip(*draw["isoflop", "params"], strict=True):
            found[by_log[float(log_flops)]].append(float(np.exp(log_params)))
    return {flops: interval(values) for flops, values in found.items()}


def _product(grid: Grid, there: np.ndarray) -> np.ndarray:
    """log10 of N·D of each budget, the mean over its cells."""
    both = np.where(there, grid.log_params_BxM + grid.log_samples_BxM, 0)
    return both.sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def counts(runs: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each run was drawn, int64 [S, R]: `runs` draws with replacement; S is 0 for a single run."""
    return np.random.default_rng(seed).multinomial(runs, np.full(runs, 1 / runs), size=draws if runs > 1 else 0)


def resampled(grid: Grid, draws: int = DRAWS, seed: int = 0) -> list[Drawn]:
    """`optima` of each draw; none for a single run, whose draws would all be equal."""
    return [optima(grid, count_R) for count_R in counts(len(grid.runs), draws, seed)]


def surface_of(
    cells: Sequence[Cell],
    start: Surface | None = None,
    weights: np.ndarray | None = None,
    *,
    profiled: bool = False,
) -> Parametric | None:
    """L(N, D) fitted to `cells`; None where there are too few, or all of one size."""
    try:
        columns = ([getattr(cell, name) for cell in cells] for name in ("params", "samples", "loss"))
        return fit_surface(*columns, weights=weights, start=start, profiled=profiled)
    except ValueError:
        return None


def surfaces(cells: Sequence[Cell], start: Surface, draws: int, seed: int = 0) -> Iterator[Surface]:
    """L(N, D) of each bootstrap draw, fitted from `start`; draws that have no fit are left out."""
    runs = sorted({cell.run for cell in cells})
    number_P = np.array([runs.index(cell.run) for cell in cells])
    for count_R in counts(len(runs), draws, seed):
        count_P = count_R[number_P]
        there = np.flatnonzero(count_P)
        found = surface_of([cells[place] for place in there.tolist()], start, count_P[there])
        if found is not None:
            yield found.surface


def exponent(log_x: np.ndarray, log_y: np.ndarray) -> float:
    """Slope of the least-squares line; NaN with fewer than two distinct x."""
    away = log_x - log_x.mean() if len(log_x) else log_x
    spread = float(away @ away)
    return float(away @ log_y) / spread if spread > 0 else float("nan")


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float] | None:
    """95 % percentile interval of the finite values; None with fewer than `MIN_DRAWS`."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    if len(finite) < MIN_DRAWS:
        return None
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
