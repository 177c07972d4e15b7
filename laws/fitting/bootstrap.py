"""Parametric bootstrap of a study: every estimate again, from studies simulated by its generative model.

Sizes and budgets are what the study chose, so they stay; the noise is drawn anew (`laws.fitting.noise`). Every
interval is the basic (pivotal) one, from what the estimator makes of the noise: estimate - quantiles of (simulated -
noise-free) (Davison and Hinkley 1997, section 5.2). It is for the value that the same estimator gives on the study
without noise, and takes off the bias by noise, such as that of the best of several cells.

Shapes: B budgets, M cells of a budget, S simulated studies; `...` any of them, or none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from laws.fitting.isoflop import Cell, Quantity
from laws.fitting.noise import BLOCK, FREEDOM, NoiseModel, noise_of
from laws.fitting.parabola import MIN_CELLS, Grid, parabolas
from laws.fitting.parametric import Parametric, Surface, fit_surface
from laws.fitting.power import LEVEL, Z95, finite_exp

DRAWS = 1000
"""Simulated studies by default."""
MOST_LEFT_OUT = 500
"""Most runs of which each is left out in turn."""
SLOW_DRAWS = BLOCK
"""Simulated studies for the parametric law, which needs an iterative fit."""
MOST_SIMULATED = 4_000_000
"""Most cells of all simulated studies together; larger studies have fewer draws."""
TRIALS = 2000
"""Trials of how far estimates of noise lie off."""
MOST_RUNS = 60
"""Most runs whose weight in an estimate is looked at; the noise of more is known well."""
MOST_FITTED = 5_000
"""Cells on which the starts of L(N, D) are tried; more are fitted from the best of these."""
MIN_DRAWS = 100
"""Draws with a finite value that an interval needs."""
MIN_SHARE = 0.9
"""Share of draws that must have a value: an estimate that noise often makes impossible has no interval."""

AT_BEST = "at the least loss"
"""The return of the cell of least loss, where `envelope` takes the greatest return."""

Optima = Mapping[tuple[str, Quantity], tuple[np.ndarray, np.ndarray]]
"""By method, or `AT_BEST`, and quantity: ln C and ln of the quantity at each budget [..., B], NaN where it has none."""


def optima(grid: Grid, log_loss_BxM: np.ndarray, return_BxM: np.ndarray, least: int = MIN_CELLS) -> Optima:
    """The optima of every budget as they are reported, for losses and returns [..., B, M]."""
    there = grid.there_BxM
    loss = np.where(there, log_loss_BxM, np.inf)
    best_B = loss.argmin(axis=-1)[..., None]
    played = there & np.isfinite(grid.return_BxM)
    returns = np.where(played & np.isfinite(return_BxM), return_BxM, -np.inf)
    winner_B = returns.argmax(axis=-1)[..., None]

    def of(place: np.ndarray, value_BxM: np.ndarray) -> np.ndarray:
        return np.take_along_axis(np.broadcast_to(value_BxM, (*place.shape[:-1], there.shape[1])), place, -1)[..., 0]

    ten = math.log(10)
    at_best, least_B = of(best_B, grid.log_flops_BxM), _finite(of(best_B, loss))
    some_B = np.isfinite(least_B)
    fitted = parabolas(grid, loss, least=least)
    u_B = fitted.vertex_B
    vertex = np.broadcast_to(np.log(grid.flops_B), u_B.shape)
    return {
        ("envelope", "loss"): (at_best, least_B),
        ("envelope", "params"): (at_best, np.where(some_B, ten * of(best_B, grid.log_params_BxM), np.nan)),
        ("envelope", "samples"): (at_best, np.where(some_B, ten * of(best_B, grid.log_samples_BxM), np.nan)),
        ("envelope", "return"): (of(winner_B, grid.log_flops_BxM), _log(of(winner_B, returns))),
        (AT_BEST, "return"): (at_best, _log(of(best_B, returns))),
        ("isoflop", "loss"): (vertex, np.where(np.isfinite(u_B), fitted.least_B, np.nan)),
        ("isoflop", "params"): (vertex, ten * u_B),
        ("isoflop", "samples"): (vertex, ten * _between(u_B, grid, there, grid.log_samples_BxM, inside=False)),
        ("isoflop", "return"): (vertex, _log(_between(u_B, grid, played, return_BxM, inside=True))),
    }


def without_each_run(grid: Grid, least: int = MIN_CELLS) -> Optima | None:
    """Optima of the study without each of its runs in turn [R, B]; None with one run, or more than `MOST_LEFT_OUT`."""
    if not 1 < len(grid.runs) <= MOST_LEFT_OUT:
        return None
    found = []
    for run in range(len(grid.runs)):
        left = grid.run_BxM == run
        loss, returns = np.where(left, np.inf, grid.log_loss_BxM), np.where(left, np.nan, grid.return_BxM)
        rest = replace(grid, log_loss_BxM=loss, return_BxM=returns)
        found.append(optima(rest, loss, returns, least))
    return {
        key: (np.stack([each[key][0] for each in found]), np.stack([each[key][1] for each in found]))
        for key in found[0]
    }


def _finite(value: np.ndarray) -> np.ndarray:
    """`value`, NaN where it is infinite."""
    return np.where(np.isfinite(value), value, np.nan)


def _log(value: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(np.where(value > 0, value, np.nan))


def _between(u_B: np.ndarray, grid: Grid, there: np.ndarray, value_BxM: np.ndarray, *, inside: bool) -> np.ndarray:
    """Values at log10 N = `u` [..., B], linear between sizes (their mean where one occurs twice).

    Beyond the sizes the value is that of the last, or NaN if it must be `inside`.
    """
    found = np.full(u_B.shape, np.nan)
    for budget, here in enumerate(there):
        if not here.any():
            continue
        sizes, number, times = np.unique(grid.log_params_BxM[budget, here], return_inverse=True, return_counts=True)
        value = value_BxM[..., budget, here] @ (number[:, None] == np.arange(len(sizes))) / times
        u = u_B[..., budget]
        place = np.clip(np.searchsorted(sizes, u) - 1, 0, max(len(sizes) - 2, 0))
        following = np.minimum(place + 1, len(sizes) - 1)
        gap = sizes[following] - sizes[place]
        share = np.clip(np.divide(u - sizes[place], gap, out=np.zeros_like(u), where=gap > 0), 0, 1)
        value = np.broadcast_to(value, (*u.shape, len(sizes)))
        low, high = (np.take_along_axis(value, each[..., None], -1)[..., 0] for each in (place, following))
        outside = inside & ((u < sizes[0]) | (u > sizes[-1]))
        found[..., budget] = np.where(np.isnan(u) | outside, np.nan, low * (1 - share) + high * share)
    return found


def slopes(x_P: np.ndarray, y_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope, and value at x = 0, of the least-squares line through finite points [..., P]; NaN with fewer than two."""
    good = np.isfinite(x_P) & np.isfinite(y_P)
    count = np.maximum(good.sum(axis=-1), 1)
    x, y = np.where(good, x_P, 0), np.where(good, y_P, 0)
    mean_x, mean_y = x.sum(axis=-1) / count, y.sum(axis=-1) / count
    away = np.where(good, x - mean_x[..., None], 0)
    spread = np.sum(away**2, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(spread > 0, np.sum(away * y, axis=-1) / spread, np.nan)
    return slope, mean_y - slope * mean_x


@dataclass(frozen=True)
class Simulated:
    """Studies simulated from one: their optima, and those of the study without noise."""

    grid: Grid
    losses: NoiseModel
    returns: NoiseModel | None
    draws: Optima
    """[S, B]."""
    clean: Optima
    """[B]: of the mean of the model."""
    log_loss: np.ndarray
    """Simulated ln loss [S, B, M], of which the parametric law takes the first."""
    return_SxBxM: np.ndarray
    """Simulated mean return; NaN without returns, of which there is then one draw."""
    mean_return_BxM: np.ndarray
    """The mean return of the model; NaN without returns."""
    least: int
    """Sizes that a parabola needs."""
    noise: tuple["RunNoise", ...]
    """Of the losses, and of the returns where there are any."""

    def counted(self, grid: Grid) -> "Simulated":
        """The same simulated studies with compute and sizes as in `grid`, whose cells are in the same places."""
        draws = optima(grid, self.log_loss, self.return_SxBxM, self.least)
        clean = optima(grid, self.losses.mean_BxM, self.mean_return_BxM, self.least)
        return replace(self, grid=grid, draws=draws, clean=clean)


@dataclass(frozen=True)
class RunNoise:
    """The noise of runs in simulated studies, and what the study tells of its variance."""

    drawn_SxR: np.ndarray
    """Standardised noise of each run."""
    trial_TxR: np.ndarray
    """More of the kind, to see how far estimates of the variance lie off."""
    ratio_T: np.ndarray
    """Estimated over true standard deviation in each trial."""
    ratio_within_T: np.ndarray
    """The same of what varies within runs."""

    def shuffled(self, studies_S: np.ndarray) -> "RunNoise":
        """The noise of these simulated studies in this order, and trials that are others than those of a like study."""
        order = np.random.default_rng(0).permutation(len(self.ratio_T))
        trial = self.trial_TxR[order], self.ratio_T[order], self.ratio_within_T[order]
        return RunNoise(self.drawn_SxR[studies_S], *trial)


def _run_noise(model: NoiseModel, drawn_SxR: np.ndarray, seed: int) -> RunNoise:
    random = np.random.default_rng(seed)
    runs = len(model.left_RxR)
    trial = random.standard_normal((TRIALS, runs if runs <= MOST_RUNS else 1))
    if runs <= MOST_RUNS:
        square = np.einsum("tr,rs,ts->t", trial, model.left_RxR, trial)
    else:
        square = random.chisquare(model.freedom, TRIALS)
    within = model.freedom_within
    ratio = np.sqrt(random.chisquare(within, TRIALS) / within) if within else np.ones(TRIALS)
    return RunNoise(drawn_SxR, trial, np.sqrt(square / model.freedom), ratio)


def _widened(off_S: np.ndarray, noise: Sequence[RunNoise]) -> float:
    """Factor by which an interval with estimated noise is wider than with known noise; Student's t for linear models.

    An estimate follows the noise of single runs, by weights that the draws show. The runs' variance is estimated from
    what the mean leaves of the same noise, so that the two go together more or less. The factor is the mean of what
    `TRIALS` of both say, and of what they would say if both were independent (Student's t).
    """
    rest = off_S - off_S.mean()
    total = float(rest @ rest) / len(rest)
    if total <= 0:
        return 1.0
    above, below, explained = np.zeros(TRIALS), np.zeros(TRIALS), 0.0
    for each in noise:
        drawn, trial = each.drawn_SxR, each.trial_TxR
        if trial.shape[1] == drawn.shape[1]:
            weight = np.linalg.lstsq(drawn.T @ drawn, drawn.T @ rest, rcond=None)[0]
            # Chance correlations with the draws are no weights.
            square, rest = float(weight @ weight), rest - drawn @ weight
            chance = len(weight) / max(len(rest) - len(weight), 1) * float(rest @ rest) / len(rest)
            share = max(square - chance, 0.0)
            weight *= math.sqrt(share / square) if square else 0.0
        else:
            # Of some runs alone the estimate's weights aren't known, as with too many.
            share = total / len(noise)
            weight = np.full(trial.shape[1], math.sqrt(share / trial.shape[1]))
        above += trial @ weight
        below += share * each.ratio_T**2
        explained += share
    left = max(total - explained, 0.0)
    random = np.random.default_rng(1)
    above += math.sqrt(left) * random.standard_normal(TRIALS)
    below += left * noise[0].ratio_within_T ** 2
    apart = math.sqrt(total) * random.standard_normal(TRIALS)
    return float(np.mean(np.quantile(np.abs([above, apart]) / np.sqrt(below), LEVEL, axis=1))) / Z95


def basic(
    estimate: float, drawn_S: np.ndarray, clean: float, noise: Sequence[RunNoise], *, centred: bool = False
) -> tuple[float, float] | None:
    """95 % basic interval: `estimate` less the quantiles of what `noise` does to it, `drawn` - `clean`.

    These are widened for what a few runs tell of their noise. An estimate that jumps between a few values, or that has
    come to a bound, is a bad guide to its own bias: its interval is `centred` on it, as far to both sides as the wider
    one. None without a finite estimate, or with too few draws that have a value.
    """
    good = np.isfinite(drawn_S)
    if not (math.isfinite(estimate) and math.isfinite(clean)):
        return None
    if good.sum() < max(MIN_DRAWS, MIN_SHARE * len(drawn_S)):
        return None
    off = drawn_S[good] - clean
    low, middle, high = np.quantile(off, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    by = _widened(off, [replace(each, drawn_SxR=each.drawn_SxR[: len(good)][good]) for each in noise])
    if centred:
        half = by * max(high - middle, middle - low)
        return float(estimate - half), float(estimate + half)
    ends = estimate - middle - by * (high - middle), estimate - middle - by * (low - middle)
    # Where noise biases the estimate by more than it scatters, the interval still reaches to what it is printed beside.
    return float(min(ends[0], estimate)), float(max(ends[1], estimate))


def basic_of_log(
    log_estimate: float, log_drawn_S: np.ndarray, log_clean: float, noise: Sequence[RunNoise], *, centred: bool = False
) -> tuple[float, float] | None:
    """`basic` of a logarithm, as an interval of the value itself."""
    ends = basic(log_estimate, log_drawn_S, log_clean, noise, centred=centred)
    return None if ends is None else (finite_exp(ends[0]), finite_exp(ends[1]))


def simulate(
    grid: Grid, draws: int, surface: Surface | None = None, least: int = MIN_CELLS, seed: int = 0
) -> Simulated | None:
    """`draws` studies like the one in `grid`; None where its noise can't be told, or with fewer than `MIN_DRAWS`.

    `surface` is L(N, D) of the study, where it has one.
    """
    there = grid.there_BxM
    draws = min(draws, MOST_SIMULATED // there.size)
    if draws < MIN_DRAWS:
        return None
    log_loss = np.where(there, grid.log_loss_BxM, np.nan)
    place = grid.log_params_BxM, grid.log_samples_BxM, grid.run_BxM
    losses = noise_of(log_loss, grid.loss_error_BxM, *place, surface)
    if losses is None or losses.freedom < FREEDOM:
        return None
    returns, drawn_return, mean_return = None, np.full((1, *there.shape), np.nan), np.full(there.shape, np.nan)
    of_returns: tuple[RunNoise, ...] = ()
    if np.isfinite(grid.return_BxM).any():
        returns, drawn_return, mean_return, of_returns = _returns(grid, draws, seed, losses.mean_BxM)
    drawn_loss, shared = losses.draw(draws, seed)
    return Simulated(
        grid,
        losses,
        returns,
        optima(grid, drawn_loss, drawn_return, least),
        optima(grid, losses.mean_BxM, mean_return, least),
        drawn_loss,
        drawn_return,
        mean_return,
        least,
        (_run_noise(losses, shared, seed + 2), *of_returns),
    )


def _returns(
    grid: Grid, draws: int, seed: int, log_loss_BxM: np.ndarray
) -> tuple[NoiseModel | None, np.ndarray, np.ndarray, tuple[RunNoise, ...]]:
    """The noise of the returns, simulated ones [S, B, M], and their mean; NaN where the noise can't be told.

    Of ln R where all are positive, since noise grows with the return; else of R. They may follow the mean ln loss.
    """
    value = grid.return_BxM
    log = bool(np.all(value[np.isfinite(value)] > 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = np.log(value) if log else value
        error = grid.return_error_BxM / value if log else grid.return_error_BxM
    place = grid.log_params_BxM, grid.log_samples_BxM, grid.run_BxM
    # Scores may be of any size; those of logarithms are not.
    unit = 1.0 if log else float(np.nanstd(measured)) or 1.0
    found = noise_of(measured / unit, error / unit, *place, along_BxM=log_loss_BxM - np.nanmean(log_loss_BxM))
    found = found and found.times(unit)
    if found is None or found.freedom < FREEDOM:
        return None, np.full((draws, *value.shape), np.nan), np.full(value.shape, np.nan), ()
    drawn, shared = found.draw(draws, seed + 1)
    noise = (_run_noise(found, shared, seed + 3),)
    mean = found.mean_BxM
    return (found, np.exp(np.clip(drawn, -300, 300)), np.exp(mean), noise) if log else (found, drawn, mean, noise)


def surface_of(cells: Sequence[Cell], start: Surface | None = None, *, profiled: bool = False) -> Parametric | None:
    """L(N, D) fitted to `cells`; None where there are too few, or all of one size."""
    try:
        params, samples, loss = (
            np.array([getattr(cell, name) for cell in cells]) for name in ("params", "samples", "loss")
        )
        if len(cells) > MOST_FITTED and start is None:
            some = np.random.default_rng(0).permutation(len(cells))[:MOST_FITTED]
            start = fit_surface(params[some], samples[some], loss[some], profiled=False).surface
        return fit_surface(params, samples, loss, start=start, profiled=profiled)
    except ValueError:
        return None
