"""Iterative fits of many simulated studies at once: L(N, D), and power laws with an offset.

Each starts from the fit of the study that was simulated and descends as that did. Shapes: S studies, P points, K
parameters.
"""

import math

import numpy as np

from laws.fitting.parametric import DELTA, Misfit, Surface

_STEPS = 120
_DONE = 1e-7


def refit_surfaces(
    params: np.ndarray, samples: np.ndarray, loss: np.ndarray, start: Surface, log_loss_SxP: np.ndarray
) -> list[Surface]:
    """L(N, D) of each row of ln losses at (N, D), by the objective of `fit_surface`, from `start`.

    `loss` [P] is that of the study itself, by which parameters are scaled.
    """
    misfit = Misfit.of(params, samples, loss)
    order = np.lexsort(np.stack([params, samples, loss]).astype(float))
    target_SxP = log_loss_SxP[:, order] - misfit.log_level
    theta_SxK = _descend(misfit, np.tile(misfit.theta(start), (len(target_SxP), 1)), target_SxP)
    return [misfit.surface(theta_K) for theta_K in theta_SxK]


def _objective(misfit: Misfit, theta_SxK: np.ndarray, target_SxP: np.ndarray) -> np.ndarray:
    size_SxP = np.abs(target_SxP - np.log(_terms(misfit, theta_SxK)[0]))
    capped_SxP = np.minimum(size_SxP, DELTA)
    return (capped_SxP * (size_SxP - capped_SxP / 2)) @ misfit.weight_P / DELTA


