"""A scripted NetHack player that sees only the terminal: explores, fights, eats, prays and goes down."""

import re
from collections.abc import Mapping

import numpy as np

from data.experts.nethack.level import PETS, Level
from data.experts.nethack.path import AROUND, COMPASS, KEY_OF_OFFSET, NEIGHBOURS, STRAIGHT, way_to, ways
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
from data.games.keys import action_of_key
from data.spec import COLUMNS

ESC, RETURN, KICK, PRAY = "\x1b", "\r", "\x04", "\xf0"
ACTION_OF_KEY = action_of_key().tolist()

DEADLY = frozenset({look("c", YELLOW), look("c", BROWN)})
"""Whom never to touch: cockatrices and chickatrices."""

UNTOUCHABLE = DEADLY | {
    *(look("e", color) for color in (BLUE, GRAY)),
    *(look("F", color) for color in range(16) if color != BRIGHT_GREEN),
    *(look(char, color) for char in "j;" for color in range(16)),
    look("b", GREEN),
}
"""Whom to leave alone, since hitting them hurts: floating eyes, gas spores, molds, jellies, acid blobs."""

READY = {1: 1, 2: 3, 3: 5, 4: 7, 5: 8, 6: 8, 7: 9}
"""Experience level at which to leave a dungeon level before all of it is explored; below those, 10."""

OBJECTS = np.isin(np.arange(256), [ord(char) for char in ")[!?/=(*%$0"])
"""Bool [256]: characters of objects."""

RESTS = 60
"""How often at most, on one level, to wait 20 turns for wounds to heal."""

_HEALING = re.compile(r"\b([a-zA-Z]) - [^.\n]{0,30}potions? of (?:extra |full )?healing")
_FOOD = re.compile(r"What do you want to eat\? \[([a-zA-Z])")
_DRINK = re.compile(r"What do you want to drink\? \[([a-zA-Z-]+)")
_TRAPPED = re.compile(r"stuck|pit|trap|web|leg|cannot escape|sink")
_SHOP = re.compile(r"elcome (?:again )?to \S+(?:'s|') ")
_HURT = re.compile(r"(?:bites|hits|claws|kicks|butts|stings|touches you)!")


