"""The generative model of a study: a smooth mean over (N, D), noise between runs, and noise of each measurement.

A measured value (ln loss, or the return) of run r at a cell is mean(N, D) + scale (b_r + e) + f with
b_r ~ N(0, between²), which all cells of the run share, e ~ N(0, within²), and f ~ N(0, error²), `error` the known
standard error of the measurement. The mean is a polynomial or L(N, D); the two variances are estimated by restricted
maximum likelihood (Patterson and Thompson 1971), which counts what the mean takes up. Where sizes are replicated, they
are those about the mean of each (budget, size), so that misfit of the surface is not taken for noise; and there the
scale is a power of the loss, if the replicates tell that noise differs between cells: networks that have learned little
differ more from seed to seed. Else it is 1.

Shapes: P cells, ordered by run; R runs; K terms of the mean; S simulated studies.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from laws.fitting.mixed import (
    LEAST,
    Components,
    RunData,
    aicc,
    components,
    power_of_scale,
    replicated_components,
    solve,
)
from laws.fitting.parametric import Misfit, Surface

AS_GOOD = 6.0
"""Difference of AICc up to which a mean that leaves more freedom is taken instead of the best."""
POLYNOMIALS = ("quadratic", "cubic", "quartic", "quintic")
"""Polynomials in ln N and ln D that the mean may be."""
WORST_CONDITION = 1e6
"""Condition number of the terms above which the cells don't determine a mean; its square is that of the fit."""
FREEDOM = 2.5
"""Degrees of freedom between runs below which an interval would be more than twice as wide as with known noise."""
MOST_CELLS = 3_000
"""Cells to which the noise is fitted, at most: variances of thousands are known well enough."""
BLOCK = 400
"""Simulated studies whose noise has its moments matched together."""
MATCHED = 0.75
"""Noise variables per simulated study up to which their covariance is matched."""


@dataclass(frozen=True)
class NoiseModel:
    """The mean of every cell of a grid, and the noise about it."""

    mean_BxM: np.ndarray
    """Mean value of each cell; NaN where there is none."""
    run_BxM: np.ndarray
    runs: int
    between: float
    """Standard deviation of the noise that all cells of a run share."""
    within: float
    """Standard deviation of the noise of a cell beyond its standard error of measurement."""
    scale_BxM: np.ndarray
    """By which the noise of a cell is larger or smaller."""
    error_BxM: np.ndarray
    """Standard error of measurement of each cell; 0 where unknown."""
    freedom_within: float
    """Those within runs; 0 where each cell is a run of its own."""
    left_RxR: np.ndarray
    """What the fitted mean leaves of the noise of runs: their variance is estimated as noise · left · noise / freedom.
    Identity over runs, scaled, with more than `MOST_RUNS` of them."""
    mean: str
    """The form of the mean: one of `POLYNOMIALS`, `L(N, D)`, or `along`."""
    replicated: bool
    """Whether the noise was taken from runs of one size."""

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the noise between runs."""
        return float(np.trace(self.left_RxR))

    def times(self, unit: float) -> "NoiseModel":
        """The model of values so many times as large."""
        parts = ("mean_BxM", "between", "within", "error_BxM")
        return replace(self, **{name: getattr(self, name) * unit for name in parts})

    def draw(self, draws: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Simulated values of every cell [S, B, M], and the noise of each run in them, standardised [S, R]."""
        there = np.isfinite(self.mean_BxM)
        scale_P = self.scale_BxM[there]
        own_P = np.hypot(self.within * scale_P, np.maximum(self.error_BxM[there], LEAST))
        drawn = matched_normal(np.random.default_rng(seed), draws, self.runs + len(own_P))
        shared = drawn[:, : self.runs]
        value = np.full((draws, *there.shape), math.nan)
        value[:, there] = self.mean_BxM[there] + self.between * scale_P * shared[:, self.run_BxM[there]]
        value[:, there] += own_P * drawn[:, self.runs :]
        return value, shared


def matched_normal(random: np.random.Generator, draws: int, columns: int) -> np.ndarray:
    """Standard normal noise [draws, columns]; within blocks of `BLOCK` draws its mean is 0 and its covariance one.

    What is linear in the noise then has its exact mean and standard deviation, which independent draws would miss by
    one part in the square root of twice their number. With many columns for the draws, only their variances match.
    """
    drawn = random.standard_normal((draws, columns))
    for begin in range(0, draws, BLOCK):
        block = drawn[begin : begin + BLOCK]
        block -= block.mean(axis=0)
        if columns <= MATCHED * len(block):
            variance, turn = np.linalg.eigh(block.T @ block / len(block))
            block[:] = block @ (turn / np.sqrt(variance)) @ turn.T
        else:
            block /= np.sqrt(np.mean(block**2, axis=0))
    return drawn


