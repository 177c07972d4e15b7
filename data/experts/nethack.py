"""A scripted NetHack player that sees only the terminal: explores, fights, eats, prays and goes down."""

import re
from collections import Counter

import numpy as np

from data.experts.screen import (
    BLANK,
    BLUE,
    BOULDER,
    BRIGHT_GREEN,
    BROWN,
    CELLS,
    CLOSED,
    CORRIDOR,
    DOOR,
    FLOOR,
    GRAY,
    KINDS,
    MAP,
    MONSTER,
    TRAP,
    WHITE,
    YELLOW,
    Ask,
    Screen,
    Status,
    look,
    read,
)
from data.experts.walk import AROUND, COMPASS, KEY_OF_OFFSET, NEIGHBOURS, STRAIGHT, dilate, way_to, ways
from data.spec import COLUMNS, action_of_key

ESC, RETURN, KICK, PRAY = "\x1b", "\r", "\x04", "\xf0"
ACTION_OF_KEY = action_of_key().tolist()

PETS = frozenset({look("f", WHITE), look("d", WHITE), look("u", BROWN)})
"""Kittens, little dogs and ponies: walking into one's own pet swaps places, so they are never in the way."""

UNTOUCHABLE = frozenset(
    {look("e", BLUE), look("e", GRAY), look("c", YELLOW), look("c", BROWN)}
    | {look("F", color) for color in range(16) if color != BRIGHT_GREEN}
    | {look(char, color) for char in "j;" for color in range(16)}
)
"""Whom to leave alone: floating eyes, gas spores, cockatrices, molds, jellies and what swims."""

READY = {1: 1, 2: 3, 3: 5, 4: 7, 5: 8, 6: 8, 7: 9, 8: 10}
"""Experience level at which to go down from a dungeon level before all of it is explored."""

_HEALING = re.compile(r"\b([a-zA-Z]) - [^.\n]{0,30}potions? of (?:extra |full )?healing")
_FOOD = re.compile(r"What do you want to eat\? \[([a-zA-Z])")
_TRAPPED = re.compile(r"stuck|pit|trap|web|leg|cannot escape|sink")
_SHOP = re.compile(r"elcome (?:again )?to \S+(?:'s|') ")
_HURT = re.compile(r"(?:bites|hits|claws|kicks|butts|stings|touches you)!")


OBJECTS = np.isin(np.arange(256), [ord(char) for char in ")[!?/=(*%$0"])
"""Characters of objects."""


class Level:
    """What the player remembers of a dungeon level beyond what the terminal shows. Arrays are [1920]."""

    def __init__(self) -> None:
        self.kinds = np.full(CELLS, BLANK, np.uint8)
        """What was last seen in each cell apart from monsters, see `data.experts.screen`."""
        self.stood = np.zeros(CELLS, bool)
        """Cells that the player has stood on."""
        self.looked = np.ones(CELLS, bool)
        self.looked[MAP] = False
        """Cells that have been next to the player: what's blank there is rock."""
        self.searched = np.zeros(CELLS, np.int32)
        """How often hidden things were searched for next to each cell."""
        self.down: set[int] = set()
        self.up: set[int] = set()
        self.shut: set[tuple[int, int]] = set()
        """Steps (from, to) that turned out to be impossible."""
        self.barred: set[int] = set()
        """Cells not to enter: shops, statues, doors that don't give way."""
        self.failures: Counter[tuple[int, int]] = Counter()
        self.locked: set[int] = set()
        self.harmless = set(PETS)
        """Looks of pets and peaceful monsters."""
        self.polite = False
        """Whether a watch minds kicked doors."""
        self.searches = 0
        self.rests = 0
        self.statues: set[tuple[int, int]] = set()
        """Cells and looks of what seemed a monster, but could be stepped on."""
        self.revision = 0
        """Counts changes of `kinds`."""

    def update(self, screen: Screen, kinds: np.ndarray) -> None:
        """Take in a screen, whose cells hold `kinds`."""
        here = screen.here
        seen = np.zeros(CELLS, bool)
        seen[MAP] = (kinds[MAP] != MONSTER) & (kinds[MAP] != BLANK)
        seen[here] = False
        changed = seen & (kinds != self.kinds)
        if self.kinds[here] == BLANK or self.kinds[here] == CLOSED:
            self.kinds[here] = FLOOR
            self.revision += 1
        if changed.any():
            self.kinds[changed] = kinds[changed]
            self.revision += 1
        chars = screen.looks >> 4
        self.down.update(np.flatnonzero(seen & (chars == ord(">"))).tolist())
        self.up.update(np.flatnonzero(seen & (chars == ord("<"))).tolist())
        if "staircase down here" in screen.message:
            self.down.add(here)
        if not self.stood[here]:
            self.stood[here] = True
            self.looked[list(AROUND[here])] = True
            self.revision += 1

    def frontier(self) -> np.ndarray:
        """Bool [1920]: cells next to which something may still be unseen."""
        unseen = (self.kinds == BLANK) & ~self.looked
        return dilate(unseen) & (self.kinds != BLANK)

    def enterable(self, daring: bool) -> np.ndarray:
        """Bool [1920]: cells that can be walked on; traps and boulders only if `daring`."""
        enter = np.isin(self.kinds, (FLOOR, CORRIDOR, DOOR, CLOSED) + ((TRAP, BOULDER) if daring else ()))
        enter[list(self.barred)] = False
        return enter

    def promise(self, daring: bool) -> np.ndarray:
        """Float [1920]: how likely a search next to each cell is to find a hidden passage."""
        unseen = (self.kinds == BLANK).reshape(-1, COLUMNS)[1:22].astype(np.int32)
        total = np.pad(unseen, ((9, 8), (9, 8))).cumsum(0).cumsum(1)
        mass = total[17:, 17:] + total[:-17, :-17] - total[17:, :-17] - total[:-17, 17:]
        promise = np.zeros(CELLS)
        promise[MAP] = mass.reshape(-1) / 8
        enter = self.enterable(daring).reshape(-1, COLUMNS).astype(np.int32)
        padded = np.pad(enter, 1)
        exits = sum(
            padded[1 + row : 25 + row, 1 + column : 81 + column]
            for row in (-1, 0, 1)
            for column in (-1, 0, 1)
        )
        dead_end = (self.kinds == CORRIDOR) & (np.asarray(exits).reshape(-1) <= 2)
        promise[~dilate(~self.enterable(daring))] = 0
        return promise + 30 * dead_end - 15 * self.searched


