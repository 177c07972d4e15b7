"""Parser of NetHack's terminal: status line, message, prompt, and the content of each cell.

Cells are numbered row by row over the 24x80 terminal: cell = 80 * row + column. The map is rows 1 to 21.
"""

import re
from enum import Enum
from typing import NamedTuple

import numpy as np

from data.spec import COLUMNS, ROWS

CELLS = ROWS * COLUMNS
MAP = slice(1 * COLUMNS, 22 * COLUMNS)
"""Cells of the map."""

BLANK, WALL, FLOOR, CORRIDOR, DOOR, CLOSED, TRAP, BOULDER, MONSTER = range(9)
"""Codes of cell contents. BLANK: not seen yet. DOOR: an open door. FLOOR: anything else that can be walked on."""

BLACK, RED, GREEN, BROWN, BLUE, MAGENTA, CYAN, GRAY = range(8)
BRIGHT_GREEN, YELLOW, WHITE = 10, 11, 15


def look(char: str, color: int) -> int:
    """Encode a character and its color as one number: 16 * character code + color."""
    return ord(char) * 16 + color


def _kinds() -> np.ndarray:
    """Return a lookup table, uint8 [256 * 16], from look to cell content."""
    table = np.full((256, 16), WALL, np.uint8)
    table[ord(" ")] = BLANK
    for char in '.<>_{\\)[!?/=(*%$0]"+#':
        table[ord(char)] = FLOOR
    table[ord("#")] = CORRIDOR
    table[ord("#"), (GREEN, CYAN)] = WALL  # trees and iron bars
    table[ord("+"), BROWN] = CLOSED
    table[ord("|"), BROWN] = table[ord("-"), BROWN] = DOOR
    table[ord("^")] = TRAP
    table[ord('"'), GRAY] = TRAP  # a spider web; amulets have other colors
    table[ord("`")] = BOULDER
    for char in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ@&':;~":
        table[ord(char)] = MONSTER
    return table.reshape(-1)


KINDS = _kinds()


class Ask(Enum):
    """The kind of input that the terminal waits for."""

    COMMAND = "a command"
    MORE = "a key press, after --More--"
    MENU = "a choice from a menu or the end of a text"
    QUESTION = "the answer to a question on the top line"


class Status(NamedTuple):
    """The status line at the bottom of the terminal."""

    depth: int
    hp: int
    max_hp: int
    level: int
    turn: int
    hunger: str
    """"Hungry", "Weak", "Faint" or empty."""

    @property
    def dying(self) -> bool:
        """Whether hit points are low enough for a prayer to be answered."""
        return self.hp <= 5 or self.hp * 7 <= self.max_hp


class Screen(NamedTuple):
    """A parsed terminal screen."""

    ask: Ask
    message: str
    """The top line, or all lines of a menu."""
    status: Status | None
    here: int
    """Cell of the cursor, which is the player's if `ask` is COMMAND."""
    looks: np.ndarray
    """uint16 [1920], see `look`."""


_STATUS = re.compile(rb"Dlvl:(\d+) .*HP:(-?\d+)\((\d+)\).* Xp:(\d+)\S* T:(\d+)[^\n]*?(Hungry|Weak|Faint|$)", re.DOTALL)
_MENU = re.compile(rb"\((?:end|\d+ of \d+)\)$")


def read(chars_24x80: np.ndarray, colors_24x80: np.ndarray, cursor_2: np.ndarray) -> Screen:
    """Parse a terminal screen: uint8 characters, NLE's terminal colors, and cursor (row, column)."""
    text = chars_24x80.astype(np.uint8, copy=False).tobytes()
    row, column = int(cursor_2[0]), int(cursor_2[1])
    here = row * COLUMNS + column
    status = read_status(text[23 * COLUMNS :])
    before = text[row * COLUMNS : here].rstrip()
    if before.endswith(b"--More--"):
        ask = Ask.MORE
    elif _MENU.search(before) or (status is None and row > 1):
        ask = Ask.MENU
    elif row <= 1 or row >= 22:
        ask = Ask.QUESTION
    else:
        ask = Ask.COMMAND
    lines = ROWS if ask is Ask.MENU else min(row, 2) + 1 if ask is Ask.MORE or ask is Ask.QUESTION else 1
    message = "\n".join(text[at : at + COLUMNS].decode("latin-1") for at in range(0, lines * COLUMNS, COLUMNS))
    looks = chars_24x80.astype(np.uint16).reshape(-1) * 16 + (colors_24x80.astype(np.uint16).reshape(-1) & 15)
    return Screen(ask, message, status, here, looks)


def read_status(line: bytes) -> Status | None:
    """Parse the status line; None if it is hidden, for example by a menu."""
    match = _STATUS.search(line)
    if match is None:
        return None
    depth, hp, max_hp, level, turn = (int(group) for group in match.groups()[:5])
    return Status(depth, hp, max_hp, level, turn, match[6].decode())
