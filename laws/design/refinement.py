"""Refinement: the sizes that a budget needs besides, and those of the next budget, by the rows so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from laws.design.config import Size
from laws.design.grid import Distance, by_law, expected_after
from laws.fitting.analysis import Fit
from laws.fitting.isoflop import Profile


@dataclass(frozen=True)
class Decision:
    """The sizes that are added to a budget, and why, or why none are."""

    sizes: tuple[Size, ...]
    reason: str


def decided(profile: Profile, trained: Sequence[Size], others: Sequence[Size], factor: float) -> Decision:
    """The sizes that a budget needs besides those that are trained.

    Without a minimum inside the grid, it goes on beyond the edge of least loss. Where the interval of the vertex spans
    more than `factor`, the nearest size on either side of the vertex is added.

    Args:
        profile: The budget's cells and vertex.
        trained: The sizes that it has, at least one.
        others: Sizes of the family that may be added.
        factor: The span of a 95 % interval of N that is narrow enough.
    """
    smallest, largest = trained[0].params, trained[-1].params
    below = sorted((size for size in others if size.params < smallest), key=lambda size: -size.params)
    above = sorted((size for size in others if size.params > largest), key=lambda size: size.params)
    vertex = profile.vertex
    if vertex is None:
        small, large = profile.best.params == smallest, profile.best.params == largest
        added = below[:2] if small else above[:2] if large else [*below[:1], *above[:1]]
        where = "at its smallest size" if small else "at its largest size" if large else "nowhere clearly"
        return _decision(added, f"no vertex, least loss {where}")
    best, ends = vertex.params, vertex.params_ci or vertex.params_ci_residuals
    width = math.inf if ends is None else ends[1] / ends[0]
    span = "not known" if ends is None else f"{ends[0]:.3g} to {ends[1]:.3g}"
    found = f"vertex N = {best:.3g}, 95 % {span}"
    if width <= factor:
        return Decision((), f"{found}: narrow enough")
    sides = (
        [size for size in others if size.params < best],
        [size for size in others if size.params >= best],
    )
    nearest = [min(side, key=lambda size: abs(math.log(size.params / best))) for side in sides if side]
    return _decision(nearest, found)


def _decision(added: Sequence[Size], found: str) -> Decision:
    if not added:
        return Decision((), f"{found}: the family has no more sizes there (--seeds would narrow it)")
    names = " ".join(size.agent.rpartition("/")[2] for size in sorted(added, key=lambda size: size.params))
    return Decision(tuple(added), f"{found}: adds {names}")


def profiles_of(fitted: Fit, budgets: Sequence[float]) -> dict[float, Profile]:
    """The profiles of budgets that have rows."""
    profiles = [profile for game in fitted.games for profile in game.profiles]
    return {min(budgets, key=lambda budget: abs(budget - profile.flops)): profile for profile in profiles}


def expected_next(fitted: Fit, game: str) -> Distance | None:
    """Where the next budget's optimum is expected: by the law of N or, with too few budgets for one, by N ~ C^0.5
    through the last budget's vertex, or its best cell. None without rows."""
    profiles = [profile for of_game in fitted.games for profile in of_game.profiles]
    found = expected_after(fitted, game)
    if found is not None or not profiles:
        return found
    last = profiles[-1]
    params = last.vertex.params if last.vertex else last.best.params
    return by_law(params / math.sqrt(last.flops), 0.5)