class NetHackExpert:
    """Plays one game of NetHack. Deterministic given seed and screens; the seed only matters when stuck."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._levels: dict[int, Level] = {}
        self._depth = 0
        self._typing: list[str] = []
        """Keys still to press of a command with a count."""
        self._direction = ESC
        """Answer to the next question for a direction."""
        self._heading = COMPASS["l"]
        """Offset of the last straight step."""
        self._step: tuple[int, int] | None = None
        """The last step or blow (from, to), until its outcome has been seen."""
        self._foe: int | None = None
        """Look of the monster that the last blow was for."""
        self._plan: list[int] = []
        """Cells to walk through, last first."""
        self._plan_revision = -1
        """The level's revision when the plan was made."""
        self._healing: set[str] = set()
        """Inventory letters of potions of healing."""
        self._inventory_known = False
        self._next_meal = 0
        self._next_prayer = 150
        self._resting = False
        self._chase = 0
        """Rises with steps after a monster that isn't reached, and falls with time."""
        self._hp = 0
        self._turn = 0
        self._idle = 0
        """Keys pressed since game time last moved."""

    def act(self, observation: Mapping[str, np.ndarray], /) -> int:
        """See `data.games.base.Player`: index into `data.games.keys.KEYS`, on seeing `chars`, `colors` and `cursor`."""
        screen = read(observation["chars"], observation["colors"], observation["cursor"])
        return ACTION_OF_KEY[ord(self._key(screen))]

    def _key(self, screen: Screen) -> str:
        """The key to press."""
        if self._is_stuck(screen.status):
            self._plan.clear()
            self._typing.clear()
            # A random letter might say yes to an attack on a friend.
            return ESC if screen.ask is Ask.QUESTION else str(self._random.choice([ESC, RETURN, "s", *COMPASS]))
        self._heed(screen)
        if screen.ask is Ask.MORE:
            return RETURN
        if self._typing:
            return self._typing.pop(0)
        if screen.ask is Ask.QUESTION:
            return self._answer(screen)
        if screen.ask is Ask.MENU or screen.status is None:
            return ESC
        return self._command(screen, screen.status)

    def _is_stuck(self, status: Status | None) -> bool:
        """Whether time has stood still for so long that any key is better than what the player would do."""
        turn = self._turn if status is None else status.turn
        self._idle = self._idle + 1 if turn == self._turn else 0
        self._turn = turn
        return self._idle > 20

    def _heed(self, screen: Screen) -> None:
        """Remember what a message tells."""
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
            self._plan.clear()
        if self._step is not None and _SHOP.search(message):
            # Whatever is picked up in a shop must be paid: go back out and never enter again.
            door, inside = self._step
            level.barred.add(inside)
            level.shut.update((inside, cell) for cell in AROUND[inside] if cell != door)
            self._plan.clear()
        if self._step is not None and ("You swap places" in message or "You stop." in message):
            level.harmless.update(int(screen.looks[cell]) for cell in self._step if _is_monster(screen, cell))

    def _answer(self, screen: Screen) -> str:
        """Answer a question."""
        message = screen.message
        food = _FOOD.search(message)
        if food:
            return food[1]
        if "In what direction" in message:
            return self._direction
        drink = _DRINK.search(message)
        if drink:
            self._healing &= _letters(drink[1])
            return min(self._healing, default=ESC)
        if "sure you want to pray" in message or "Stop eating" in message:
            return "y"
        if "eat it?" in message or "eat one?" in message:
            return "n"  # a corpse of unknown age
        if "Really attack" in message and self._step is not None and self._depth in self._levels:
            level, target = self._levels[self._depth], self._step[1]
            level.harmless.add(int(screen.looks[target]))
            level.avoided[target] = self._turn + 20
        return ESC

    def _command(self, screen: Screen, status: Status) -> str:
        """Give a command: that of the first idea that has one."""
        if not self._inventory_known:
            self._inventory_known = True
            return "i"
        if status.depth != self._depth:
            self._depth = status.depth
            self._plan.clear()
            self._step = None
        level = self._levels.setdefault(status.depth, Level())
        if _is_engulfed(screen):
            return self._go(screen.here, screen.here - COLUMNS)
        kinds = KINDS[screen.looks]
        level.update(screen, kinds)
        self._judge(level, screen)
        monsters = _monsters(screen, kinds)
        if status.hp < self._hp and _HURT.search(screen.message):
            self._trust_nobody(level, screen, monsters)
        self._hp = status.hp
        foes = {cell for cell in monsters if self._is_foe(level, screen, status, cell)}
        near = [cell for cell in NEIGHBOURS[self._heading][screen.here] if cell in foes]
        return (
            self._survive(level, screen, status, near)
            or self._fight(level, screen, status, foes, near)
            or self._eat(status)
            or self._rest(level, status, foes)
            or self._travel(level, screen, status, self._in_way(level, screen, monsters - foes))
        )

    def _judge(self, level: Level, screen: Screen) -> None:
        """Learn from the outcome of the last step."""
        step, self._step = self._step, None
        foe, self._foe = self._foe, None
        if step is None:
            return
        target = step[1]
        if foe is not None and screen.here == target:
            level.statues.add((target, foe))
        if screen.here != step[0] or _is_monster(screen, target) or _TRAPPED.search(screen.message):
            return
        self._plan.clear()
        if "locked" in screen.message:
            level.locked.add(target)
        level.failures[step] += 1
        patience = 20 if target in level.locked else 4
        if level.failures[step] >= patience or (target in level.locked and level.watched):
            level.shut.add(step)

    def _trust_nobody(self, level: Level, screen: Screen, monsters: set[int]) -> None:
        """Take whoever stands next to us for a foe, after being hurt."""
        for cell in monsters & AROUND[screen.here]:
            level.harmless.discard(int(screen.looks[cell]))
            level.statues.discard((cell, int(screen.looks[cell])))

    def _is_foe(self, level: Level, screen: Screen, status: Status, cell: int) -> bool:
        """Whether to fight the monster in a cell."""
        who = int(screen.looks[cell])
        # One that blocks the only way on must go in the end.
        desperate = level.searches >= 10 and status.hp >= 25 and status.hp * 5 >= status.max_hp * 4
        leave_alone = DEADLY if desperate else UNTOUCHABLE
        return not (who in leave_alone or who in level.harmless or (cell, who) in level.statues)

    def _survive(self, level: Level, screen: Screen, status: Status, near: list[int]) -> str | None:
        """Pray, drink or leave by the stairs when nearly dead; pray when starving."""
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
        """Hit whoever stands next to us; go to meet who comes close."""
        here = screen.here
        if near:
            self._chase = 0
            self._foe = int(screen.looks[near[0]])
            return self._go(here, near[0])
        self._chase = max(self._chase - 1, 0)
        close = [cell for cell in foes if _distance(here, cell) <= 6]
        if not close or self._chase > 20 or status.hp * 2 < status.max_hp:
            return None
        enter = level.enterable(daring=False) & (KINDS[screen.looks] != MONSTER)
        enter[close] = True
        before = ways(here, enter.tobytes(), level.kinds.tobytes(), level.shut, self._heading)
        nearest = next((cell for cell in before if cell in foes), here)
        way = way_to(nearest, before)
        if not 0 < len(way) <= 10:
            return None
        self._chase += 3
        self._plan.clear()
        return self._go(here, way[-1])

    def _eat(self, status: Status) -> str | None:
        """Eat when hungry."""
        if status.hunger and status.turn >= self._next_meal:
            self._next_meal = status.turn + 10
            return "e"
        return None

    def _rest(self, level: Level, status: Status, foes: set[int]) -> str | None:
        """Let wounds heal while nobody is in sight."""
        enough = 0.8 if self._resting else 0.5
        self._resting = status.hp < enough * status.max_hp
        if self._resting and not foes and not status.hunger and level.rests < RESTS:
            level.rests += 1
            return self._type("20s")
        return None

    def _travel(self, level: Level, screen: Screen, status: Status, in_way: set[int]) -> str:
        """Go on with the plan, or make a new one where it has ended or the map has changed."""
        here = screen.here
        stale = self._plan_revision != level.revision
        if stale or not self._plan or self._plan[-1] not in AROUND[here] or self._plan[-1] in in_way:
            key = self._make_plan(level, screen, status, in_way)
            self._plan_revision = level.revision
            if key is not None:
                return key
        cell = self._plan.pop()
        if cell in level.locked and level.kinds[cell] == CLOSED:
            self._step = (here, cell)
            self._direction = KEY_OF_OFFSET[cell - here]
            return KICK
        return self._go(here, cell)

    def _in_way(self, level: Level, screen: Screen, others: set[int]) -> set[int]:
        """Cells to walk around, where somebody not to be fought stands or stood until recently."""
        there = {
            cell for cell in others if (who := int(screen.looks[cell])) not in PETS and (cell, who) not in level.statues
        }
        for cell in there:
            # Out of sight isn't gone, at least for those who hardly move.
            level.avoided[cell] = self._turn + (200 if int(screen.looks[cell]) in UNTOUCHABLE else 20)
        for cell, until in list(level.avoided.items()):
            if self._turn > until or (cell in AROUND[screen.here] and cell not in others):
                del level.avoided[cell]
        return set(level.avoided)

    def _make_plan(self, level: Level, screen: Screen, status: Status, in_way: set[int]) -> str | None:
        """Plan a walk: to gold, the unexplored or stairs. Or return a key: what to do at its end."""
        here = screen.here
        chars = screen.looks >> 4
        stairs = np.zeros(chars.size, bool)
        stairs[list(level.down)] = True
        ready = status.level >= READY.get(status.depth, 10)
        # Where all is explored and no stairs are seen, they may lie under an object.
        wishes = [chars == ord("$"), level.frontier(), stairs, OBJECTS[chars] & ~level.stood]
        for wish in wishes:
            wish[here] &= wish is stairs
        before = {here: here}
        for daring in (False, True):
            enter = level.enterable(daring)
            enter[list(in_way)] = False
            before = ways(here, enter.tobytes(), level.kinds.tobytes(), level.shut, self._heading)
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
        """Plan a walk to where a hidden passage is likely; once there, search."""
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
        return self._type("15s")

    def _type(self, keys: str) -> str:
        """Press several keys, one per screen."""
        self._typing = list(keys[1:])
        return keys[0]

    def _go(self, here: int, cell: int) -> str:
        """Step, or hit, in the direction of a neighbouring cell."""
        self._step = (here, cell)
        if cell - here in STRAIGHT:
            self._heading = cell - here
        return KEY_OF_OFFSET[cell - here]


