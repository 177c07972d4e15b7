"""Linear mixed models: a mean, noise that the cells of a run share, and noise of each cell.

y = terms · beta + b_r + e with b_r ~ N(0, between²) and e ~ N(0, within² + error²), `error` the known standard error of
the measurement. The two variances are estimated by restricted maximum likelihood (Patterson and Thompson 1971), which
counts what the mean takes up.

Shapes: P cells, ordered by run; R runs; K terms of the mean.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import optimize, sparse, special
from scipy.sparse import csgraph

REPLICATED = 4
"""Runs beyond the first of their size that make a study replicated."""
MOST_RUNS = 300
"""Most runs of which each is told apart in what the mean leaves of their noise."""
UNEQUAL = 0.05
"""Probability by which equal noise is taken for unequal noise."""
FEWEST_SHARED = 6
"""Fewest budgets and sizes with several runs that may tell of unequal noise."""
LEAST = 1e-7
"""Least standard deviation of a measurement, so that every variance is positive."""


@dataclass(frozen=True)
class RunData:
    """Measured cells, ordered by run."""

    y_P: np.ndarray
    error_P: np.ndarray
    run_P: np.ndarray
    """Numbers of the runs, from 0 on, each next to its like."""

    @cached_property
    def first_R(self) -> np.ndarray:
        """Place of each run's first cell."""
        return np.flatnonzero(np.r_[True, np.diff(self.run_P) > 0])

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the cells of each run."""
        return np.add.reduceat(values, self.first_R, axis=0)


@dataclass(frozen=True)
class Components:
    """The standard deviations of the noise; as in `laws.fitting.noise.NoiseModel`."""

    between: float
    within: float
    left_RxR: np.ndarray
    freedom_within: float
    score: float
    """Corrected Akaike criterion, by the likelihood at these variances."""

    @property
    def freedom(self) -> float:
        """Degrees of freedom between runs."""
        return float(np.trace(self.left_RxR))


@dataclass(frozen=True)
class LinearMean:
    """A linear mean of values with noise between runs and within them, by generalised least squares."""

    beta_K: np.ndarray
    covariance_KxK: np.ndarray
    """Of `beta_K`, at the estimated variances."""
    freedom: float
    """Degrees of freedom between runs, of which the variances are known."""


def linear_mean(y_P: np.ndarray, terms_PxK: np.ndarray, run_P: np.ndarray) -> LinearMean:
    """The mean `terms` @ beta of values `y` measured on runs, which are numbered from 0 by `run`."""
    order = np.argsort(run_P, kind="stable")
    y_P, terms_PxK, run = y_P[order], terms_PxK[order], run_P[order]
    data = RunData(y_P, np.full(len(y_P), LEAST), run)
    # Terms that are nearly dependent have a singular normal matrix, unless they are orthogonal.
    orthogonal_PxK, upper_KxK = np.linalg.qr(terms_PxK)
    found, beta_K = components(data, y_P, orthogonal_PxK)
    weighted = _weighted(data, orthogonal_PxK, found.between, found.within)
    back_KxK = np.linalg.pinv(upper_KxK)
    root_KxK = back_KxK @ np.linalg.cholesky(np.linalg.pinv(orthogonal_PxK.T @ weighted, hermitian=True))
    return LinearMean(back_KxK @ beta_K, root_KxK @ root_KxK.T, found.freedom)


def replicated_components(data: RunData, cell_P: np.ndarray) -> Components | None:
    """Components about the mean of each (budget, size); None with few runs of the same cells.

    `cell` [P] numbers the budgets and sizes. Runs that share cells are of one group, whose k runs leave k - 1 degrees
    of freedom. By analysis of variance, or where runs have other cells than those of their group, since some stopped
    early, by restricted maximum likelihood, which that is otherwise.
    """
    pairs = np.unique(np.stack([cell_P, data.run_P]), axis=1)
    shared = np.bincount(pairs[0], minlength=int(cell_P.max()) + 1) > 1
    used = shared[cell_P]
    cell, run = cell_P[used], data.run_P[used]
    runs, total = len(data.first_R), len(data.first_R) + int(cell_P.max()) + 1
    edges = sparse.coo_matrix((np.ones(len(run)), (run, runs + cell)), shape=(total, total))
    group = csgraph.connected_components(edges, directed=False)[1]
    seen, group_R = np.unique(run), group[:runs]
    freedom = len(seen) - len(np.unique(group_R[seen]))
    if freedom < REPLICATED:
        return None
    everywhere = np.bincount(group[seen], minlength=total) @ np.bincount(group[runs + np.unique(cell)], minlength=total)
    if everywhere > shared[pairs[0]].sum() and len(np.unique(cell)) <= MOST_RUNS:
        return _about_cells(data, used, cell)
    off = data.y_P[used] - (np.bincount(cell, data.y_P[used]) / np.maximum(np.bincount(cell), 1))[cell]
    cells_R = np.bincount(run, minlength=runs)
    mean_R = np.bincount(run, off, minlength=runs) / np.maximum(cells_R, 1)
    rest = len(off) - len(np.unique(cell)) - freedom
    within = float(np.sum((off - mean_R[run]) ** 2)) / rest if rest > 0 else 0.0
    hidden = within * float(np.mean(1 / cells_R[seen]))
    between = float(np.sum(mean_R**2)) / freedom - hidden
    together = (group_R[:, None] == group_R) & (cells_R[:, None] > 0) & (cells_R > 0)
    left = np.diag((cells_R > 0).astype(float)) - together / np.maximum(together.sum(axis=1), 1)[:, None]
    return Components(
        math.sqrt(max(between, hidden / freedom)),
        math.sqrt(max(within - float(np.mean(data.error_P[used] ** 2)), 0.0)),
        left,
        float(max(rest, 0)),
        math.inf,
    )


def _about_cells(data: RunData, used_P: np.ndarray, cell_P: np.ndarray) -> Components:
    """Components of the `used` cells by restricted maximum likelihood, each of their numbers with a mean of its own."""
    seen, run = np.unique(data.run_P[used_P], return_inverse=True)
    few = RunData(data.y_P[used_P], data.error_P[used_P], run)
    found, _ = components(few, few.y_P, (cell_P[:, None] == np.unique(cell_P)).astype(float))
    left = np.zeros((len(data.first_R), len(data.first_R)))
    left[np.ix_(seen, seen)] = found.left_RxR
    return replace(found, left_RxR=left)


def power_of_scale(data: RunData, cell_P: np.ndarray, log_place_P: np.ndarray) -> float:
    """The power b of noise whose standard deviation is exp(b `log_place`); 0 where nothing tells that it is another.

    `cell` [P] numbers the budgets and sizes, in each of which `log_place` has one value, and variances about the means
    are scaled chi-squared. By maximum likelihood; in the test of b = 0 all cells of a run count as one.
    """
    number = np.bincount(cell_P)
    shared = np.flatnonzero(number > 1)
    if len(shared) < FEWEST_SHARED:
        return 0.0
    mean = np.bincount(cell_P, data.y_P) / np.maximum(number, 1)
    squares = np.bincount(cell_P, (data.y_P - mean[cell_P]) ** 2)[shared]
    known = (np.bincount(cell_P, data.error_P**2) / np.maximum(number, 1))[shared]
    freedom = number[shared] - 1.0
    place = (np.bincount(cell_P, log_place_P) / np.maximum(number, 1))[shared]
    place = place - place.mean()

    def unlikely(beta: np.ndarray) -> float:
        variance = np.exp(np.clip(2 * (beta[0] + (beta[1] * place if len(beta) > 1 else 0.0)), -40, 10)) + known
        return float(np.sum(freedom * np.log(variance) + squares / variance))

    start = np.array([0.5 * math.log(max(float(squares.sum() / freedom.sum() - known.mean()), LEAST**2))])
    equal = optimize.minimize(unlikely, start, method="Nelder-Mead")
    unequal = optimize.minimize(unlikely, np.r_[equal.x, 0.0], method="Nelder-Mead")
    ratio = (equal.fun - unequal.fun) / (len(data.y_P) / len(data.first_R))
    return float(unequal.x[1]) if ratio > special.chdtri(1, UNEQUAL) else 0.0


def components(data: RunData, y_P: np.ndarray, terms_PxK: np.ndarray) -> tuple[Components, np.ndarray]:
    """Variances by restricted maximum likelihood about a linear mean, and its coefficients [K]."""
    single = len(data.first_R) == len(y_P)
    spread = math.sqrt(float(np.mean((y_P - terms_PxK @ np.linalg.lstsq(terms_PxK, y_P, rcond=None)[0]) ** 2)))
    spread = max(spread, LEAST)

    def unlikely(log_2: np.ndarray) -> float:
        sd = np.exp(np.clip(log_2, -18.0, 3.0))
        return _likelihood(data, y_P, terms_PxK, float(sd[0]), 0.0 if single else float(sd[-1]))

    start = [math.log(spread)] if single else [math.log(spread * 0.7), math.log(spread * 0.5)]
    options = {"xatol": 0.02, "fatol": 1e-3, "maxiter": 120, "initial_simplex": _simplex(start)}
    sd = np.exp(np.clip(optimize.minimize(unlikely, start, method="Nelder-Mead", options=options).x, -18.0, 3.0))
    between, within = float(sd[0]), 0.0 if single else float(sd[-1])
    beta = solve(data, y_P, terms_PxK, between, within)
    residual = y_P - terms_PxK @ beta
    left = _left(data, terms_PxK, between, within)
    rest = 0.0 if single else max(len(y_P) - terms_PxK.shape[1] - float(np.trace(left)), 1.0)
    score = aicc(data, residual, between, within, terms_PxK.shape[1])
    # An estimate of 0 is what a small sample gives; noise as large as what hides it is not excluded.
    hidden = math.sqrt(float(np.mean(1 / data.sums(1 / (within**2 + data.error_P**2)))))
    if not single:
        between = max(between, hidden / math.sqrt(max(float(np.trace(left)), 1.0)))
    return Components(between, within, left, rest, score), beta


def _simplex(start: list[float]) -> np.ndarray:
    return np.array([start, *(np.array(start) + 1.0 * np.eye(len(start))[place] for place in range(len(start)))])


def _weighted(data: RunData, values: np.ndarray, between: float, within: float) -> np.ndarray:
    """V^-1 times `values` [P, ...] for V = diag(within² + error²) + between² within each run (Sherman-Morrison)."""
    own_P = 1 / (within**2 + data.error_P**2)
    whole_R = data.sums(own_P)
    scaled = own_P.reshape(-1, *[1] * (values.ndim - 1)) * values
    share = data.sums(scaled) * (between**2 / (1 + between**2 * whole_R)).reshape(-1, *[1] * (values.ndim - 1))
    return scaled - own_P.reshape(-1, *[1] * (values.ndim - 1)) * share[data.run_P]


def solve(data: RunData, y_P: np.ndarray, terms_PxK: np.ndarray, between: float, within: float) -> np.ndarray:
    """The coefficients [K] by generalised least squares."""
    weighted = _weighted(data, terms_PxK, between, within)
    return _solved(terms_PxK.T @ weighted, weighted.T @ y_P)


def _solved(normal_KxK: np.ndarray, target_K: np.ndarray) -> np.ndarray:
    """The solution of normal equations; of least norm where they are singular."""
    try:
        return np.linalg.solve(normal_KxK, target_K)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(normal_KxK, target_K, rcond=None)[0]


def _log_det(data: RunData, between: float, within: float) -> float:
    variance_P = within**2 + data.error_P**2
    return float(np.sum(np.log(variance_P)) + np.sum(np.log1p(between**2 * data.sums(1 / variance_P))))


def _likelihood(data: RunData, y_P: np.ndarray, terms_PxK: np.ndarray, between: float, within: float) -> float:
    """-2 times the restricted log likelihood, without constants."""
    weighted = _weighted(data, terms_PxK, between, within)
    normal = terms_PxK.T @ weighted
    beta = _solved(normal, weighted.T @ y_P)
    residual = y_P - terms_PxK @ beta
    misfit = float(residual @ _weighted(data, residual, between, within))
    return _log_det(data, between, within) + float(np.linalg.slogdet(normal)[1]) + misfit


def aicc(data: RunData, residual_P: np.ndarray, between: float, within: float, terms: int) -> float:
    """AICc of a mean with `terms` and two variances."""
    count, total = terms + 2, len(residual_P)
    misfit = float(residual_P @ _weighted(data, residual_P, between, within))
    correction = 2 * count * (count + 1) / max(total - count - 1, 0.5)
    return _log_det(data, between, within) + misfit + 2 * count + correction


def _left(data: RunData, terms_PxK: np.ndarray, between: float, within: float) -> np.ndarray:
    """What the mean leaves of the space of run means [R, R], in standard deviations of these."""
    runs = len(data.first_R)
    variance_P = within**2 + data.error_P**2
    whole_R = data.sums(1 / variance_P)
    root_R = np.sqrt((1 + between**2 * whole_R) / whole_R)
    weighted = _weighted(data, terms_PxK, between, within)
    of_runs = data.sums(weighted) * root_R[:, None]
    normal = np.linalg.pinv(terms_PxK.T @ weighted, hermitian=True)
    if runs > MOST_RUNS:
        taken = float(np.einsum("rk,kl,rl->", of_runs, normal, of_runs))
        return np.eye(runs) * (1 - taken / runs)
    return np.eye(runs) - of_runs @ normal @ of_runs.T
