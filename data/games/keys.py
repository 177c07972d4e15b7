"""NetHack's action table: which key press each action is."""

import numpy as np
from nle import nethack

KEYS: tuple[int, ...] = tuple(int(action) for action in nethack.ACTIONS)
"""NLE's full action list: the key press (byte) of each action index."""


def action_of_key(keys: tuple[int, ...] = KEYS) -> np.ndarray:
    """Table int16 [256] from key press to the first action index that sends it; -1 where none does.

    NLE lists some keys twice (for example `+` as SEESPELLS and PLUS): the first index stands for both.
    """
    table = np.full(256, -1, np.int16)
    for index, key in reversed(list(enumerate(keys))):
        table[key] = index
    return table


def names() -> list[str]:
    """Of each action the key press in words and NLE's name: `^D (KICK)`."""
    return [f"{in_words(int(action))} ({action.name})" for action in nethack.ACTIONS]


def in_words(key: int) -> str:
    """A key press as people write it: `j`, `^D`, `M-e`, `Esc`."""
    if key >= 128:
        return f"M-{chr(key - 128)}"
    if key in (27, 32):
        return "Esc" if key == 27 else "Space"
    return f"^{chr(key + 64)}" if key < 32 else chr(key)
