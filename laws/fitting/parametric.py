"""The parametric law of loss, L(N, D) = E + A/N^alpha + B/D^beta, and the compute-optimal frontier that it implies.

Approach 3 of Hoffmann et al. (arXiv 2203.15556, section 3.3): minimise the sum over points of the Huber loss of
ln L - ln(E + A/N^alpha + B/D^beta). Optimisers are known to stop early on it. So the starts come from the linear
problem (for fixed exponents, E, A and B are non-negative least squares); from each, reweighted least squares and then
Newton's method descend; and the fit reports how many of them agree. L-BFGS-B, which Hoffmann et al. use, reaches the
same minima, but SciPy's calls threaded BLAS on tiny matrices: up to 60 times slower on shared cores.

Shapes: P points; S starts; K = 5 scaled parameters, F of them free; X, Y exponents of N and D on a grid; 2 is (N, D).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

DELTA = 1e-3
"""Residual of ln L where the Huber loss turns from quadratic to linear (Hoffmann et al.)."""
EXPONENTS = (0.005, 4.0)
"""Bounds of alpha and beta."""
MIN_POINTS = 6

_GRID, _STARTS = np.geomspace(0.02, 3.0, 32), 24
_NEARBY, _NEARBY_STARTS = np.geomspace(0.5, 2.0, 5), 2
_PROFILE, _STEPS = 33, 300


@dataclass(frozen=True)
class Optimum:
    """The compute-optimal split of one or more budgets; each array has the shape of the budgets."""

    params: np.ndarray
    samples: np.ndarray
    loss: np.ndarray
    """Nats per step."""


@dataclass(frozen=True)
class Surface:
    """L(N, D) = E + A/N^alpha + B/D^beta, in nats per step; N parameters, D samples."""

    E: float
    """Irreducible loss."""
    A: float
    B: float
    alpha: float
    beta: float

    def predict(self, params: ArrayLike, samples: ArrayLike) -> np.ndarray:
        """Loss, broadcast over `params` and `samples`."""
        of_params = self.A * np.asarray(params, float) ** -self.alpha
        return self.E + of_params + self.B * np.asarray(samples, float) ** -self.beta

    def exponents(self, price: "Price | None" = None) -> tuple[float, float]:
        """Exponents of N*(C) and D*(C): beta / (alpha + g beta) and alpha / (alpha + g beta), with g = price.power."""
        power = (price or Price()).power
        whole = self.alpha + power * self.beta
        return self.beta / whole, self.alpha / whole

    def optimum(self, flops: ArrayLike, price: "Price | None" = None) -> Optimum:
        """Minimum of the loss on C = each · N^g · D; for g = 1 equation 4 of Hoffmann et al.

        N* = G (C/each)^(beta/(alpha + g beta)), D* = C/each / N*^g, G = (alpha A / (g beta B))^(1/(alpha + g beta)).
        """
        price = price or Price()
        log_ratio = math.log(self.alpha) + math.log(self.A) - math.log(price.power * self.beta) - math.log(self.B)
        pairs = np.asarray(flops, float) / price.each
        of_params, _ = self.exponents(price)
        # Infinite or 0 where a term at its bound does not contribute to the loss.
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            params = np.exp(log_ratio / (self.alpha + price.power * self.beta)) * pairs**of_params
            samples = pairs / params**price.power
            return Optimum(params, samples, self.predict(params, samples))


@dataclass(frozen=True)
class Price:
    """Training FLOPs per sample, each · N^power, so that C = each · N^power · D; 6·N for a transformer."""

    each: float = 6.0
    power: float = 1.0

    def of(self, params: float) -> float:
        """FLOPs of one sample."""
        return self.each * params**self.power


HOFFMANN = Surface(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
"""The law of language models in Hoffmann et al. (equation 10)."""


@dataclass(frozen=True)
class Parametric:
    """A fitted surface, and measures of how well the fit converged."""

    surface: Surface
    objective: float
    """Sum over points of the Huber loss of ln L."""
    starts: int
    share_reaching_best: float
    """Fraction of the starts that ended within a relative 1e-6 of the best objective. That is strict because a second
    minimum, worse by 1e-5 only, may have exponents that differ by a tenth."""
    gradient_norm: float
    """Norm of the projected gradient of `Misfit` at the end; of order 1 far from a minimum."""
    on_bounds: tuple[str, ...]
    """Parameters at a bound: `E` is 0, the term of `A` or `B` vanishes, `alpha` or `beta` is at `EXPONENTS`."""
    correlation: float
    """Pearson's r of ln N and ln D over the points; near ±1 alpha and beta can't be separated."""
    profile_E: tuple[tuple[float, float], ...]
    """Profile likelihood of E: (E, least objective with E fixed); empty for a fit with a given start."""
    moved: bool
    """Whether the best fit moved by more than 0.001 from its start in any parameter of `Misfit`."""


@dataclass(frozen=True)
class Misfit:
    """The objective over points and delta, as a function of scaled parameters theta = (s, a, b, p, q).

    L / level = s + exp(a - p x) + exp(b - q y), where x and y are the standardised ln N and ln D. s = E / level is not
    a logarithm, so that its bound, 0, is at a finite value.
    """

    place_2xP: np.ndarray
    """x and y."""
    log_P: np.ndarray
    """ln (L / level)."""
    weight_P: np.ndarray
    """Sums to 1."""
    mean_2: np.ndarray
    """Of ln N and ln D."""
    sd_2: np.ndarray
    log_level: float
    """Mean of ln L."""
    total: float
    """Sum of the weights as given."""

    @staticmethod
    def of(params: ArrayLike, samples: ArrayLike, loss: ArrayLike, weights: ArrayLike | None = None) -> "Misfit":
        """From points as measured, in any order.

        Raises:
            ValueError: as `fit_surface`.
        """
        given = [np.asarray(values, float).ravel() for values in (params, samples, loss)]
        weight_P = np.ones(len(given[0])) if weights is None else np.asarray(weights, float).ravel()
        if len({len(values) for values in (*given, weight_P)}) != 1:
            raise ValueError("params, samples, loss and weights differ in length")
        if not np.all(np.isfinite(weight_P) & (weight_P >= 0)):
            raise ValueError("weights must be finite and at least 0")
        table_3xP = np.stack(given)[:, weight_P > 0]
        if not np.all(np.isfinite(table_3xP) & (table_3xP > 0)):
            raise ValueError("params, samples and loss must be positive and finite")
        if len(set(zip(*table_3xP[:2].tolist(), strict=True))) < MIN_POINTS:
            raise ValueError(f"a parametric law needs {MIN_POINTS} points that differ in params or samples")
        order = np.lexsort(table_3xP)
        log_3xP, weight_P = np.log(table_3xP[:, order]), weight_P[weight_P > 0][order]
        total = float(weight_P.sum())
        weight_P = weight_P / total
        mean_3 = log_3xP @ weight_P
        log_3xP = log_3xP - mean_3[:, None]
        sd_2 = np.sqrt(log_3xP[:2] ** 2 @ weight_P)
        if sd_2.min() < 1e-6:
            raise ValueError("a parametric law needs different params and different samples")
        return Misfit(log_3xP[:2] / sd_2[:, None], log_3xP[2], weight_P, mean_3[:2], sd_2, float(mean_3[2]), total)

    @property
    def bounds_2xK(self) -> np.ndarray:
        """Bounds of theta, (least, greatest) [2, K]."""
        (low_p, low_q), (high_p, high_q) = (exponent * self.sd_2 for exponent in EXPONENTS)
        return np.array([[0.0, -30.0, -30.0, low_p, low_q], [3.0, 30.0, 30.0, high_p, high_q]])

    def terms(self, theta_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Loss / level [P], and its terms in N and in D [2, P]."""
        term_2xP = np.exp(theta_K[1:3, None] - theta_K[3:, None] * self.place_2xP)
        return theta_K[0] + term_2xP[0] + term_2xP[1], term_2xP

    def derivatives(self, theta_K: np.ndarray, *, exact: bool = True) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient [K] and Hessian [K, K], which is discontinuous where a residual is delta.

        If not `exact`, the Hessian is that of reweighted least squares, which is positive semi-definite.
        """
        whole_P, term_2xP = self.terms(theta_K)
        residual_P = self.log_P - np.log(whole_P)
        size_P = np.abs(residual_P)
        capped_P = np.minimum(size_P, DELTA)
        value = float(self.weight_P @ (capped_P * (size_P - capped_P / 2))) / DELTA
        pull_P = self.weight_P * np.copysign(capped_P, residual_P) / DELTA
        slope_KxP = np.empty((5, len(whole_P)))
        slope_KxP[0] = 1 / whole_P
        np.divide(term_2xP, whole_P, out=slope_KxP[1:3])
        np.multiply(-self.place_2xP, slope_KxP[1:3], out=slope_KxP[3:])
        gradient_K = -(slope_KxP @ pull_P)
        if not exact:
            return value, gradient_K, (slope_KxP * (self.weight_P / np.maximum(size_P, DELTA))) @ slope_KxP.T
        hessian_KxK = (slope_KxP * (pull_P + self.weight_P * (size_P < DELTA) / DELTA)) @ slope_KxP.T
        for i in (0, 1):
            term, exponent = 1 + i, 3 + i
            hessian_KxK[term, term] += gradient_K[term]
            hessian_KxK[[term, exponent], [exponent, term]] += gradient_K[exponent]
            hessian_KxK[exponent, exponent] += (slope_KxP[exponent] * self.place_2xP[i]) @ pull_P
        return value, gradient_K, hessian_KxK

    def surface(self, theta_K: np.ndarray) -> Surface:
        """The surface of theta, in the units of the points."""
        power_2 = theta_K[3:] / self.sd_2
        A, B = np.exp(theta_K[1:3] + self.log_level + power_2 * self.mean_2).tolist()
        return Surface(float(theta_K[0]) * math.exp(self.log_level), A, B, *power_2.tolist())

    def theta(self, surface: Surface) -> np.ndarray:
        """Theta [K] of a surface, clipped to the bounds."""
        power_2 = np.array([surface.alpha, surface.beta])
        term_2 = np.log([surface.A, surface.B]) - self.log_level - power_2 * self.mean_2
        share = surface.E / math.exp(self.log_level)
        return np.clip(np.concatenate([[share], term_2, power_2 * self.sd_2]), *self.bounds_2xK)


def fit_surface(
    params: ArrayLike,
    samples: ArrayLike,
    loss: ArrayLike,
    weights: ArrayLike | None = None,
    start: Surface | None = None,
    profiled: bool = True,
) -> Parametric:
    """The best surface through points (N, D, L), each repeated `weights` times.

    With `start`, as in bootstrap refits, only it and two more starts near it are tried. `profile_E` is computed if
    `profiled` and there is no `start`.

    Raises:
        ValueError: fewer than 6 distinct (N, D) of positive weight, values that aren't positive and finite, arguments
            of different lengths, or all N or all D equal.
    """
    misfit = Misfit.of(params, samples, loss, weights)
    if start is None:
        starts = _seeds(misfit, _GRID, _GRID, _STARTS)
    else:
        starts = [misfit.theta(start), *_seeds(misfit, start.alpha * _NEARBY, start.beta * _NEARBY, _NEARBY_STARTS)]
    ends = [_descend(misfit, theta_K, misfit.bounds_2xK) for theta_K in starts]
    value_S = np.array([value for _, value, _ in ends])
    best = int(value_S.argmin())
    (theta_K, value, gradient_norm), scale = ends[best], misfit.total * DELTA
    return Parametric(
        surface=misfit.surface(theta_K),
        objective=value * scale,
        starts=len(starts),
        share_reaching_best=float(np.mean(value_S <= value * (1 + 1e-6) + 1e-12)),
        gradient_norm=gradient_norm,
        on_bounds=_on_bounds(misfit, theta_K),
        correlation=float(misfit.place_2xP[0] * misfit.weight_P @ misfit.place_2xP[1]),
        profile_E=tuple((E, least * scale) for E, least in _profile(misfit, theta_K)) if profiled and not start else (),
        moved=bool(np.max(np.abs(theta_K - starts[best])) > 1e-3),
    )


def _seeds(misfit: Misfit, alpha_X: np.ndarray, beta_Y: np.ndarray, count: int) -> list[np.ndarray]:
    """Starts by variable projection: at each pair of grid exponents, the non-negative E, A and B of least squares.

    Local minima over the grid come first, then other grid points by their error; no two are neighbours.
    """
    target_P = np.sqrt(misfit.weight_P)
    root_P = target_P * np.exp(-misfit.log_P)
    p_X, q_Y = alpha_X * misfit.sd_2[0], beta_Y * misfit.sd_2[1]
    u_XxP, v_YxP = (
        root_P * np.exp(-p[:, None] * place_P) for p, place_P in zip((p_X, q_Y), misfit.place_2xP, strict=True)
    )
    solved = [[optimize.nnls(np.stack([root_P, u_P, v_P], axis=1), target_P) for v_P in v_YxP] for u_P in u_XxP]
    error_XxY = np.array([[error for _, error in row] for row in solved])
    around = np.lib.stride_tricks.sliding_window_view(np.pad(error_XxY, 1, constant_values=np.inf), (3, 3))
    not_least_XxY = error_XxY > around.min(axis=(2, 3))
    free_XxY, found = np.ones(error_XxY.shape, bool), []
    for place in np.lexsort((error_XxY.ravel(), not_least_XxY.ravel())).tolist():
        x, y = divmod(place, len(q_Y))
        if free_XxY[x, y] and len(found) < count:
            free_XxY[max(x - 1, 0) : x + 2, max(y - 1, 0) : y + 2] = False
            # A term of 0 would have no gradient.
            share, *terms = np.maximum(solved[x][y][0], [0, 1e-3, 1e-3])
            found.append(np.clip([share, *np.log(terms), p_X[x], q_Y[y]], *misfit.bounds_2xK))
    return found


def _descend(misfit: Misfit, theta_K: np.ndarray, bounds_2xK: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Damped descent within the bounds: theta, value, norm of the projected gradient.

    First by reweighted least squares; once these steps gain little, by Newton's method, since near the minimum the few
    residuals within delta give nearly all the curvature. The Hessian's absolute eigenvalues make saddle points repel.
    """
    least_K, most_K = bounds_2xK
    damping, exact = 1e-3, False
    value, gradient_K, hessian_KxK = misfit.derivatives(theta_K, exact=exact)
    norm = math.inf
    for _ in range(_STEPS):
        free_K = ~((theta_K <= least_K) & (gradient_K >= 0) | (theta_K >= most_K) & (gradient_K <= 0))
        slope_F = gradient_K[free_K]
        norm = float(np.linalg.norm(slope_F))
        if norm < 1e-11 or damping > 1e9:
            break
        curvature_F, turn_FxF = np.linalg.eigh(hessian_KxK[np.ix_(free_K, free_K)])
        trial_K = theta_K.copy()
        trial_K[free_K] -= turn_FxF @ (turn_FxF.T @ slope_F / (np.abs(curvature_F) + damping))
        trial_K = np.clip(trial_K, least_K, most_K)
        reached = misfit.derivatives(trial_K, exact=exact)
        gain = value - reached[0]
        if gain > 0:
            theta_K, (value, gradient_K, hessian_KxK) = trial_K, reached
        damping = max(damping / 10, 1e-12) if gain > 0 else damping * 5
        if not exact and (0 < gain < 1e-4 * value or damping > 1e3):
            damping, exact = 1e-3, True
            value, gradient_K, hessian_KxK = misfit.derivatives(theta_K)
    return theta_K, value, norm


