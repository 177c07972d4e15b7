"""Laws of the best learning rate and batch size against N and D, from the runs of a sweep.

About its optimum the loss of each (N, D) is taken as quadratic, with one curvature H for all of them:

    ln L = m(N, D) + (ln x - ln x*)' H (ln x - ln x*) / 2,    ln x* = a + b ln N + c ln D,

x the learning rate, the batch size or both. Multiplied out, that is linear in m, H and H·(a, b, c), so all runs are
fitted at once, those whose best setting is the last that was tried too. Optima that are power laws of N and D are what
Li et al. (arXiv 2503.04715) and Bi et al. (arXiv 2401.02954) find for language models.

Shapes: P runs at a cell; C cells (N, D); T tuned settings; K terms of ln x*: 1, ln N, ln D; S draws.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import optimize

from eval.results import ResultRow
from laws.fitting.mixed import LinearMean, linear_mean
from laws.fitting.noise import FREEDOM
from laws.fitting.power import LEVEL, finite_exp
from laws.rows.budgets import binned

Setting = Literal["lr", "batch"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)
Scale = Literal["params", "samples"]
SCALES: tuple[Scale, ...] = get_args(Scale)
LETTERS: dict[Scale, str] = {"params": "N", "samples": "D"}

NEAR = 0.1
"""ln L above the least of its cell up to which a run is taken as near the optimum, where the loss is quadratic."""
LEAST_SPREAD = 0.1
"""Standard deviation of ln N, or of ln D beyond what follows from ln N, that an exponent needs."""
MOST_SWEEPS = 200
"""Cells that are fitted, at most: of a table of training curves some of each curve."""
DRAWS = 4000
"""Draws from the distribution of the estimates."""
_LEAST_CURVATURE = 1e-3
"""Curvature, by itself and as a share of the largest, from which the search for a mode starts at least."""
MOST_WITHOUT = 0.02
"""Share of draws without an optimum, by a curvature that isn't positive, above which there is no interval."""


@dataclass(frozen=True)
class Sweep:
    """The runs of one network on as many samples."""

    params: int
    samples: int
    rows: tuple[ResultRow, ...]
    """Those near the optimum."""
    tried: int
    """Number of settings, those far from the optimum included."""

    @property
    def best(self) -> ResultRow:
        """The row of least loss."""
        return min(self.rows, key=lambda row: row.loss or math.inf)


@dataclass(frozen=True)
class Optimum:
    """A best setting, with its 95 % interval."""

    value: float
    interval: tuple[float, float] | None
    """None where the sweep doesn't tell its noise, or hardly a curvature."""


@dataclass(frozen=True)
class Prior:
    """What is believed before any run: the exponents are normal and independent.

    So are the optima at the mean ln N and ln D, but among the settings that were tried near them, whose ends are one
    standard deviation from the middle: a loss that falls up to the last setting doesn't tell how far the best is.
    """

    means: Mapping[Setting, Mapping[Scale, float]]
    """0 where there is none."""
    sd: float

    def mean(self, settings: Sequence[Setting]) -> np.ndarray:
        """Those of N and D, by setting [T, 2]."""
        return np.array([[self.means[name].get(scale, 0.0) for scale in SCALES] for name in settings])


@dataclass(frozen=True)
class TunedLaw:
    """ln x* = a + b ln N + c ln D for each tuned setting x."""

    settings: tuple[Setting, ...]
    """What was tuned, T."""
    scales: tuple[Scale, ...]
    """What the optima depend on; what the sweep doesn't vary, or not by itself, is left out."""
    sweeps: tuple[Sweep, ...]
    centre_K: np.ndarray
    """ln N and ln D at which a is taken, below 0 for the constant."""
    coefficient_TxK: np.ndarray
    draws_SxTxK: np.ndarray
    """Empty where the noise can't be told."""

    def exponent(self, setting: Setting, scale: Scale) -> Optimum:
        """The exponent of N or D in the law of a setting."""
        place = self.settings.index(setting), 1 + self.scales.index(scale)
        return Optimum(float(self.coefficient_TxK[place]), _interval(self.draws_SxTxK[:, *place]))

    def coefficient(self, setting: Setting) -> float:
        """The setting at N = D = 1, in its own units."""
        a, *exponents = self.coefficient_TxK[self.settings.index(setting)].tolist()
        return finite_exp(a - float(np.dot(exponents, self.centre_K[1:])))

    def optimum(self, setting: Setting, params: float, samples: float) -> Optimum:
        """The best setting at N and D, in its own units."""
        place = self.settings.index(setting)
        at_K = _terms(self.scales, params, samples) - self.centre_K
        ends = _interval(self.draws_SxTxK[:, place] @ at_K)
        value = finite_exp(float(self.coefficient_TxK[place] @ at_K))
        return Optimum(value, None if ends is None else (finite_exp(ends[0]), finite_exp(ends[1])))


