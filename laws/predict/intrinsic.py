"""Intrinsic performance: the least compute that reaches a return, with a network of any size.

Hilton, Tang and Schulman (arXiv 2301.13442) measure a policy by it, since returns need not follow a power law of
compute where the difficulty of a game changes with its score.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from laws.fitting.analysis import GameFit
from laws.fitting.bootstrap import basic
from laws.fitting.law import Law

SHARES = (0.25, 0.5, 0.75, 0.9, 1.0)
"""Shares of the greatest measured return at which compute is reported."""


@dataclass(frozen=True)
class Reach:
    """The least compute for one mean return, FLOPs."""

    returns: float
    measured: float
    """Interpolated between the trained cells that no cheaper one beats, linearly in ln C and the return."""
    law: float | None
    """By the power law of the greatest return of each budget; None without one, or where it doesn't rise."""
    interval: tuple[float, float] | None
    """95 % interval of that, by bootstrap of the study."""


def reaches(game: GameFit, shares: Sequence[float] = SHARES) -> tuple[Reach, ...]:
    """The least compute for `shares` of the greatest return, of a game with positive returns."""
    front = frontier(game)
    if len(front) < 2 or front[-1][1] <= 0:
        return ()
    law = game.found("return", "envelope")
    flops, values = zip(*front, strict=True)
    found = []
    for share in shares:
        wanted = share * values[-1]
        if wanted < values[0]:
            continue
        measured = math.exp(float(np.interp(wanted, values, np.log(flops))))
        found.append(Reach(wanted, measured, *_inverse(law, wanted)))
    return tuple(found)


def frontier(game: GameFit) -> list[tuple[float, float]]:
    """(C, return) of the cells that no cell of at most their compute beats, by C."""
    cells = [cell for profile in game.profiles for cell in profile.cells if cell.return_mean is not None]
    return undominated([(cell.flops, cell.return_mean or 0.0) for cell in cells])


def undominated(points: Sequence[tuple[float, float]], *, falls: bool = False) -> list[tuple[float, float]]:
    """The (C, value) that none of at most their compute equals or beats, by C; less is better where it `falls`."""
    found: list[tuple[float, float]] = []
    for flops, value in sorted(points, key=lambda point: (point[0], point[1] if falls else -point[1])):
        if not found or (value < found[-1][1] if falls else value > found[-1][1]):
            found.append((flops, value))
    return found


def _inverse(law: Law | None, wanted: float) -> tuple[float | None, tuple[float, float] | None]:
    if law is None or law.exponent <= 0:
        return None, None
    log_flops = (math.log(wanted) - math.log(law.power.coefficient)) / law.exponent
    if abs(log_flops) > 300:
        return None, None
    if law.spread is None:
        return math.exp(log_flops), None
    exponent, level, _ = law.spread.clean
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn_S = (math.log(wanted) - law.spread.level_S) / law.spread.exponent_S
    clean = (math.log(wanted) - level) / exponent if exponent else math.nan
    ends = basic(log_flops, drawn_S, clean, law.spread.noise)
    if ends is None or max(map(abs, ends)) > 300:
        return math.exp(log_flops), None
    return math.exp(log_flops), (math.exp(ends[0]), math.exp(ends[1]))
