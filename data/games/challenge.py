"""NetHack environment whose games are reproducible from a seed."""

import ctypes
import os
import time
from _ctypes import dlclose
from typing import Any

import numpy as np
from nle.env.tasks import NetHackChallenge
from nle.nethack import Command

SCREEN = ("tty_chars", "tty_colors", "tty_cursor")
"""NLE's observation keys of the terminal, in the order of `chars`, `colors`, `cursor`."""


def on_terminal(observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Select the observation of players, `chars`, `colors` and `cursor`, from one of NLE."""
    return {key.removeprefix("tty_"): observation[key] for key in SCREEN}


class SeededChallenge(NetHackChallenge):
    """`NetHackChallenge-v0` whose games are determined by a seed and the actions.

    NetHack depends on the clock even if its seeds are set. A game's start time in seconds determines the names of
    shopkeepers (`nameshk`), the monsters of throne rooms and some prices; the local time of day determines whether it
    is night and, at midnight, strengthens the undead. Here the start time is derived from the seed, and the time zone
    is set such that local time is noon when a game starts.
    """

    def __init__(self, **options: Any) -> None:
        # Without this, moon phase and Friday the 13th depend on the clock.
        super().__init__(fix_moon_phase=True, **options)
        # NetHackChallenge disables the seeding methods by instance attributes that raise.
        for name in ("set_initial_seeds", "set_current_seeds", "get_current_seeds"):
            delattr(self.nethack, name)

    def reset_to(self, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start the game of this seed and return the result of `reset`. Changes the time zone of the process."""
        core, display, began = (int(word) for word in np.random.SeedSequence(seed).generate_state(3))
        self.nethack.set_initial_seeds(core, display, reseed=False)
        _make_it_noon()
        start = self.reset()
        # It cannot be set before the first level has been generated, but that level does not depend on it.
        _set_birthday(self.nethack.dlpath, began)
        return start

    def _quit_game(self, observation: Any, done: bool) -> None:
        # NLE closes only one prompt before it quits, but prompts nest: press Escape until the screen stays the same.
        for _ in range(20):
            if done:
                return
            before = [part.copy() for part in observation]
            observation, done = self.nethack.step(Command.ESC)
            if all(map(np.array_equal, before, observation)):
                break
        super()._quit_game(observation, done)


def _make_it_noon() -> None:
    """Set the process to a time zone where it is noon now, so that it is not night for the next ten hours."""
    hours, seconds = divmod((int(time.time()) - 12 * 3600) % (24 * 3600), 3600)
    os.environ["TZ"] = f"NLE+{hours}:{seconds // 60}:{seconds % 60}"
    time.tzset()


def _set_birthday(library: str, second: int) -> None:
    """Set the start time of a running game, in seconds; `library` is the path of the NetHack library that runs it."""
    # NLE loads its own copy of the library for every game. Close the handle, or that copy would never be unloaded.
    nethack = ctypes.CDLL(library, os.RTLD_NOLOAD | os.RTLD_NOW)
    try:
        ctypes.c_long.in_dll(nethack, "ubirthday").value = second
    finally:
        dlclose(nethack._handle)