def sweeps_of(rows: Sequence[ResultRow], near: float = NEAR) -> list[Sweep]:
    """The cells (N, D) with several settings, smallest network first, at most `MOST_SWEEPS`.

    D within 5 % are one cell, to which a training gives its last checkpoint.
    """
    found = []
    of_size: dict[int, list[ResultRow]] = defaultdict(list)
    for row in rows:
        if row.loss:
            of_size[row.params].append(row)
    for params, same in sorted(of_size.items()):
        for places in binned([row.samples for row in same]):
            cell = list({(same[place].run, same[place].seed): same[place] for place in places}.values())
            tried = len({tuple(getattr(row, name) for name in SETTINGS) for row in cell})
            least = min(math.log(row.loss or 0) for row in cell)
            kept = tuple(row for row in cell if math.log(row.loss or 0) <= least + near)
            if tried > 1:
                samples = round(math.exp(np.mean([math.log(row.samples) for row in cell])))
                found.append(Sweep(params, samples, kept, tried))
    step = math.ceil(len(found) / MOST_SWEEPS)
    return found[:: max(step, 1)]


def tuned_law(
    rows: Sequence[ResultRow], near: float = NEAR, against: Sequence[Scale] = SCALES, prior: Prior | None = None
) -> TunedLaw:
    """The laws of the settings that differ between the runs of a cell.

    Args:
        rows: Of one game. The mean over seeds of a cell is where the quadratic goes through.
        near: Runs whose ln L is at most so much above the least of their cell are fitted.
        against: What the optima may depend on.
        prior: With it the law is the mode of the posterior, and always has both exponents. It takes effect where the
            noise can be told, and then needs no minimum inside the settings that were tried.

    Raises:
        ValueError: the runs don't determine an optimum; says why.
    """
    settings = _tuned(sweeps_of(rows, near))
    if not settings:
        raise ValueError("no two runs of one size and as many samples have different learning rates or batch sizes")
    sweeps = sweeps_of([row for row in rows if all(getattr(row, name) for name in settings)], near)
    scales = _scales(sweeps, against)
    place_CxK = np.array([_terms(scales, cell.params, cell.samples) for cell in sweeps])
    centre_K = place_CxK.mean(axis=0)
    centre_K[0] = 0.0
    cell_P = np.repeat(np.arange(len(sweeps)), [len(cell.rows) for cell in sweeps])
    used = [row for cell in sweeps for row in cell.rows]
    x_PxT = np.log([[getattr(row, name) for name in settings] for row in used])
    middle_T = x_PxT.mean(axis=0)
    loss_P = np.array([math.log(row.loss or math.nan) for row in used])
    runs = {run: number for number, run in enumerate(dict.fromkeys((row.run, row.seed) for row in used))}
    run_P = np.array([runs[row.run, row.seed] for row in used])
    own = (cell_P[:, None] == np.arange(len(sweeps))).astype(float)
    for pairs in _curvatures(len(settings)):
        design = _design(own, x_PxT - middle_T, (place_CxK - centre_K)[cell_P], pairs)
        if np.linalg.matrix_rank(design) == design.shape[1] < len(loss_P):
            break
    else:
        raise ValueError(
            f"{len(used)} runs within {near:g} of the least ln loss of their size don't determine a curvature: train"
            " at least three settings of some size, with the best inside"
        )
    fitted = linear_mean(loss_P, design, run_P)
    curved = slice(own.shape[1], None)
    linear = LinearMean(fitted.beta_K[curved], fitted.covariance_KxK[curved, curved], fitted.freedom)
    if prior is not None and fitted.freedom >= FREEDOM:
        all_CxK = np.array([_terms(SCALES, cell.params, cell.samples) for cell in sweeps])
        told_CxK, centre_K = place_CxK - centre_K, np.r_[0.0, all_CxK[:, 1:].mean(axis=0)]
        shared_KxF = np.linalg.lstsq(told_CxK, all_CxK - centre_K, rcond=None)[0]
        half_T = np.ptp(x_PxT, axis=0) / 2
        mean_TxF = np.c_[x_PxT.min(axis=0) + half_T - middle_T, prior.mean(settings)]
        sd_TxF = np.c_[half_T, np.full_like(prior.mean(settings), prior.sd)]
        coefficient, draws = _mode(linear, pairs, shared_KxF, mean_TxF, sd_TxF)
        coefficient[:, 0] += middle_T
        draws[:, :, 0] += middle_T
        return TunedLaw(settings, SCALES, tuple(sweeps), centre_K, coefficient, draws)
    coefficient = _solved(linear.beta_K[None], pairs, middle_T)[0]
    if not np.isfinite(coefficient).all():
        raise ValueError(
            f"the loss has no minimum in {' and '.join(settings)}: train settings on both sides of the best"
        )
    draws = np.empty((0, *coefficient.shape))
    if fitted.freedom >= FREEDOM:
        draws = _solved(_drawn(linear), pairs, middle_T)
    return TunedLaw(settings, scales, tuple(sweeps), centre_K, coefficient, draws)


