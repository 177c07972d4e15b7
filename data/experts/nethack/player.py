"""The scripted NetHack expert. From the terminal alone it explores, fights, eats, prays and descends."""

import re
from collections.abc import Mapping

import numpy as np

from data.experts.nethack.level import Level
from data.experts.nethack.moves import ESC, Moves, is_monster
from data.experts.nethack.path import AROUND, COMPASS, NEIGHBOURS, way_to, ways
from data.experts.nethack.screen import (
    BLUE,
    BRIGHT_GREEN,
    BROWN,
    CLOSED,
    GRAY,
    GREEN,
    KINDS,
    MONSTER,
    YELLOW,
    Ask,
    Screen,
    Status,
    look,
    read,
)
from data.experts.nethack.travel import Travel, in_way
from data.games.keys import action_of_key
from data.spec import COLUMNS

RETURN, PRAY = "\r", "\xf0"
ACTION_OF_KEY = action_of_key().tolist()

DEADLY = frozenset({look("c", YELLOW), look("c", BROWN)})
"""Looks of monsters never to touch: cockatrices and chickatrices."""

UNTOUCHABLE = DEADLY | {
    *(look("e", color) for color in (BLUE, GRAY)),
    *(look("F", color) for color in range(16) if color != BRIGHT_GREEN),
    *(look(char, color) for char in "j;" for color in range(16)),
    look("b", GREEN),
}
"""Looks of monsters with passive attacks, not to be attacked: floating eyes, gas spores, molds, jellies, acid blobs."""

RESTS = 60
"""Maximum number of rests, of 20 turns each, on one level."""

_HEALING = re.compile(r"\b([a-zA-Z]) - [^.\n]{0,30}potions? of (?:extra |full )?healing")
_FOOD = re.compile(r"What do you want to eat\? \[([a-zA-Z])")
_DRINK = re.compile(r"What do you want to drink\? \[([a-zA-Z-]+)")
_SHOP = re.compile(r"elcome (?:again )?to \S+(?:'s|') ")
_HURT = re.compile(r"(?:bites|hits|claws|kicks|butts|stings|touches you)!")


