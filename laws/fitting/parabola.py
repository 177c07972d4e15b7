"""Parabolas of ln loss in log10 N at every budget, for one study or for many simulated ones at once.

Shapes: B budgets, M the most cells of any budget (others are padded), `...` any number of studies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WINDOW = 1.0
"""Sizes within this many decades of the best one enter the parabola."""
MIN_CELLS = 5
"""Sizes that a parabola needs, unless told otherwise."""
FEWEST = 3
"""Sizes that determine a parabola, without a residual."""


@dataclass(frozen=True)
class Grid:
    """The cells of a game as arrays [B, M], one row per budget, padded with infinite losses."""

    flops_B: np.ndarray
    """The common FLOPs of a budget, or their geometric mean."""
    log_params_BxM: np.ndarray
    """log10 N."""
    log_samples_BxM: np.ndarray
    """log10 D."""
    log_loss_BxM: np.ndarray
    """ln L; infinite on padding."""
    loss_error_BxM: np.ndarray
    """Standard error of ln L by measurement; NaN where unknown."""
    return_BxM: np.ndarray
    """Mean return; NaN where there is none."""
    return_error_BxM: np.ndarray
    """Standard error of the mean return; NaN where unknown."""
    log_flops_BxM: np.ndarray
    """ln C of each cell; 0 on padding."""
    run_BxM: np.ndarray
    """Index into `runs`; 0 on padding."""
    runs: tuple[str, ...]
    """Names of the trainings, or of the populations that share their data: what varies together."""

    @property
    def there_BxM(self) -> np.ndarray:
        """Whether there is a cell."""
        return np.isfinite(self.log_loss_BxM)


def middle(flops: Sequence[float]) -> float:
    """The common budget of cells, or the geometric mean of theirs."""
    return flops[0] if min(flops) == max(flops) else math.exp(float(np.mean(np.log(flops))))


@dataclass(frozen=True)
class Parabolas:
    """The parabola of every budget: value = a·v² + b·v + c with v = log10 N - centre. Shapes [..., B]."""

    centre_B: np.ndarray
    abc_Bx3: np.ndarray
    covariance_Bx3x3: np.ndarray
    """Of a, b and c; NaN without degrees of freedom."""
    cells_B: np.ndarray
    """Number of cells fitted."""
    sizes_B: np.ndarray
    """Number of different sizes fitted."""
    low_B: np.ndarray
    """log10 of the smallest N fitted."""
    high_B: np.ndarray
    least: int
    """Sizes that a vertex needs."""

    @property
    def vertex_B(self) -> np.ndarray:
        """log10 N at the vertex; NaN where unusable: too few sizes, concave, or outside the fitted sizes."""
        a_B, b_B = self.abc_Bx3[..., 0], self.abc_Bx3[..., 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            u_B = self.centre_B - b_B / (2 * a_B)
        good_B = (self.sizes_B >= self.least) & (a_B > 0) & (self.low_B <= u_B) & (u_B <= self.high_B)
        return np.where(good_B, u_B, np.nan)

    @property
    def least_B(self) -> np.ndarray:
        """Value at the vertex."""
        a_B, b_B, c_B = np.moveaxis(self.abc_Bx3, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return c_B - b_B**2 / (4 * a_B)


def parabolas(grid: Grid, value_BxM: np.ndarray, window: float = WINDOW, least: int = MIN_CELLS) -> Parabolas:
    """Least squares of `value` (ln loss, or loss) [..., B, M] on log10 N at every budget, over the cells near the best.

    These are the sizes within `window` decades of the size of least loss, or the nearest five if that is more: a
    parabola is the second-order expansion of a smooth loss about its minimum, and distant sizes, with up to twenty
    times the least loss, would dominate the fit.
    """
    there = grid.there_BxM & np.isfinite(value_BxM)
    u = np.broadcast_to(grid.log_params_BxM, value_BxM.shape)
    best_B = np.where(there, value_BxM, np.inf).argmin(axis=-1)
    away = np.where(there, np.abs(u - np.take_along_axis(u, best_B[..., None], -1)), np.inf)
    rank = _rank_of_size(away, u)
    inside = there & ((away <= window) | (rank < MIN_CELLS))
    cells_B = inside.sum(axis=-1)
    total_B = np.maximum(cells_B, 1)
    centre_B = np.where(inside, u, 0).sum(axis=-1) / total_B
    v = np.where(inside, u - centre_B[..., None], 0)
    value = np.where(inside, value_BxM, 0)
    power = [cells_B.astype(float), *(np.sum(v**order, axis=-1) for order in range(1, 5))]
    normal = np.stack([np.stack([power[4 - i - j] for j in range(3)], axis=-1) for i in range(3)], axis=-2)
    target = np.stack([np.sum(v**2 * value, axis=-1), np.sum(v * value, axis=-1), value.sum(axis=-1)], axis=-1)
    inverse = np.linalg.pinv(normal, hermitian=True)
    abc = (inverse @ target[..., None])[..., 0]
    fitted = abc[..., :1] * v**2 + abc[..., 1:2] * v + abc[..., 2:]
    square_B = np.sum(np.where(inside, value - fitted, 0) ** 2, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale_B = square_B / np.where(cells_B > 3, cells_B - 3.0, np.nan)
    low_B, high_B = np.where(inside, u, np.inf).min(axis=-1), np.where(inside, u, -np.inf).max(axis=-1)
    sizes_B = np.where(inside, rank + 1, 0).max(axis=-1)
    return Parabolas(centre_B, abc, inverse * scale_B[..., None, None], cells_B, sizes_B, low_B, high_B, least)


def _rank_of_size(away: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The place of each cell's size among the sizes by distance, 0 the nearest; of equal ones the smaller first."""
    order = np.lexsort((u, away), axis=-1)
    sizes = np.take_along_axis(u, order, -1)
    place = np.cumsum(np.diff(sizes, axis=-1, prepend=sizes[..., :1]) != 0, axis=-1)
    rank = np.empty_like(place)
    np.put_along_axis(rank, order, place, -1)
    return rank
