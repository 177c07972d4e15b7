"""What a step, an episode and a batch are: observations, action tables, containers.

Shapes: B lanes, T steps of a window, 24x80 the NetHack terminal.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from nle import nethack

ROWS, COLUMNS = 24, 80

KEYS: tuple[int, ...] = tuple(int(action) for action in nethack.ACTIONS)
"""The action table: NLE's full action list, the key press (byte) of each action index."""

NO_ACTION = len(KEYS)
"""`prev_action` on the first step of an episode: one past the last action index."""


NO_SCORE = -1
"""A step's score where the recording does not hold it (ttyrec version 2)."""


@dataclass(frozen=True)
class Field:
    """One array of an observation: its shape for a single step and its dtype."""

    shape: tuple[int, ...]
    dtype: str


NETHACK = {
    "chars": Field((ROWS, COLUMNS), "uint8"),
    "colors": Field((ROWS, COLUMNS), "uint8"),
    "cursor": Field((2,), "uint8"),
    "prev_action": Field((), "uint8"),
}
"""The NetHack observation: characters and NLE's tty colours, cursor (row, column), previous action index."""

Array = Any
"""A NumPy array on the host, a JAX array once it is on the devices."""

Observation = dict[str, Array]
"""Arrays named as in the spec, with leading axes [B, T] in a batch."""


class Steps(NamedTuple):
    """Consecutive steps of one episode, S of them, as the store keeps them."""

    chars_Sx24x80: np.ndarray
    """uint8, character codes."""
    colors_Sx24x80: np.ndarray
    """uint8, NLE's tty colours."""
    cursor_Sx2: np.ndarray
    """uint8, row and column."""
    action_S: np.ndarray
    """uint8, index into the action table: what the expert did on seeing this step's screen."""
    score_S: np.ndarray
    """int32, in-game score at this step's screen, in points; NO_SCORE where the recording holds none."""


class Batch(NamedTuple):
    """B lanes of T steps each. Where `mask` is false the other arrays are zero (padding)."""

    observation: Observation
    """Arrays [B, T, ...] by the observation spec."""
    action: Array
    """int32 [B, T], the expert's action on seeing `observation[:, t]`."""
    first: Array
    """bool [B, T], true where nothing before this step may be remembered: an episode's start or a lane's."""
    mask: Array
    """bool [B, T], false on padding."""
    episode: Array
    """int32 [B, T], row of the store's episode table; -1 on padding."""


def action_of_key(keys: tuple[int, ...] = KEYS) -> np.ndarray:
    """Table int16 [256] from key press to the first action index that sends it; -1 where none does.

    NLE lists some keys twice (for example `+` as SEESPELLS and PLUS): the first index stands for both.
    """
    table = np.full(256, -1, np.int16)
    for index, key in reversed(list(enumerate(keys))):
        table[key] = index
    return table