def noise_of(
    value_BxM: np.ndarray,
    error_BxM: np.ndarray,
    log_params_BxM: np.ndarray,
    log_samples_BxM: np.ndarray,
    run_BxM: np.ndarray,
    surface: Surface | None = None,
    along_BxM: np.ndarray | None = None,
) -> NoiseModel | None:
    """The noise of a study from its values [B, M], NaN where there is none; None where it can't be told from the mean.

    Args:
        value_BxM: ln losses, or returns.
        error_BxM: Their standard errors of measurement; NaN where unknown.
        log_params_BxM: log10 N.
        log_samples_BxM: log10 D.
        run_BxM: The run of each cell.
        surface: L(N, D) fitted to the losses whose logarithms the values are; adds that form of the mean.
        along_BxM: What the values may follow, such as the mean ln loss that returns follow; adds polynomials in it.
    """
    there = np.isfinite(value_BxM)
    place = np.flatnonzero(there)
    if len(place) < 4:
        return None
    used = place
    if len(place) > MOST_CELLS:
        # Whole runs, so that what their cells share is seen.
        keep = np.random.default_rng(0).permutation(np.unique(run_BxM[there]))
        sizes = np.cumsum(np.bincount(run_BxM[there])[keep])
        used = place[np.isin(run_BxM.ravel()[place], keep[: max(1, int(np.searchsorted(sizes, MOST_CELLS)))])]
    used = used[np.argsort(run_BxM.ravel()[used], kind="stable")]
    run = run_BxM.ravel()[used]
    columns = [each.ravel()[used] for each in (value_BxM, log_params_BxM, log_samples_BxM)]
    error = np.nan_to_num(error_BxM, nan=0.0)
    compact = np.cumsum(np.r_[False, np.diff(run) > 0])
    scale = [(float(each.mean()), max(float(each.std()), 1e-9)) for each in columns[1:]]
    n, d = ((each - middle) / spread for each, (middle, spread) in zip(columns[1:], scale, strict=True))
    data = RunData(columns[0], np.maximum(error.ravel()[used], LEAST), compact)
    along = None if along_BxM is None else along_BxM.ravel()[used]
    cell = np.unique(np.stack([used // value_BxM.shape[1], columns[1]]), axis=1, return_inverse=True)[1].ravel()
    all_n = (log_params_BxM - scale[0][0]) / scale[0][1]
    all_d = (log_samples_BxM - scale[1][0]) / scale[1][1]
    # What noise may hang on: how far the cell has come, as the loss tells.
    log_place_BxM = _cell_means(value_BxM, log_params_BxM) if along_BxM is None else along_BxM
    power = power_of_scale(data, cell, log_place_BxM.ravel()[used])
    unequal_BxM = np.where(there, np.exp(power * (log_place_BxM - np.mean(log_place_BxM[there]))), 1.0)
    unequal = unequal_BxM.ravel()[used]
    data = RunData(data.y_P / unequal, data.error_P / unequal, compact)
    candidates = list(_candidates(data, unequal, surface, (n, d), (columns[1], columns[2]), along))
    if not candidates:
        return None
    least = min(found.score for _, found, _ in candidates)
    usable = [each for each in candidates if each[1].freedom >= FREEDOM and each[1].score <= least + AS_GOOD]
    name, best, predict = min(usable or candidates, key=lambda each: each[1].score)
    noise, replicated = best, False
    if (own := replicated_components(data, cell)) is not None:
        noise, replicated = own, True
    mean = predict(all_n, all_d, log_params_BxM, log_samples_BxM, along_BxM)
    return NoiseModel(
        np.where(there, mean, np.nan),
        run_BxM,
        int(run_BxM.max()) + 1,
        noise.between,
        noise.within,
        unequal_BxM,
        np.where(there, error, 0.0),
        noise.freedom_within,
        noise.left_RxR,
        name,
        replicated,
    )


def _cell_means(value_BxM: np.ndarray, log_params_BxM: np.ndarray) -> np.ndarray:
    """The mean value of the cells of a budget and size, at each of these."""
    found = value_BxM.copy()
    for value, sizes in zip(found, log_params_BxM, strict=True):
        here = np.isfinite(value)
        _, number, times = np.unique(sizes[here], return_inverse=True, return_counts=True)
        value[here] = (np.bincount(number, value[here]) / times)[number]
    return found


def _terms(n: np.ndarray, d: np.ndarray, order: int) -> np.ndarray:
    """Monomials of n and d up to `order` [..., K]."""
    return np.stack([n**i * d**j for i in range(order + 1) for j in range(order + 1 - i)], axis=-1)


_Pair = tuple[np.ndarray, np.ndarray]
_Predict = Callable[..., np.ndarray]
"""From standardised log N and log D, log10 N, log10 D and `along` to the mean."""


def _candidates(
    data: RunData, scale_P: np.ndarray, surface: Surface | None, standard: _Pair, log: _Pair, along_P: np.ndarray | None
) -> Iterator[tuple[str, Components, _Predict]]:
    """(name, components, prediction) of every form of the mean that the cells determine.

    `data` is divided by `scale`. N and D of the cells are given as `standard`ised logarithms, and as log10.
    """
    divide = 1 / scale_P[:, None]
    for order in (2, 3, 4):
        if along_P is None or len(along_P) <= 8:
            break
        powers = np.arange(order + 1)
        found, beta = components(data, data.y_P, divide * along_P[:, None] ** powers)
        yield (
            "along",
            found,
            lambda _n, _d, _ln, _ld, along, powers=powers, beta=beta: along[..., None] ** powers @ beta,
        )
    for order, name in enumerate(POLYNOMIALS, start=2):
        terms = _terms(*standard, order)
        if terms.shape[1] + 2 >= len(terms) or np.linalg.cond(terms) > WORST_CONDITION:
            continue
        found, beta = components(data, data.y_P, divide * terms)
        if found.freedom >= 1:
            yield name, found, lambda n, d, _n, _d, _along, order=order, beta=beta: _terms(n, d, order) @ beta
    if surface is not None and len(data.y_P) > 7:
        found, fitted = _surface_components(data, scale_P, surface, *log)
        if found is not None and found.freedom >= 1:
            yield "L(N, D)", found, lambda _n, _d, n, d, _along: np.log(fitted.predict(10.0**n, 10.0**d))


def _surface_components(
    data: RunData, scale_P: np.ndarray, surface: Surface, log_n: np.ndarray, log_d: np.ndarray
) -> tuple[Components | None, Surface]:
    """L(N, D) by generalised least squares from `surface`: Gauss-Newton steps, each with its variances."""
    y_P = data.y_P * scale_P
    try:
        misfit = Misfit.of(10.0**log_n, 10.0**log_d, np.exp(y_P))
    except ValueError:
        return None, surface
    order = np.lexsort((np.exp(y_P), 10.0**log_d, 10.0**log_n)[::-1])
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    theta = misfit.theta(surface)
    low, high = misfit.bounds_2xK
    found = None
    variances: tuple[float, float] | None = None
    for step in range(12):
        whole, term = misfit.terms(theta)
        slope = np.stack([1 / whole, *(term / whole), *(-misfit.place_2xP * term / whole)], axis=1)[back]
        slope /= scale_P[:, None]
        free = ~((theta <= low + 1e-9) | (theta >= high - 1e-9))
        residual = (y_P - misfit.log_level - np.log(whole)[back]) / scale_P
        if np.linalg.matrix_rank(slope[:, free]) < free.sum():
            free &= np.array([False, True, True, True, True])
        if step in (0, 3):
            found, beta = components(data, residual, slope[:, free])
            variances = found.between, found.within
        else:
            beta = solve(data, residual, slope[:, free], *(variances or (0.0, 1.0)))
        if np.max(np.abs(beta), initial=0) < 1e-7:
            break
        theta = theta.copy()
        theta[free] += beta * min(1.0, 0.5 / max(np.max(np.abs(beta)), 1e-12))
        theta = np.clip(theta, low, high)
    if found is None:
        return None, surface
    whole, _ = misfit.terms(theta)
    residual = (y_P - misfit.log_level - np.log(whole)[back]) / scale_P
    score = aicc(data, residual, found.between, found.within, 5)
    return replace(found, score=score), misfit.surface(theta)
