"""What a step, an episode and a batch are: observations, action tables, containers.

Shapes: B lanes, T steps of a window, S consecutive steps of an episode, N rows of a batch (B · T),
24x80 the NetHack terminal, 84x84 an Atari frame.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

ROWS, COLUMNS = 24, 80
"""Size of the NetHack terminal."""

FRAME_ROWS, FRAME_COLUMNS, STACK = 84, 84, 4
"""Size of an Atari frame, and frames in an observation."""

NETHACK_ACTIONS = 121
"""Length of NLE's full action list, `data.games.keys.KEYS`."""

NO_ACTION = NETHACK_ACTIONS
"""NetHack: `prev_action` on the first step of an episode, and `action` where the recording holds none."""

NO_SCORE = -(2**31)
"""A step's score where the recording does not hold it (ttyrec version 2, Atari Parquet)."""


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

ATARI = {"frames": Field((FRAME_ROWS, FRAME_COLUMNS, STACK), "uint8")}
"""The Atari observation: the last four grey frames, the newest last.

A batch holds each frame once: `frames` uint8 [B, F, 84, 84], those of a lane one after the other, and `oldest` int32
[B, T]: the four frames of step t are `oldest[b, t]` and the three that follow. F is the same for all batches of a
stream; what no step shows is zero.
"""

Array = Any
"""A NumPy array on the host, a JAX array once it is on the devices."""

Observation = dict[str, Array]
"""Arrays named as in the spec, with leading axes [B, T] in a batch."""


class NetHackSteps(NamedTuple):
    """Consecutive steps of one NetHack game, as the store keeps them."""

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


class AtariSteps(NamedTuple):
    """Consecutive steps of one Atari episode, as the store keeps them."""

    frames_Sx84x84x4: np.ndarray
    """uint8, the last four frames, the newest last."""
    action_S: np.ndarray
    """uint8, index into the action table: what the expert did on seeing these frames."""
    score_S: np.ndarray
    """int32, sum of the unclipped rewards before this step; NO_SCORE where the recording holds none."""


class Steps(Protocol):
    """Consecutive steps of one episode, as the store keeps them: a NamedTuple of arrays with leading axis S."""

    @property
    def action_S(self) -> np.ndarray:
        """uint8, index into the action table."""
        ...

    @property
    def score_S(self) -> np.ndarray:
        """int32, the score before each step; NO_SCORE where it is not known."""
        ...


class Rows(NamedTuple):
    """Rows of a batch, its first two axes in one."""

    observation: dict[str, np.ndarray]
    """Arrays [N, ...] by the observation spec."""
    action_N: np.ndarray
    """int32."""
    episode_N: np.ndarray
    """int32."""
    mask_N: np.ndarray
    """bool."""


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
