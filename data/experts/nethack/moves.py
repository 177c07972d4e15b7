"""Moves, attacks and multi-key commands, and tracking of their outcomes."""

import re

from data.experts.nethack.level import Level
from data.experts.nethack.path import COMPASS, KEY_OF_OFFSET, STRAIGHT
from data.experts.nethack.screen import KINDS, MONSTER, Screen

ESC, KICK = "\x1b", "\x04"

_TRAPPED = re.compile(r"stuck|pit|trap|web|leg|cannot escape|sink")


class Moves:
    """Pending keys and the last move of one game."""

    def __init__(self) -> None:
        self.typing: list[str] = []
        """Remaining keys of a multi-key command."""
        self.direction = ESC
        """Answer to the next prompt for a direction."""
        self.heading = COMPASS["l"]
        """Cell offset of the last orthogonal move."""
        self.step: tuple[int, int] | None = None
        """The last move or attack (from, to), until its outcome is observed."""
        self.foe: int | None = None
        """Look of the monster that was last attacked."""

    def type(self, keys: str) -> str:
        """Schedule keys to be pressed on successive screens, and return the first."""
        self.typing = list(keys[1:])
        return keys[0]

    def go(self, here: int, cell: int) -> str:
        """Return the key to move to, or attack, an adjacent cell."""
        self.step = (here, cell)
        if cell - here in STRAIGHT:
            self.heading = cell - here
        return KEY_OF_OFFSET[cell - here]

    def kick(self, here: int, cell: int) -> str:
        """Return the key to kick an adjacent cell, and prepare the answer to the prompt for a direction."""
        self.step = (here, cell)
        self.direction = KEY_OF_OFFSET[cell - here]
        return KICK

    def failed(self, level: Level, screen: Screen) -> bool:
        """Return whether the last move failed, and update the level accordingly."""
        step, self.step = self.step, None
        foe, self.foe = self.foe, None
        if step is None:
            return False
        target = step[1]
        if foe is not None and screen.here == target:
            level.statues.add((target, foe))
        if screen.here != step[0] or is_monster(screen, target) or _TRAPPED.search(screen.message):
            return False
        if "locked" in screen.message:
            level.locked.add(target)
        level.failures[step] += 1
        patience = 20 if target in level.locked else 4
        if level.failures[step] >= patience or (target in level.locked and level.watched):
            level.shut.add(step)
        return True


def is_monster(screen: Screen, cell: int) -> bool:
    """Return whether a cell shows a monster other than the player."""
    return cell != screen.here and bool(KINDS[screen.looks[cell]] == MONSTER)