def _tuned(sweeps: Sequence[Sweep]) -> tuple[Setting, ...]:
    """The settings that differ between the runs of a cell."""
    return tuple(
        name for name in SETTINGS if any(len({getattr(row, name) for row in cell.rows} - {None}) > 1 for cell in sweeps)
    )


def _terms(scales: Sequence[Scale], params: float, samples: float) -> np.ndarray:
    """1, ln N and ln D, as far as `scales` has them [K]."""
    value = {"params": params, "samples": samples}
    return np.array([1.0, *(math.log(value[scale]) for scale in scales)])


def _scales(sweeps: Sequence[Sweep], against: Sequence[Scale]) -> tuple[Scale, ...]:
    """Those of `against` that the cells differ in; D only if it is not a function of N."""
    found: list[Scale] = []
    before = np.ones((len(sweeps), 1))
    for scale in SCALES:
        if scale not in against:
            continue
        value_C = np.log([getattr(cell, scale) for cell in sweeps])
        rest_C = value_C - before @ np.linalg.lstsq(before, value_C, rcond=None)[0]
        if float(np.std(rest_C)) > LEAST_SPREAD:
            found.append(scale)
            before = np.column_stack([before, value_C])
    return tuple(found)


def _curvatures(settings: int) -> list[list[tuple[int, int]]]:
    """Entries of H to fit: all of its upper triangle, or where the runs don't determine that, its diagonal."""
    diagonal = [(place, place) for place in range(settings)]
    return [[*diagonal, (0, 1)], diagonal] if settings > 1 else [diagonal]