def _terms(misfit: Misfit, theta_SxK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss / level [S, P] and its terms in N and D [S, 2, P]."""
    term = np.exp(theta_SxK[:, 1:3, None] - theta_SxK[:, 3:, None] * misfit.place_2xP)
    return theta_SxK[:, :1] + term.sum(axis=1), term


def _steps(
    misfit: Misfit, theta_SxK: np.ndarray, target_SxP: np.ndarray, exact_S: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient [S, K] and Hessian [S, K, K], as `Misfit.derivatives` has them."""
    whole, term = _terms(misfit, theta_SxK)
    residual = target_SxP - np.log(whole)
    size = np.abs(residual)
    pull = misfit.weight_P * np.clip(residual / DELTA, -1, 1)
    share = term / whole[:, None]
    slope = np.concatenate([1 / whole[:, None], share, -misfit.place_2xP * share], axis=1)
    gradient = -np.einsum("skp,sp->sk", slope, pull)
    weight = np.where(
        exact_S[:, None], pull + misfit.weight_P * (size < DELTA) / DELTA, misfit.weight_P / np.maximum(size, DELTA)
    )
    hessian = (slope * weight[:, None]) @ slope.swapaxes(1, 2)
    for i in (0, 1):
        of_term, of_power = 1 + i, 3 + i
        hessian[:, of_term, of_term] += exact_S * gradient[:, of_term]
        hessian[:, of_term, of_power] += exact_S * gradient[:, of_power]
        hessian[:, of_power, of_term] += exact_S * gradient[:, of_power]
        second = np.einsum("sp,sp->s", slope[:, of_power] * misfit.place_2xP[i], pull)
        hessian[:, of_power, of_power] += exact_S * second
    return gradient, hessian


def _descend(misfit: Misfit, theta_SxK: np.ndarray, target_SxP: np.ndarray) -> np.ndarray:
    """Damped descent of every study within the bounds, first by reweighted least squares, then by Newton's method."""
    low_K, high_K = misfit.bounds_2xK
    theta = theta_SxK.copy()
    value = _objective(misfit, theta, target_SxP)
    damping, exact = np.full(len(theta), 1e-3), np.zeros(len(theta), bool)
    active = np.arange(len(theta))
    for _ in range(_STEPS):
        if not len(active):
            break
        at = theta[active]
        gradient, hessian = _steps(misfit, at, target_SxP[active], exact[active])
        held = (at <= low_K) & (gradient >= 0) | (at >= high_K) & (gradient <= 0)
        gradient = np.where(held, 0, gradient)
        both = held[:, :, None] | held[:, None, :]
        hessian = np.where(both, np.eye(5) * held[:, :, None], hessian)
        curvature, turn = np.linalg.eigh(hessian)
        pushed = (turn.swapaxes(1, 2) @ gradient[..., None])[..., 0] / (np.abs(curvature) + damping[active, None])
        trial = np.clip(at - (turn @ pushed[..., None])[..., 0], low_K, high_K)
        reached = _objective(misfit, trial, target_SxP[active])
        gain = value[active] - reached
        better = gain > 0
        theta[active[better]], value[active[better]] = trial[better], reached[better]
        damping[active] = np.where(better, np.maximum(damping[active] / 10, 1e-12), damping[active] * 5)
        slow = ~exact[active] & ((better & (gain < 1e-4 * value[active])) | (damping[active] > 1e3))
        damping[active[slow]], exact[active[slow]] = 1e-3, True
        ended = exact[active] & ((np.linalg.norm(gradient, axis=1) < _DONE) | (damping[active] > 1e6)) & ~slow
        active = active[~ended]
    return theta


# The vertex of a flat parabola may be beyond double precision: such a study has no finite estimate.
@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def refit_offsets(
    x_SxP: np.ndarray, y_SxP: np.ndarray, exponent: float, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exponent, level and offset [S] of y = offset + exp(level) · x^exponent, for rows of (ln x, ln y).

    Least squares of ln y by Levenberg and Marquardt's method from the study's own `exponent` and offset, given as a
    `share` of the least y. As in `fit_offset` the offset is within 0 and the least y. NaN with fewer than four points.
    """
    good = np.isfinite(x_SxP) & np.isfinite(y_SxP)
    count = good.sum(axis=1)
    x, y = np.where(good, x_SxP, 0), np.where(good, y_SxP, 0)
    centre = x.sum(axis=1) / np.maximum(count, 1)
    x = np.where(good, x - centre[:, None], 0)
    least = np.where(good, y, np.inf).min(axis=1, initial=math.inf)
    least = np.where(np.isfinite(least), least, 0)
    part, floor = min(max(share, 1e-3), 0.99), np.exp(least)[:, None]
    level = np.where(good, np.log(np.maximum(np.exp(y) - part * floor, 1e-3 * floor)), 0).sum(axis=1)
    theta = np.tile(np.array([0.0, min(exponent, -1e-6), part]), (len(y), 1))
    theta[:, 0] = level / np.maximum(count, 1)
    damping = np.full(len(y), 1e-3)
    value = np.sum(_offset_residual(theta, x, y, least, good)[0] ** 2, axis=1)
    for _ in range(200):
        residual, slope = _offset_residual(theta, x, y, least, good)
        gradient = np.einsum("spk,sp->sk", slope, residual)
        normal = slope.swapaxes(1, 2) @ slope
        held = np.stack(
            [
                np.zeros(len(theta), bool),
                (theta[:, 1] >= 0) & (gradient[:, 1] < 0),
                ((theta[:, 2] <= 0) & (gradient[:, 2] > 0)) | ((theta[:, 2] >= 1) & (gradient[:, 2] < 0)),
            ],
            axis=1,
        )
        gradient = np.where(held, 0, gradient)
        normal = np.where(held[:, :, None] | held[:, None, :], np.eye(3) * held[:, :, None], normal)
        diagonal = np.einsum("skk->sk", normal)
        normal = normal + np.eye(3) * (damping[:, None] * np.maximum(diagonal, 1e-12))[:, :, None] + 1e-14 * np.eye(3)
        trial = theta - np.linalg.solve(normal, gradient[..., None])[..., 0]
        trial[:, 1] = np.minimum(trial[:, 1], 0)
        trial[:, 2] = np.clip(trial[:, 2], 0, 1)
        trial = np.where(np.isfinite(trial), trial, theta)
        reached = np.sum(_offset_residual(trial, x, y, least, good)[0] ** 2, axis=1)
        better = reached < value
        small = np.all(np.abs(trial - theta) < 1e-9, axis=1) | (damping > 1e9)
        theta = np.where(better[:, None], trial, theta)
        value = np.where(better, reached, value)
        damping = np.where(better, np.maximum(damping / 10, 1e-12), damping * 4)
        if np.all(small):
            break
    found = theta[:, 1], theta[:, 0] - theta[:, 1] * centre, theta[:, 2] * np.exp(least)
    exponent_S, level_S, offset_S = (np.where(count < 4, np.nan, each) for each in found)
    return exponent_S, level_S, offset_S


def _offset_residual(
    theta: np.ndarray, x: np.ndarray, y: np.ndarray, least: np.ndarray, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals of ln y [S, P], 0 where there is no point, and their derivatives [S, P, K]."""
    power = np.exp(np.clip(theta[:, :1] + theta[:, 1:2] * x, -500, 500))
    floor = np.exp(least)[:, None]
    whole = np.maximum(theta[:, 2:] * floor + power, 1e-300)
    residual = np.where(good, np.log(whole) - y, 0)
    slope = np.stack([power, power * x, np.broadcast_to(floor, power.shape)], axis=2) / whole[..., None]
    return residual, np.where(good[..., None], slope, 0)