def _profile(misfit: Misfit, theta_K: np.ndarray) -> list[tuple[float, float]]:
    """(E, least value with E fixed) for E from 0 to just below the least loss, swept outwards from the fit and back."""
    share_E = np.linspace(0, 0.999 * float(np.exp(misfit.log_P.min())), _PROFILE)
    least_E = np.full(_PROFILE, np.inf)
    places, middle = range(_PROFILE), int(np.searchsorted(share_E, theta_K[0]))
    for sweep in (places[middle:], places[:middle][::-1], places, places[::-1]):
        at_K, bounds_2xK = theta_K, misfit.bounds_2xK
        for place in sweep:
            bounds_2xK[:, 0] = share_E[place]
            at_K, value, _ = _descend(misfit, np.clip(at_K, *bounds_2xK), bounds_2xK)
            least_E[place] = min(least_E[place], value)
    return list(zip((share_E * math.exp(misfit.log_level)).tolist(), least_E.tolist(), strict=True))


def _on_bounds(misfit: Misfit, theta_K: np.ndarray) -> tuple[str, ...]:
    (whole_P, term_2xP), (least_K, most_K) = misfit.terms(theta_K), misfit.bounds_2xK
    there_K = np.minimum(theta_K - least_K, most_K - theta_K) < 1e-9
    there_K[1:3] |= np.max(term_2xP / whole_P, axis=1) < 1e-6
    return tuple(name for name, there in zip(("E", "A", "B", "alpha", "beta"), there_K.tolist(), strict=True) if there)