def _design(own_PxC: np.ndarray, x_PxT: np.ndarray, at_PxK: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Terms of ln L: the cells, the entries of H, and H·(a, b, c) by setting."""
    curved = [x_PxT[:, i] * x_PxT[:, j] / (2 if i == j else 1) for i, j in pairs]
    tilted = [-x_PxT[:, place, None] * at_PxK for place in range(x_PxT.shape[1])]
    return np.column_stack([own_PxC, *curved, *tilted])


def _solved(beta: np.ndarray, pairs: Sequence[tuple[int, int]], middle_T: np.ndarray) -> np.ndarray:
    """(a, b, c) [S, T, K] from the terms [S, …] that follow the cells' in `_design`; NaN where H isn't positive."""
    settings = len(middle_T)
    curvature = np.zeros((len(beta), settings, settings))
    for place, (i, j) in enumerate(pairs):
        curvature[:, i, j] = curvature[:, j, i] = beta[:, place]
    tilt = beta[:, len(pairs) :].reshape(len(beta), settings, -1)
    bent = np.linalg.eigvalsh(curvature)[:, 0] > 0
    curvature[~bent] = np.eye(settings)
    found = np.linalg.solve(curvature, tilt)
    found[:, :, 0] += middle_T
    found[~bent] = np.nan
    return found


def _drawn(fitted: LinearMean) -> np.ndarray:
    """Draws of the coefficients [S, K], of Student's distribution with the freedom of the noise."""
    random = np.random.default_rng(0)
    error_K = np.sqrt(np.diag(fitted.covariance_KxK))
    # Of correlations, since variances span many powers of ten, and rounding may make the least of these negative.
    variance_K, axes_KxK = np.linalg.eigh(fitted.covariance_KxK / np.outer(error_K, error_K))
    standard = random.normal(size=(DRAWS, len(error_K))) @ (axes_KxK * np.sqrt(np.maximum(variance_K, 0.0))).T
    wide = np.sqrt(fitted.freedom / random.chisquare(fitted.freedom, DRAWS))[:, None]
    return fitted.beta_K + wide * standard * error_K


def _mode(
    fitted: LinearMean,
    pairs: Sequence[tuple[int, int]],
    shared_KxF: np.ndarray,
    mean_TxF: np.ndarray,
    sd_TxF: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The mode of (a, b, c) [T, F] with a normal prior, and draws about it [S, T, F] (Laplace).

    a is bounded to one standard deviation from its mean.

    `fitted` has the terms that follow the cells' in `_design`, normal with their covariance. The F = 3 terms of the
    optima are `shared` @ those that the cells tell apart, K.
    """
    settings = len(mean_TxF)
    curvature = np.zeros((settings, settings))
    for place, (i, j) in enumerate(pairs):
        curvature[i, j] = curvature[j, i] = fitted.beta_K[place]
    # The nearest curvature that is positive: noise may bend a flat direction downwards.
    value_T, axes_TxT = np.linalg.eigh(curvature)
    least = max(_LEAST_CURVATURE, _LEAST_CURVATURE * value_T[-1])
    root = np.linalg.cholesky((axes_TxT * np.maximum(value_T, least)) @ axes_TxT.T)
    # The entries of H's root, then (a, b, c): with the root H stays positive.
    free = tuple(np.array(sorted((j, i) if i < j else (i, j) for i, j in pairs)).T)
    white = np.linalg.cholesky(np.linalg.pinv(fitted.covariance_KxK, hermitian=True)).T

    def law(point: np.ndarray) -> np.ndarray:
        return point[..., len(pairs) :].reshape(*point.shape[:-1], settings, -1)

    def away(point: np.ndarray) -> np.ndarray:
        root[free] = point[: len(pairs)]
        curvature, found_Tx3 = root @ root.T, law(point)
        terms = np.r_[[curvature[pair] for pair in pairs], (curvature @ found_Tx3 @ shared_KxF.T).ravel()]
        return np.r_[white @ (fitted.beta_K - terms), ((found_Tx3 - mean_TxF) / sd_TxF).ravel()]

    start, reach_TxF = np.r_[root[free], mean_TxF.ravel()], np.full_like(sd_TxF, np.inf)
    reach_TxF[:, 0] = sd_TxF[:, 0]
    reach = np.r_[np.full(len(pairs), np.inf), reach_TxF.ravel()]
    best = optimize.least_squares(away, start, bounds=(start - reach, start + reach))
    spread = np.linalg.pinv(best.jac.T @ best.jac, hermitian=True)
    drawn = law(_drawn(LinearMean(best.x, spread, fitted.freedom)))
    return law(best.x), np.clip(drawn, mean_TxF - reach_TxF, mean_TxF + reach_TxF)


def _interval(drawn_S: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of the draws that have a value; None with too many others, or without draws."""
    missing = ~np.isfinite(drawn_S)
    if not len(drawn_S) or missing.mean() > MOST_WITHOUT:
        return None
    low, high = np.quantile(drawn_S[~missing], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
