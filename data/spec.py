"""The types of a step, an episode and a batch, and the observation specs of NetHack and Atari.

Shapes: B lanes, T steps of a window, S consecutive steps of an episode, N rows of a batch (B * T),
24x80 the NetHack terminal, 84x84 an Atari frame.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

ROWS, COLUMNS = 24, 80
"""Size of the NetHack terminal."""

FRAME_ROWS, FRAME_COLUMNS, STACK = 84, 84, 4
"""Size of an Atari frame, and number of frames in an observation."""

NETHACK_ACTIONS = 121
"""Number of actions in NLE's full action list, `data.games.keys.KEYS`."""

NO_ACTION = NETHACK_ACTIONS
"""NetHack: `prev_action` on the first step of an episode, and `action` if the recording has no actions."""

NO_SCORE = -(2**31)
"""The score of a step if the recording has no scores (ttyrec version 2, Atari in Parquet)."""


NO_LABEL = -128
"""The strategy label of a step that has none."""


@dataclass(frozen=True)
class Field:
    """One array of an observation: its shape, for a single step, and its dtype."""

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
"""The Atari observation: the last four greyscale frames, the newest last.

A batch holds each frame once: `frames`, uint8 [B, F, 84, 84], and `oldest`, int32 [B, T]. The stack of step t in lane b
is `frames[b, oldest[b, t] : oldest[b, t] + 4]`. F is the same for all batches of a stream; unused frames are zero.
"""

Array = Any
"""A NumPy array on the host, or a JAX array on devices."""

Observation = dict[str, Array]
"""Arrays by name, as in the observation spec; in a batch with leading axes [B, T]."""


class NetHackSteps(NamedTuple):
    """Consecutive steps of one NetHack game, as read from a store."""

    chars_Sx24x80: np.ndarray
    """uint8, character codes."""
    colors_Sx24x80: np.ndarray
    """uint8, NLE's tty colours."""
    cursor_Sx2: np.ndarray
    """uint8, row and column."""
    action_S: np.ndarray
    """uint8, index into the action table: the expert's action on seeing this screen."""
    score_S: np.ndarray
    """int32, in-game score when this screen was shown, in points; NO_SCORE if not recorded."""
    label_S: np.ndarray
    """int8, the strategy of a hierarchical expert that chose the action (`data.games.strategies`); NO_LABEL if not
    recorded."""


class AtariSteps(NamedTuple):
    """Consecutive steps of one Atari episode, as read from a store."""

    frames_Sx84x84x4: np.ndarray
    """uint8, the last four frames, the newest last."""
    action_S: np.ndarray
    """uint8, index into the action table: the expert's action on seeing these frames."""
    score_S: np.ndarray
    """int32, sum of the unclipped rewards before this step; NO_SCORE if not recorded."""


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
    """A batch with its lane and step axes merged into one axis of N rows."""

    observation: dict[str, np.ndarray]
    """Arrays [N, ...], as in the observation spec."""
    action_N: np.ndarray
    """int32."""
    episode_N: np.ndarray
    """int32."""
    mask_N: np.ndarray
    """bool."""


class Batch(NamedTuple):
    """B lanes of T steps each. Where `mask` is false (padding), the other arrays are zero."""

    observation: Observation
    """Arrays [B, T, ...], as in the observation spec (Atari: see `ATARI`)."""
    action: Array
    """int32 [B, T], the expert's action on seeing `observation[:, t]`."""
    first: Array
    """bool [B, T], true where a recurrent state must be reset: at the start of an episode or of a lane."""
    mask: Array
    """bool [B, T], false on padding."""
    episode: Array
    """int32 [B, T], row of the store's episode table; -1 on padding."""
