"""The data-constrained law: samples that are seen again count for less.

Muennighoff et al. (arXiv 2305.16264, section 3): of U unique samples seen for 1 + R epochs the effective number is
D' = U + U·R*·(1 - exp(-R / R*)); R* is about how many epochs of repetition are worth. The loss is L(N, D').
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from eval.results import ResultRow
from laws.fitting.bootstrap import MOST_FITTED
from laws.fitting.parametric import Parametric, Surface, fit_surface

RANGE = (0.05, 500.0)
"""Bounds of R*."""
NOTICED = 0.9
"""Misfit over that of L(N, D) below which repetition makes a difference."""
LEAST_EPOCHS = 1.5
"""Epochs that some rows need, for repetition to tell anything."""


@dataclass(frozen=True)
class DataConstrained:
    """L(N, D') and what repetition is worth."""

    surface: Surface
    half_life: float
    """R*: after this many repetitions, further ones are worth 1/e of new samples."""
    objective: float
    """Sum over rows of the Huber loss of ln L."""
    unrepeated: float
    """The same of L(N, D), which takes samples seen again for new ones."""

    @property
    def noticed(self) -> bool:
        """Whether repetition makes a difference, so that R* is more than a number."""
        return self.objective < NOTICED * self.unrepeated


def effective(samples: np.ndarray, epochs: np.ndarray, half_life: float) -> np.ndarray:
    """D' of `samples` D seen in `epochs` passes, of their shape."""
    again = np.maximum(epochs - 1, 0)
    unique = samples / np.maximum(epochs, 1)
    return unique * (1 - half_life * np.expm1(-again / half_life))


def fit_repeats(rows: Sequence[ResultRow]) -> DataConstrained | None:
    """The law through `rows`, or through some of very many.

    None unless all state their epochs, some of `LEAST_EPOCHS`, and determine L(N, D).
    """
    used = [row for row in rows if row.loss]
    if not used or any(row.epochs is None for row in used) or max(row.epochs or 0 for row in used) < LEAST_EPOCHS:
        return None
    used = used[:: math.ceil(len(used) / MOST_FITTED)]
    params, samples, loss, epochs = (
        np.array([getattr(row, name) for row in used], float) for name in ("params", "samples", "loss", "epochs")
    )
    try:
        plain = fit_surface(params, samples, loss, profiled=False)
    except ValueError:
        return None

    def fitted(log_half: float) -> Parametric | None:
        seen = effective(samples, epochs, float(np.exp(log_half)))
        try:
            return fit_surface(params, seen, loss, start=plain.surface, profiled=False)
        except ValueError:
            # If repeated samples are worth so little, the cells no longer differ in them.
            return None

    def objective(log_half: float) -> float:
        found = fitted(log_half)
        return math.inf if found is None else found.objective

    low, high = np.log(RANGE)
    tried = np.linspace(low, high, 15).tolist()
    best = min(tried, key=objective)
    around = max(best - 0.7, low), min(best + 0.7, high)
    result: Any = optimize.minimize_scalar(objective, bounds=around, method="bounded", options={"xatol": 1e-3})
    log_half = min(best, float(result.x), key=objective)
    found = fitted(log_half)
    if found is None:
        return None
    return DataConstrained(found.surface, math.exp(log_half), found.objective, plain.objective)
