"""Budgets: cells whose training compute agrees within a tolerance."""

from collections.abc import Sequence

BIN = 0.05
"""Relative difference of FLOPs up to which neighbouring cells are of one budget."""


def binned(flops: Sequence[float], tolerance: float = BIN) -> list[list[int]]:
    """Indices of `flops` by budget, in ascending order of both.

    A budget ends where the next FLOPs are more than `tolerance` above the last, or more than twice that above its
    first: a sweep at its actual compute, which differs from cell to cell, then has the budgets it was planned with.
    """
    order = sorted(range(len(flops)), key=lambda place: flops[place])
    bins: list[list[int]] = []
    for place in order:
        value = flops[place]
        if (
            bins
            and value <= flops[bins[-1][-1]] * (1 + tolerance)
            and value <= flops[bins[-1][0]] * (1 + tolerance) ** 2
        ):
            bins[-1].append(place)
        else:
            bins.append([place])
    return bins
