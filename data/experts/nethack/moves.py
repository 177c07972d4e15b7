"""Steps, blows and commands of several keys: what was pressed, and what came of it."""

import re

from data.experts.nethack.level import Level
from data.experts.nethack.path import COMPASS, KEY_OF_OFFSET, STRAIGHT
from data.experts.nethack.screen import KINDS, MONSTER, Screen

ESC, KICK = "\x1b", "\x04"

_TRAPPED = re.compile(r"stuck|pit|trap|web|leg|cannot escape|sink")


class Moves:
    """The moves of one game."""

    def __init__(self) -> None:
        self.typing: list[str] = []
        """Keys still to press of a command with a count."""
        self.direction = ESC
        """Answer to the next question for a direction."""
        self.heading = COMPASS["l"]
        """Offset of the last straight step."""
        self.step: tuple[int, int] | None = None
        """The last step or blow (from, to), until its outcome has been seen."""
        self.foe: int | None = None
        """Look of the monster that the last blow was for."""

    def type(self, keys: str) -> str:
        """Press several keys, one per screen: the first of them."""
        self.typing = list(keys[1:])
        return keys[0]

    def go(self, here: int, cell: int) -> str:
        """The key to step, or hit, in the direction of a neighbouring cell."""
        self.step = (here, cell)
        if cell - here in STRAIGHT:
            self.heading = cell - here
        return KEY_OF_OFFSET[cell - here]

    def kick(self, here: int, cell: int) -> str:
        """The key to kick a neighbouring cell; the direction is asked for next."""
        self.step = (here, cell)
        self.direction = KEY_OF_OFFSET[cell - here]
        return KICK

    def failed(self, level: Level, screen: Screen) -> bool:
        """Whether the last step led nowhere; what that tells of the level is noted in it."""
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
    """Whether a cell shows a monster other than the player."""
    return cell != screen.here and bool(KINDS[screen.looks[cell]] == MONSTER)
