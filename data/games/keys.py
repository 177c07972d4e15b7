"""NetHack's action table: the key press of each action."""

import numpy as np
from nle import nethack

KEYS: tuple[int, ...] = tuple(int(action) for action in nethack.ACTIONS)
"""The key press (byte) of each action of NLE's full action list."""


def action_of_key(keys: tuple[int, ...] = KEYS) -> np.ndarray:
    """Return a lookup table, int16 [256], from key press to action index; -1 for keys that no action sends.

    NLE lists some keys twice (for example `+` as SEESPELLS and PLUS); the table has the first index.
    """
    table = np.full(256, -1, np.int16)
    for index, key in reversed(list(enumerate(keys))):
        table[key] = index
    return table


def names() -> list[str]:
    """Return a readable name of each action, its key press and NLE's name: `^D (KICK)`."""
    return [f"{in_words(int(action))} ({action.name})" for action in nethack.ACTIONS]


def in_words(key: int) -> str:
    """Return the usual notation of a key press: `j`, `^D`, `M-e`, `Esc`."""
    if key >= 128:
        return f"M-{chr(key - 128)}"
    if key in (27, 32):
        return "Esc" if key == 27 else "Space"
    return f"^{chr(key + 64)}" if key < 32 else chr(key)