class NetHackExpert:
    """Plays one game of NetHack from what the terminal shows. Mostly deterministic given recent screens."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._levels: dict[int, Level] = {}
        self._depth = 0
        self._typing: list[str] = []
        self._direction = ESC
        self._heading = COMPASS["l"]
        self._step: tuple[int, int] | None = None
        self._foe: int | None = None
        self._plan: list[int] = []
        self._plan_revision = -1
        self._healing: set[str] = set()
        self._inventory_known = False
        self._hungry_until = 0
        self._next_prayer = 150
        self._resting = False
        self._chase = 0
        self._hp = 0
        self._turn = 0
        self._idle = 0

    def act(self, chars_24x80: np.ndarray, colors_24x80: np.ndarray, cursor_2: np.ndarray) -> int:
        """Index into `data.spec.KEYS` of the key to press on seeing this screen.

        Args:
            chars_24x80: Characters, uint8.
            colors_24x80: NLE's terminal colours, any integers.
            cursor_2: Cursor (row, column), uint8.
        """
        screen = read(chars_24x80, colors_24x80, cursor_2)
        return ACTION_OF_KEY[ord(self._key(screen))]

    def _key(self, screen: Screen) -> str:
        if self._is_stuck(screen.status):
            self._plan.clear()
            self._typing.clear()
            return str(self._random.choice([ESC, RETURN, "s", *COMPASS]))
        self._heed(screen)
        if screen.ask is Ask.MORE:
            return RETURN
        if self._typing:
            return self._typing.pop(0)
        if screen.ask is Ask.MENU:
            return ESC
        if screen.ask is Ask.QUESTION:
            return self._answer(screen)
        return ESC if screen.status is None else self._command(screen, screen.status)

    def _is_stuck(self, status: Status | None) -> bool:
        """Whether time has stood still for so long that anything else is better."""
        turn = self._turn if status is None else status.turn
        self._idle = self._idle + 1 if turn == self._turn else 0
        self._turn = turn
        return self._idle > 20

    def _heed(self, screen: Screen) -> None:
        """Remember what a message tells."""
        message, here = screen.message, screen.here
        self._healing.update(_HEALING.findall(message))
        if self._depth not in self._levels:
            return
        level = self._levels[self._depth]
        if self._step is not None and _SHOP.search(message):
            # A shop: everything picked up must be paid, so go back out and never enter again.
            door, inside = self._step
            level.barred.add(inside)
            level.shut.update((inside, cell) for cell in AROUND[inside] if cell != door)
            self._plan.clear()
        if "Closed for inventory" in message:
            level.barred.update(cell for cell in AROUND[here] if level.kinds[cell] == CLOSED)
            self._plan.clear()
        if "don't have anything to drink" in message or "silly thing to drink" in message:
            self._healing.clear()
        if "watchm" in message or "watch c" in message:
            level.polite = True
        if "anything to eat" in message:
            self._hungry_until = self._turn + 500
        if self._step is not None and ("You swap places" in message or "You stop." in message):
            level.harmless.update(int(screen.looks[cell]) for cell in self._step if _is_monster(screen, cell))

    def _answer(self, screen: Screen) -> str:
        """Answer a question."""
        message = screen.message
        if "In what direction" in message:
            return self._direction
        if "sure you want to pray" in message or "Stop eating" in message:
            return "y"
        if "eat it?" in message or "eat one?" in message:
            return "n"
        food = _FOOD.search(message)
        if food:
            return food[1]
        if "want to drink" in message and self._healing:
            return min(self._healing)
        if "Really attack" in message and self._step is not None:
            self._levels[self._depth].harmless.add(int(screen.looks[self._step[1]]))
        return ESC

    def _command(self, screen: Screen, status: Status) -> str:
        """Decide what to do: the first idea that applies."""
        if not self._inventory_known:
            self._inventory_known = True
            return "i"
        level = self._levels.setdefault(status.depth, Level())
        if status.depth != self._depth:
            self._depth = status.depth
            self._plan.clear()
            self._step = None
        kinds = KINDS[screen.looks]
        if self._is_engulfed(screen):
            return self._go(screen.here, screen.here - COLUMNS)
        level.update(screen, kinds)
        self._judge(level, screen)
        foes = self._foes(level, screen, kinds, status)
        near = [cell for cell in NEIGHBOURS[self._heading][screen.here] if cell in foes]
        self._hp = status.hp
        key = (
            self._survive(level, screen, status, near)
            or self._fight(level, screen, status, foes, near)
            or self._eat(status)
            or self._rest(level, status, foes)
            or self._travel(level, screen, status, kinds)
        )
        return key

    def _is_engulfed(self, screen: Screen) -> bool:
        above = screen.looks[max(screen.here - COLUMNS - 1, 0) :][:3] >> 4
        return bytes(above.astype(np.uint8)) == b"/-\\"

    def _judge(self, level: Level, screen: Screen) -> None:
        """Learn from a step that led nowhere."""
        step, self._step = self._step, None
        foe, self._foe = self._foe, None
        if foe is not None and step is not None and screen.here == step[1]:
            level.statues.add((step[1], foe))
        if step is None or screen.here != step[0] or _TRAPPED.search(screen.message):
            return
        target = step[1]
        if _is_monster(screen, target):
            return
        if "locked" in screen.message:
            level.locked.add(target)
            if level.polite:
                level.shut.add(step)
        level.failures[step] += 1
        self._plan.clear()
        limit = 20 if target in level.locked else 4
        if level.failures[step] >= limit:
            level.shut.add(step)

    def _foes(self, level: Level, screen: Screen, kinds: np.ndarray, status: Status) -> set[int]:
        """Cells of the monsters in sight that are worth a fight."""
        cells = [cell for cell in np.flatnonzero(kinds[MAP] == MONSTER).tolist()]
        cells = [cell + COLUMNS for cell in cells]
        if status.hp < self._hp and _HURT.search(screen.message):
            for cell in AROUND[screen.here].intersection(cells):
                level.harmless.discard(int(screen.looks[cell]))
                level.statues.discard((cell, int(screen.looks[cell])))
        return {
            cell
            for cell in cells
            if cell != screen.here
            and (cell, int(screen.looks[cell])) not in level.statues
            and int(screen.looks[cell]) not in level.harmless
            and int(screen.looks[cell]) not in UNTOUCHABLE
        }

    def _survive(self, level: Level, screen: Screen, status: Status, near: list[int]) -> str | None:
        """Pray, drink or leave when nearly dead; pray when starving."""
        starving = status.hunger in ("Weak", "Faint")
        if (status.dying or starving) and status.turn >= self._next_prayer:
            self._next_prayer = status.turn + 1000
            return PRAY
        if self._healing and (status.dying or (near and status.hp * 3 < status.max_hp)):
            return "q"
        if near and status.hp * 3 < status.max_hp:
            if screen.here in level.up and status.depth > 1:
                return "<"
            if screen.here in level.down:
                return ">"
        return None

    def _fight(
        self, level: Level, screen: Screen, status: Status, foes: set[int], near: list[int]
    ) -> str | None:
        """Hit whoever stands next to us; go to meet who comes near."""
        here = screen.here
        if near:
            target = near[0]
            self._chase = 0
            self._foe = int(screen.looks[target])
            return self._go(here, target)
        self._chase = max(self._chase - 1, 0)
        close = [cell for cell in foes if _distance(here, cell) <= 6]
        if not close or self._chase > 20 or status.hp * 2 < status.max_hp:
            return None
        enter = level.enterable(daring=False) & (KINDS[screen.looks] != MONSTER)
        enter[close] = True
        before = ways(here, enter.tobytes(), level.kinds.tobytes(), level.shut, self._heading)
        for cell in before:
            if cell in foes:
                way = way_to(cell, before)
                if len(way) > 10:
                    return None
                self._chase += 3
                self._plan.clear()
                return self._go(here, way[-1])
        return None

    def _eat(self, status: Status) -> str | None:
        """Eat when hungry."""
        if status.hunger and status.turn >= self._hungry_until:
            self._hungry_until = status.turn + 10
            return "e"
        return None

    def _rest(self, level: Level, status: Status, foes: set[int]) -> str | None:
        """Wait for wounds to heal while nobody is in sight."""
        self._resting = status.hp * 10 < status.max_hp * (8 if self._resting else 5)
        if self._resting and not foes and not status.hunger and level.rests < 60:
            level.rests += 1
            return self._type("20s")
        return None

    def _type(self, keys: str) -> str:
        self._typing = list(keys[1:])
        return keys[0]

    def _go(self, here: int, cell: int) -> str:
        """Step, or hit, in the direction of a neighbouring cell."""
        self._step = (here, cell)
        if cell - here in STRAIGHT:
            self._heading = cell - here
        return KEY_OF_OFFSET[cell - here]

    def _travel(self, level: Level, screen: Screen, status: Status, kinds: np.ndarray) -> str:
        """Go on with the plan, or make a new one: stairs, gold, the unexplored, and last a search."""
        here = screen.here
        in_way = (kinds == MONSTER) & ~np.isin(screen.looks, list(PETS))
        in_way[here] = False
        stale = self._plan_revision != level.revision
        if stale or not self._plan or self._plan[-1] not in AROUND[here] or in_way[self._plan[-1]]:
            self._plan = []
            key = self._make_plan(level, screen, status, in_way)
            self._plan_revision = level.revision
            if key:
                return key
        cell = self._plan.pop()
        if cell in level.locked and level.kinds[cell] == CLOSED:
            self._plan.append(cell)
            self._step = (here, cell)
            self._direction = KEY_OF_OFFSET[cell - here]
            return KICK
        return self._go(here, cell)

    def _make_plan(self, level: Level, screen: Screen, status: Status, in_way: np.ndarray) -> str | None:
        """Set the plan, or return the key to press where nothing is to be walked to."""
        here = screen.here
        ready = status.level >= READY.get(status.depth, 10)
        gold = screen.looks >> 4 == ord("$")
        frontier = level.frontier()
        objects = OBJECTS[screen.looks >> 4] & ~level.stood
        for daring in (False, True):
            enter = level.enterable(daring) & ~in_way
            before = ways(here, enter.tobytes(), level.kinds.tobytes(), level.shut, self._heading)
            stairs = next((cell for cell in before if cell in level.down), None)
            goal = stairs if ready else None
            if goal is None:
                goal = next((cell for cell in before if gold[cell]), None)
            if goal is None:
                goal = next((cell for cell in before if frontier[cell] and cell != here), None)
            if goal is None:
                goal = stairs
            if goal is None:  # stairs may lie under an object
                goal = next((cell for cell in before if objects[cell]), None)
            if goal is not None:
                if goal == here:
                    return ">"
                self._plan = way_to(goal, before)
                return None
        return self._search(level, here, before)

    def _search(self, level: Level, here: int, before: dict[int, int]) -> str | None:
        """Look for hidden passages where they are most likely."""
        promise = level.promise(daring=True)
        steps = {}
        for cell, last in before.items():
            steps[cell] = steps[last] + 1 if cell != here else 0
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


def _is_monster(screen: Screen, cell: int) -> bool:
    return cell != screen.here and KINDS[screen.looks[cell]] == MONSTER


def _distance(one: int, other: int) -> int:
    """Moves of a king from cell to cell."""
    (row, column), (to_row, to_column) = divmod(one, COLUMNS), divmod(other, COLUMNS)
    return max(abs(row - to_row), abs(column - to_column))
