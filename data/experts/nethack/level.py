"""What a player remembers of a dungeon level beyond what the terminal shows."""

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
"""Kittens, little dogs and ponies: walking into one's own pet swaps places, so they are never in the way."""


class Level:
    """Memory of one dungeon level. Arrays are [1920], one element per cell of the terminal."""

    def __init__(self) -> None:
        self.kinds = np.full(CELLS, BLANK, np.uint8)
        """What was last seen in each cell apart from monsters, see `data.experts.nethack.screen`."""
        self.revision = 0
        """Counts changes of what is known of the map."""
        self.stood = np.zeros(CELLS, bool)
        """Cells that the player has stood on."""
        self.looked = np.ones(CELLS, bool)
        """Cells that were next to the player, or lie off the map: if blank they are rock."""
        self.looked[MAP] = False
        self.searched = np.zeros(CELLS, np.int32)
        """How often each cell was next to a search."""
        self.searches = self.rests = 0
        """How often the player searched and rested."""
        self.down: set[int] = set()
        """Cells with stairs down."""
        self.up: set[int] = set()
        """Cells with stairs up."""
        self.locked: set[int] = set()
        """Cells with locked doors."""
        self.barred: set[int] = set()
        """Cells not to enter: shops."""
        self.failures: Counter[tuple[int, int]] = Counter()
        """How often each step (from, to) led nowhere."""
        self.shut: set[tuple[int, int]] = set()
        """Steps (from, to) that turned out to be impossible."""
        self.watched = False
        """Whether there is a watch, who minds kicked doors."""
        self.harmless = set(PETS)
        """Looks of pets and peaceful monsters."""
        self.statues: set[tuple[int, int]] = set()
        """Cells and looks of what seemed a monster, but could be stepped on."""
        self.avoided: dict[int, int] = {}
        """Cells of monsters to walk around, each with the turn at which to forget it."""

    def update(self, screen: Screen, kinds: np.ndarray) -> None:
        """Take in a screen, in whose cells stand `kinds`."""
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
        """Bool: known cells next to which something may still be unseen."""
        unseen = (self.kinds == BLANK) & ~self.looked
        return dilate(unseen) & (self.kinds != BLANK)

    def enterable(self, daring: bool) -> np.ndarray:
        """Bool: cells that can be walked on; traps and boulders only if `daring`."""
        kinds = (FLOOR, CORRIDOR, DOOR, CLOSED, TRAP, BOULDER)
        enter = np.isin(self.kinds, kinds if daring else kinds[:4])
        enter[list(self.barred)] = False
        return enter

    def promise(self) -> np.ndarray:
        """Float: how much hope there is that a search from each cell finds a hidden passage.

        It is found at the edge of what can be walked on, towards large unknown areas, and at dead ends.
        """
        enter = self.enterable(daring=True)
        unknown = _box_sum(self.kinds == BLANK, 8)
        exits = _box_sum(enter, 1) - enter
        dead_end = (self.kinds == CORRIDOR) & (exits <= 1)
        return unknown / 8 * dilate(~enter) + 30 * dead_end - 15 * self.searched


def _box_sum(mask_1920: np.ndarray, radius: int) -> np.ndarray:
    """Int [1920]: marked cells of the map at most `radius` rows and columns away."""
    grid = mask_1920[MAP].reshape(-1, COLUMNS).astype(np.int32)
    total = np.pad(grid, ((radius + 1, radius),) * 2).cumsum(0).cumsum(1)
    size = 2 * radius + 1
    box = total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    result = np.zeros(CELLS, np.int32)
    result[MAP] = box.reshape(-1)
    return result