def _letters(text: str) -> set[str]:
    """Inventory letters as a question lists them: "ce-g" stands for c, e, f and g."""
    ranges = re.findall(r"(\w)-(\w)", text)
    between = {chr(code) for first, last in ranges for code in range(ord(first), ord(last) + 1)}
    return between | set(text) - {"-"}


def _monsters(screen: Screen, kinds: np.ndarray) -> set[int]:
    """Cells of the map that show a monster, without the player."""
    there = kinds == MONSTER
    there[:COLUMNS] = there[22 * COLUMNS :] = False
    return set(np.flatnonzero(there).tolist()) - {screen.here}


def _is_monster(screen: Screen, cell: int) -> bool:
    return cell != screen.here and bool(KINDS[screen.looks[cell]] == MONSTER)


def _is_engulfed(screen: Screen) -> bool:
    """Whether the player sees a monster from the inside."""
    corner = screen.here - COLUMNS - 1
    above = screen.looks[max(corner, 0) : corner + 3] >> 4
    return above.tolist() == [ord("/"), ord("-"), ord("\\")]


def _distance(one: int, other: int) -> int:
    """Moves of a chess king from cell to cell."""
    (row, column), (to_row, to_column) = divmod(one, COLUMNS), divmod(other, COLUMNS)
    return max(abs(row - to_row), abs(column - to_column))
