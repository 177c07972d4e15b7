"""How closely return follows loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from laws.fit.isoflop import Cell
from laws.fit.power import PowerLaw, fit_power


@dataclass(frozen=True)
class Correlation:
    """Return against loss over the cells of least loss, one per budget."""

    r: float
    """Pearson's r of ln loss and ln return: of the points as the power law sees them."""
    r_linear: float
    """Pearson's r of loss and return in their own units."""
    power: PowerLaw
    """return = coefficient · loss^exponent."""


def correlate(cells: Sequence[Cell]) -> Correlation:
    """Correlation over those of `cells` with a positive return; ValueError where there are fewer than three.

    Also a ValueError where all losses or all returns are equal, so that r isn't defined.
    """
    points = [(cell.loss, cell.return_mean) for cell in cells if cell.return_mean is not None and cell.return_mean > 0]
    if len(points) < 3:
        raise ValueError(f"{len(points)} budgets with a positive return, 3 are needed")
    losses, returns = np.array(points).T
    if np.ptp(losses) == 0 or np.ptp(returns) == 0:
        raise ValueError("all losses or all returns are equal")
    return Correlation(_pearson(np.log(losses), np.log(returns)), _pearson(losses, returns), fit_power(points))


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    off_x, off_y = (each / np.abs(each).max() for each in (x - x.mean(), y - y.mean()))
    r = float(np.sum(off_x * off_y) / np.sqrt(np.sum(off_x**2) * np.sum(off_y**2)))
    return max(-1.0, min(1.0, r))
