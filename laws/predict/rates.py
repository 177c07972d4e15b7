"""The learning rate with the least loss against the number of parameters, as a power law."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.results import ResultRow
from laws.fitting.power import PowerLaw, fit_power


@dataclass(frozen=True)
class BestRate:
    """The learning rate with the least loss of one network, interpolated between the runs around the best one."""

    params: int
    samples: int
    lr: float
    loss: float
    """Of the best run."""
    tried: tuple[tuple[float, float], ...]
    """(learning rate, loss) of the runs, by learning rate."""


def best_rates(rows: Sequence[ResultRow]) -> list[BestRate]:
    """One for each network whose best learning rate has runs on both sides, smallest network first.

    Rows are joined where game, N, D and batch agree; seeds are averaged. The rate is the vertex of the parabola of ln
    loss against ln rate through the best run and its neighbours.
    """
    alike: dict[tuple[str, int, int, int], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.lr and row.loss and row.batch:
            alike[row.game, row.params, row.samples, row.batch][row.lr].append(row.loss)
    found = []
    for (_, params, samples, _), losses in sorted(alike.items()):
        tried = tuple(sorted((lr, float(np.mean(several))) for lr, several in losses.items()))
        best = min(range(len(tried)), key=lambda place: tried[place][1])
        if 0 < best < len(tried) - 1:
            x, y = np.log(tried[best - 1 : best + 2]).T
            curvature, slope, _ = np.polyfit(x - x[1], y, 2)
            lr = math.exp(x[1] - slope / (2 * curvature))
            found.append(BestRate(params, samples, lr, tried[best][1], tried))
    return found


def rate_law(best: Sequence[BestRate]) -> PowerLaw:
    """The power law of the best learning rate against N.

    Raises: ValueError: fewer than two sizes.
    """
    return fit_power([(one.params, one.lr) for one in best])
