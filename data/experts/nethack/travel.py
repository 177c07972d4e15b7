"""Navigation on a level: to gold, unexplored areas or stairs, or to search for hidden passages."""

import numpy as np

from data.experts.nethack.level import PETS, Level
from data.experts.nethack.moves import Moves
from data.experts.nethack.path import AROUND, way_to, ways
from data.experts.nethack.screen import CLOSED, Screen, Status

READY = {1: 1, 2: 3, 3: 5, 4: 7, 5: 8, 6: 8, 7: 9}
"""Experience level, by dungeon level, at which to descend before exploration is complete; 10 for deeper levels."""

OBJECTS = np.isin(np.arange(256), [ord(char) for char in ")[!?/=(*%$0"])
"""Bool [256]: whether a character shows an object."""


class Travel:
    """Plans paths and follows them."""

    def __init__(self, moves: Moves) -> None:
        self._moves = moves
        self._plan: list[int] = []
        """Remaining cells of the path, in reverse order."""
        self._revision = -1
        """The level's revision when the plan was made."""

    def cancel(self) -> None:
        """Discard the path."""
        self._plan.clear()

    def key(self, level: Level, screen: Screen, status: Status, in_way: set[int]) -> str:
        """Return the next key: follow the path, or plan a new one if it has ended or the map has changed."""
        here = screen.here
        stale = self._revision != level.revision
        if stale or not self._plan or self._plan[-1] not in AROUND[here] or self._plan[-1] in in_way:
            key = self._make_plan(level, screen, status, in_way)
            self._revision = level.revision
            if key is not None:
                return key
        cell = self._plan.pop()
        if cell in level.locked and level.kinds[cell] == CLOSED:
            return self._moves.kick(here, cell)
        return self._moves.go(here, cell)

    def _make_plan(self, level: Level, screen: Screen, status: Status, in_way: set[int]) -> str | None:
        """Plan a path to gold, unexplored cells or stairs. If already there, return the key to press instead."""
        here = screen.here
        chars = screen.looks >> 4
        stairs = np.zeros(chars.size, bool)
        stairs[list(level.down)] = True
        ready = status.level >= READY.get(status.depth, 10)
        # If the level is explored and no stairs were seen, they may be under an object.
        wishes = [chars == ord("$"), level.frontier(), stairs, OBJECTS[chars] & ~level.stood]
        for wish in wishes:
            wish[here] &= wish is stairs
        before = {here: here}
        for daring in (False, True):
            enter = level.enterable(daring)
            enter[list(in_way)] = False
            before = ways(here, enter.tobytes(), level.kinds.tobytes(), level.shut, self._moves.heading)
            for wish in [stairs, *wishes] if ready else wishes:
                wished = wish.tolist()
                goal = next((cell for cell in before if wished[cell]), None)
                if goal == here:
                    return ">"
                if goal is not None:
                    self._plan = way_to(goal, before)
                    return None
        return self._search(level, here, before)

    def _search(self, level: Level, here: int, before: dict[int, int]) -> str | None:
        """Plan a path to the most promising cell for a search. If already there, return the key to search."""
        promise = level.promise().tolist()
        steps: dict[int, int] = {}
        for cell, last in before.items():
            steps[cell] = steps.get(last, -1) + 1
        spot = max(before, key=lambda cell: promise[cell] - 0.5 * steps[cell])
        if spot != here:
            self._plan = way_to(spot, before)
            return None
        level.searched[[here, *AROUND[here]]] += 1
        level.searches += 1
        if level.searches % 10 == 0:
            level.shut.clear()
            level.failures.clear()
        return self._moves.type("15s")


def in_way(level: Level, screen: Screen, others: set[int], turn: int, slow: frozenset[int]) -> set[int]:
    """Return the cells to avoid: those where a monster that should not be fought is, or was recently.

    Monsters whose look is in `slow` hardly move and are remembered for longer.
    """
    there = {
        cell for cell in others if (who := int(screen.looks[cell])) not in PETS and (cell, who) not in level.statues
    }
    for cell in there:
        # Monsters out of sight may still be there, slow ones for longer.
        level.avoided[cell] = turn + (200 if int(screen.looks[cell]) in slow else 20)
    for cell, until in list(level.avoided.items()):
        if turn > until or (cell in AROUND[screen.here] and cell not in others):
            del level.avoided[cell]
    return set(level.avoided)
