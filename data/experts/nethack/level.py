"""The player's memory of a dungeon level."""

from collections import Counter

import numpy as np

from data.experts.nethack.path import AROUND, dilate
from data.experts.nethack.screen import (
    BLANK,
    BOULDER,
    BROWN,
    CELLS,
    CLOSED,
    CORRIDOR,
    DOOR,
    FLOOR,
    MAP,
    MONSTER,
    TRAP,
    WHITE,
    Screen,
    look,
)
from data.spec import COLUMNS

PETS = frozenset({look("f", WHITE), look("d", WHITE), look("u", BROWN)})
"""Looks of kittens, little dogs and ponies. Pets never block a path: moving onto one swaps places with it."""


class Level:
    """Memory of one dungeon level. Arrays are [1920], one element per cell of the terminal."""

    def __init__(self) -> None:
        self.kinds = np.full(CELLS, BLANK, np.uint8)
        """Last seen content of each cell other than monsters, a code of `data.experts.nethack.screen`."""
        self.revision = 0
        """Version of the map, incremented on every change."""
        self.stood = np.zeros(CELLS, bool)
        """Cells that the player has stood on."""
        self.looked = np.ones(CELLS, bool)
        """Cells that were adjacent to the player or lie off the map. If still blank, they are solid rock."""
        self.looked[MAP] = False
        self.searched = np.zeros(CELLS, np.int32)
        """Number of searches that covered each cell."""
        self.searches = self.rests = 0
        """Number of searches and rests on this level."""
        self.down: set[int] = set()
        """Cells with stairs down."""
        self.up: set[int] = set()
        """Cells with stairs up."""
        self.locked: set[int] = set()
        """Cells with locked doors."""
        self.barred: set[int] = set()
        """Cells that must not be entered: shops."""
        self.failures: Counter[tuple[int, int]] = Counter()
        """Number of failures of each move (from, to)."""
        self.shut: set[tuple[int, int]] = set()
        """Moves (from, to) found to be impossible."""
        self.watched = False
        """Whether the level has watchmen, who get angry about kicked doors."""
        self.harmless = set(PETS)
        """Looks of pets and peaceful monsters."""
        self.statues: set[tuple[int, int]] = set()
        """(cell, look) of apparent monsters whose cell could be entered: statues."""
        self.avoided: dict[int, int] = {}
        """Cells of monsters to avoid, with the turn at which each entry expires."""

    def update(self, screen: Screen, kinds: np.ndarray) -> None:
        """Update the map from a screen; `kinds` are its cells' contents, uint8 [1920]."""
        here = screen.here
        seen = (kinds != MONSTER) & (kinds != BLANK)
        seen[: MAP.start] = seen[MAP.stop :] = seen[here] = False
        changed = seen & (kinds != self.kinds)
        if changed.any():
            self.kinds[changed] = kinds[changed]
            self.revision += 1
        if self.kinds[here] in (BLANK, CLOSED):
            self.kinds[here] = FLOOR
            self.revision += 1
        if not self.stood[here]:
            self.stood[here] = True
            self.looked[list(AROUND[here])] = True
            self.revision += 1
        chars = screen.looks >> 4
        self.down.update(np.flatnonzero(seen & (chars == ord(">"))).tolist())
        self.up.update(np.flatnonzero(seen & (chars == ord("<"))).tolist())
        if "staircase down here" in screen.message:
            self.down.add(here)

    def frontier(self) -> np.ndarray:
        """Return the known cells with unexplored neighbors, bool [1920]."""
        unseen = (self.kinds == BLANK) & ~self.looked
        return dilate(unseen) & (self.kinds != BLANK)

    def enterable(self, daring: bool) -> np.ndarray:
        """Return the cells that can be entered, bool [1920]; traps and boulders only if `daring`."""
        kinds = (FLOOR, CORRIDOR, DOOR, CLOSED, TRAP, BOULDER)
        enter = np.isin(self.kinds, kinds if daring else kinds[:4])
        enter[list(self.barred)] = False
        return enter

    def promise(self) -> np.ndarray:
        """Score each cell, float [1920], by how likely a search there finds a hidden passage.

        Scores are high at the border of the walkable area next to large unknown regions, and at dead ends; they fall
        with the number of searches.
        """
        enter = self.enterable(daring=True)
        unknown = _box_sum(self.kinds == BLANK, 8)
        exits = _box_sum(enter, 1) - enter
        dead_end = (self.kinds == CORRIDOR) & (exits <= 1)
        return unknown / 8 * dilate(~enter) + 30 * dead_end - 15 * self.searched


def _box_sum(mask_1920: np.ndarray, radius: int) -> np.ndarray:
    """Count the marked cells of the map within `radius` rows and columns of each cell, int32 [1920]."""
    grid = mask_1920[MAP].reshape(-1, COLUMNS).astype(np.int32)
    total = np.pad(grid, ((radius + 1, radius),) * 2).cumsum(0).cumsum(1)
    size = 2 * radius + 1
    box = total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    result = np.zeros(CELLS, np.int32)
    result[MAP] = box.reshape(-1)
    return result
