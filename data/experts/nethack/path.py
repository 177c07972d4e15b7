"""Ways over the map: which cells touch, and the shortest way from one cell to every other."""

from collections.abc import Collection, Iterable

import numpy as np

from data.experts.nethack.screen import CELLS, CLOSED, DOOR
from data.spec import COLUMNS

COMPASS = {
    "k": -COLUMNS,
    "u": 1 - COLUMNS,
    "l": 1,
    "n": COLUMNS + 1,
    "j": COLUMNS,
    "b": COLUMNS - 1,
    "h": -1,
    "y": -COLUMNS - 1,
}
"""Offset in cells of each direction key, clockwise from north."""

KEY_OF_OFFSET = {offset: key for key, offset in COMPASS.items()}
STRAIGHT = frozenset(COMPASS[key] for key in "kljh")


def _on_map(cell: int) -> bool:
    return COLUMNS <= cell < 22 * COLUMNS


def _neighbours(cell: int, offsets: Iterable[int]) -> tuple[int, ...]:
    return tuple(
        cell + offset
        for offset in offsets
        if _on_map(cell) and _on_map(cell + offset) and abs((cell + offset) % COLUMNS - cell % COLUMNS) <= 1
    )


def _order(first: int) -> list[int]:
    """All eight offsets: the first, then straight ones before diagonal ones, so that walks don't zigzag."""
    return sorted(COMPASS.values(), key=lambda offset: (offset != first, offset not in STRAIGHT))


NEIGHBOURS = {first: [_neighbours(cell, _order(first)) for cell in range(CELLS)] for first in STRAIGHT}
"""For each straight heading, the cells around each cell, the one straight ahead first."""

AROUND = [frozenset(cells) for cells in NEIGHBOURS[1]]
"""The cells around each cell."""


def dilate(mask_1920: np.ndarray) -> np.ndarray:
    """Bool [1920]: the marked cells and all that touch them."""
    grid = mask_1920.reshape(-1, COLUMNS)
    wide = grid.copy()
    wide[:, 1:] |= grid[:, :-1]
    wide[:, :-1] |= grid[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall.reshape(-1)


def ways(start: int, enter: bytes, kinds: bytes, shut: Collection[tuple[int, int]], heading: int) -> dict[int, int]:
    """Breadth-first search: for each cell that can be reached, nearest first, the cell before it.

    Args:
        start: The cell to start from; the cell before it is itself.
        enter: For each cell, whether it may be entered (0 or 1).
        kinds: For each cell, what stands there: doors let nobody through diagonally.
        shut: Pairs of neighbouring cells (from, to) between which no step is possible.
        heading: Offset to prefer among equally short ways, so that walks go straight on.
    """
    around = NEIGHBOURS[heading]
    before = {start: start}
    queue = [start]
    for cell in queue:
        in_door = DOOR <= kinds[cell] <= CLOSED
        for step in around[cell]:
            if not enter[step] or step in before:
                continue
            if (in_door or DOOR <= kinds[step] <= CLOSED) and step - cell not in STRAIGHT:
                continue
            if shut and (cell, step) in shut:
                continue
            before[step] = cell
            queue.append(step)
    return before


def way_to(goal: int, before: dict[int, int]) -> list[int]:
    """The cells from the one after the start to the goal, last first: `pop` gives the next step."""
    cells = []
    while before[goal] != goal:
        cells.append(goal)
        goal = before[goal]
    return cells