class NetHackExpert:
    """Player of one NetHack game, determined by its seed and the screens. The seed is used only when stuck."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._levels: dict[int, Level] = {}
        self._depth = 0
        self._moves = Moves()
        self._travel = Travel(self._moves)
        self._healing: set[str] = set()
        """Inventory letters of potions of healing."""
        self._inventory_known = False
        self._next_meal = 0
        self._next_prayer = 150
        self._resting = False
        self._chase = 0
        """Increases while a monster is pursued without reaching it, and decays over time."""
        self._hp = 0
        self._turn = 0
        self._idle = 0
        """Number of key presses since the turn counter last changed."""

    def act(self, observation: Mapping[str, np.ndarray], /) -> int:
        """Return an index into `data.games.keys.KEYS`. See `data.games.base.Player`."""
        screen = read(observation["chars"], observation["colors"], observation["cursor"])
        return ACTION_OF_KEY[ord(self._key(screen))]

    def _key(self, screen: Screen) -> str:
        """Select the key to press."""
        if self._is_stuck(screen.status):
            self._travel.cancel()
            self._moves.typing.clear()
            # A random letter might confirm an attack on a peaceful monster.
            return ESC if screen.ask is Ask.QUESTION else str(self._random.choice([ESC, RETURN, "s", *COMPASS]))
        self._heed(screen)
        if screen.ask is Ask.MORE:
            return RETURN
        if self._moves.typing:
            return self._moves.typing.pop(0)
        if screen.ask is Ask.QUESTION:
            return self._answer(screen)
        if screen.ask is Ask.MENU or screen.status is None:
            return ESC
        return self._command(screen, screen.status)

    def _is_stuck(self, status: Status | None) -> bool:
        """Return whether the turn counter has not changed for 20 keys, so that the usual rules make no progress."""
        turn = self._turn if status is None else status.turn
        self._idle = self._idle + 1 if turn == self._turn else 0
        self._turn = turn
        return self._idle > 20

    def _heed(self, screen: Screen) -> None:
        """Update the memory from the message."""
        message = screen.message
        self._healing.update(_HEALING.findall(message))
        if "don't have anything to drink" in message or "silly thing to drink" in message:
            self._healing.clear()
        if "don't have anything to eat" in message:
            self._next_meal = self._turn + 500
        level = self._levels.get(self._depth)
        if level is None:
            return
        if "watchman" in message or "watch captain" in message:
            level.watched = True
        if "Closed for inventory" in message:
            level.barred.update(cell for cell in AROUND[screen.here] if level.kinds[cell] == CLOSED)
            self._travel.cancel()
        if self._moves.step is not None and _SHOP.search(message):
            # Items picked up in a shop must be paid for: leave it and do not enter again.
            door, inside = self._moves.step
            level.barred.add(inside)
            level.shut.update((inside, cell) for cell in AROUND[inside] if cell != door)
            self._travel.cancel()
        if self._moves.step is not None and ("You swap places" in message or "You stop." in message):
            level.harmless.update(int(screen.looks[cell]) for cell in self._moves.step if is_monster(screen, cell))

    def _answer(self, screen: Screen) -> str:
        """Answer a prompt."""
        message = screen.message
        food = _FOOD.search(message)
        if food:
            return food[1]
        if "In what direction" in message:
            return self._moves.direction
        drink = _DRINK.search(message)
        if drink:
            self._healing &= _letters(drink[1])
            return min(self._healing, default=ESC)
        if "sure you want to pray" in message or "Stop eating" in message:
            return "y"
        if "eat it?" in message or "eat one?" in message:
            return "n"  # a corpse of unknown age
        if "Really attack" in message and self._moves.step is not None and self._depth in self._levels:
            level, target = self._levels[self._depth], self._moves.step[1]
            level.harmless.add(int(screen.looks[target]))
            level.avoided[target] = self._turn + 20
        return ESC

    def _command(self, screen: Screen, status: Status) -> str:
        """Select a command: that of the first behavior that applies, in order of priority."""
        if not self._inventory_known:
            self._inventory_known = True
            return "i"
        if status.depth != self._depth:
            self._depth = status.depth
            self._travel.cancel()
            self._moves.step = None
        level = self._levels.setdefault(status.depth, Level())
        if _is_engulfed(screen):
            return self._moves.go(screen.here, screen.here - COLUMNS)
        kinds = KINDS[screen.looks]
        level.update(screen, kinds)
        if self._moves.failed(level, screen):
            self._travel.cancel()
        monsters = _monsters(screen, kinds)
        if status.hp < self._hp and _HURT.search(screen.message):
            _trust_nobody(level, screen, monsters)
        self._hp = status.hp
        foes = {cell for cell in monsters if _is_foe(level, screen, status, cell)}
        near = [cell for cell in NEIGHBOURS[self._moves.heading][screen.here] if cell in foes]
        return (
            self._survive(level, screen, status, near)
            or self._fight(level, screen, status, foes, near)
            or self._eat(status)
            or self._rest(level, status, foes)
            or self._travel.key(level, screen, status, in_way(level, screen, monsters - foes, self._turn, UNTOUCHABLE))
        )

    def _survive(self, level: Level, screen: Screen, status: Status, near: list[int]) -> str | None:
        """Pray, drink a potion or escape by the stairs at low hit points; pray when starving."""
        starving = status.hunger in ("Weak", "Faint")
        if (status.dying or starving) and status.turn >= self._next_prayer:
            self._next_prayer = status.turn + 1000
            return PRAY
        weak = bool(near) and status.hp * 3 < status.max_hp
        if self._healing and (status.dying or weak):
            return "q"
        if weak and screen.here in level.up and status.depth > 1:
            return "<"
        if weak and screen.here in level.down:
            return ">"
        return None

    def _fight(self, level: Level, screen: Screen, status: Status, foes: set[int], near: list[int]) -> str | None:
        """Attack an adjacent foe, or approach a nearby one."""
        here = screen.here
        if near:
            self._chase = 0
            self._moves.foe = int(screen.looks[near[0]])
            return self._moves.go(here, near[0])
        self._chase = max(self._chase - 1, 0)
        close = [cell for cell in foes if _distance(here, cell) <= 6]
        if not close or self._chase > 20 or status.hp * 2 < status.max_hp:
            return None
        enter = level.enterable(daring=False) & (KINDS[screen.looks] != MONSTER)
        enter[close] = True
        before = ways(here, enter.tobytes(), level.kinds.tobytes(), level.shut, self._moves.heading)
        nearest = next((cell for cell in before if cell in foes), here)
        way = way_to(nearest, before)
        if not 0 < len(way) <= 10:
            return None
        self._chase += 3
        self._travel.cancel()
        return self._moves.go(here, way[-1])

    def _eat(self, status: Status) -> str | None:
        """Eat when hungry."""
        if status.hunger and status.turn >= self._next_meal:
            self._next_meal = status.turn + 10
            return "e"
        return None

    def _rest(self, level: Level, status: Status, foes: set[int]) -> str | None:
        """Rest to regain hit points while no foe is in sight."""
        enough = 0.8 if self._resting else 0.5
        self._resting = status.hp < enough * status.max_hp
        if self._resting and not foes and not status.hunger and level.rests < RESTS:
            level.rests += 1
            return self._moves.type("20s")
        return None


def _trust_nobody(level: Level, screen: Screen, monsters: set[int]) -> None:
    """Treat all adjacent monsters as foes, after an attack by one of them."""
    for cell in monsters & AROUND[screen.here]:
        level.harmless.discard(int(screen.looks[cell]))
        level.statues.discard((cell, int(screen.looks[cell])))


def _is_foe(level: Level, screen: Screen, status: Status, cell: int) -> bool:
    """Return whether to fight the monster in a cell."""
    who = int(screen.looks[cell])
    # After many failed searches, fight monsters that may block the only path.
    desperate = level.searches >= 10 and status.hp >= 25 and status.hp * 5 >= status.max_hp * 4
    leave_alone = DEADLY if desperate else UNTOUCHABLE
    return not (who in leave_alone or who in level.harmless or (cell, who) in level.statues)


def _letters(text: str) -> set[str]:
    """Expand inventory letters of a prompt: "ce-g" stands for c, e, f and g."""
    ranges = re.findall(r"(\w)-(\w)", text)
    between = {chr(code) for first, last in ranges for code in range(ord(first), ord(last) + 1)}
    return between | set(text) - {"-"}


def _monsters(screen: Screen, kinds: np.ndarray) -> set[int]:
    """Return the map cells that show a monster, except the player's."""
    there = kinds == MONSTER
    there[:COLUMNS] = there[22 * COLUMNS :] = False
    return set(np.flatnonzero(there).tolist()) - {screen.here}


def _is_engulfed(screen: Screen) -> bool:
    """Return whether the player is engulfed by a monster."""
    corner = screen.here - COLUMNS - 1
    above = screen.looks[max(corner, 0) : corner + 3] >> 4
    return above.tolist() == [ord("/"), ord("-"), ord("\\")]


def _distance(one: int, other: int) -> int:
    """Return the Chebyshev distance between two cells."""
    (row, column), (to_row, to_column) = divmod(one, COLUMNS), divmod(other, COLUMNS)
    return max(abs(row - to_row), abs(column - to_column))
