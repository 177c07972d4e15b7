"""Path planning: adjacency of map cells and shortest paths."""

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
"""Cell offset of each direction key, clockwise from north."""

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
    """Order the eight offsets: `first`, then orthogonal before diagonal ones, which avoids zigzag paths."""
    return sorted(COMPASS.values(), key=lambda offset: (offset != first, offset not in STRAIGHT))


NEIGHBOURS = {first: [_neighbours(cell, _order(first)) for cell in range(CELLS)] for first in STRAIGHT}
"""For each orthogonal heading, the neighbors of each cell, with the one straight ahead first."""

AROUND = [frozenset(cells) for cells in NEIGHBOURS[1]]
"""The neighbors of each cell."""


def dilate(mask_1920: np.ndarray) -> np.ndarray:
    """Return the marked cells and all their neighbors, bool [1920]."""
    grid = mask_1920.reshape(-1, COLUMNS)
    wide = grid.copy()
    wide[:, 1:] |= grid[:, :-1]
    wide[:, :-1] |= grid[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall.reshape(-1)


def ways(start: int, enter: bytes, kinds: bytes, shut: Collection[tuple[int, int]], heading: int) -> dict[int, int]:
    """Find shortest paths from one cell by breadth-first search.

    Args:
        start: The start cell.
        enter: For each cell, whether it may be entered (0 or 1).
        kinds: For each cell, its content. Doors cannot be passed diagonally.
        shut: Moves (from, to) that are impossible.
        heading: Preferred offset among equally short paths.

    Returns:
        For each reachable cell its predecessor, nearest cells first; `start` is its own predecessor.
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
    """Return the path to the goal in reverse order and without the start: `pop` gives the next cell."""
    cells = []
    while before[goal] != goal:
        cells.append(goal)
        goal = before[goal]
    return cells
