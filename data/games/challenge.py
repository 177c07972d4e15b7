"""NetHack as an environment whose games are a function of their seed."""

import ctypes
import os
import time
from _ctypes import dlclose
from typing import Any

import numpy as np
from nle.env.tasks import NetHackChallenge
from nle.nethack import Command

SCREEN = ("tty_chars", "tty_colors", "tty_cursor")
"""NLE's observation keys of what the terminal shows, in the order of `chars`, `colors`, `cursor`."""


def on_terminal(observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What players see of NLE's observation: `chars`, `colors` and `cursor`."""
    return {key.removeprefix("tty_"): observation[key] for key in SCREEN}


class SeededChallenge(NetHackChallenge):
    """`NetHackChallenge-v0` whose games are a function of their seed (and of the keys pressed).

    NetHack also looks at the clock, even where its seeds are set. The second at which a game began chooses the names
    of shopkeepers (`nameshk`), the monsters of a throne room and some prices; night falls, and midnight strengthens
    the undead, by local time. Here the seed chooses that second, and local time is noon when a game begins.
    """

    def __init__(self, **options: Any) -> None:
        # Moon phase and Friday the 13th come from the clock unless they are tied to the seed.
        super().__init__(fix_moon_phase=True, **options)
        # The challenge hides the seeding methods behind instance attributes that raise.
        for name in ("set_initial_seeds", "set_current_seeds", "get_current_seeds"):
            delattr(self.nethack, name)

    def reset_to(self, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start the game of this seed and return what `reset` returns. Changes the time zone of the process."""
        core, display, began = (int(word) for word in np.random.SeedSequence(seed).generate_state(3))
        self.nethack.set_initial_seeds(core, display, reseed=False)
        _make_it_noon()
        start = self.reset()
        # Nothing on the first level depends on it, and there is no way to set it before that level is made.
        _set_birthday(self.nethack.dlpath, began)
        return start

    def _quit_game(self, observation: Any, done: bool) -> None:
        # NLE closes one prompt before it quits, but prompts nest: close them until Escape changes nothing.
        for _ in range(20):
            if done:
                return
            before = [part.copy() for part in observation]
            observation, done = self.nethack.step(Command.ESC)
            if all(map(np.array_equal, before, observation)):
                break
        super()._quit_game(observation, done)


def _make_it_noon() -> None:
    """Move to the time zone where it is noon now: for the next ten hours no game sees night."""
    hours, seconds = divmod((int(time.time()) - 12 * 3600) % (24 * 3600), 3600)
    os.environ["TZ"] = f"NLE+{hours}:{seconds // 60}:{seconds % 60}"
    time.tzset()


def _set_birthday(library: str, second: int) -> None:
    """Tell a running game, by the path of the copy of NetHack that plays it, when it began."""
    # NLE loads NetHack anew for every game: a handle left open would keep the old one alive.
    nethack = ctypes.CDLL(library, os.RTLD_NOLOAD | os.RTLD_NOW)
    try:
        ctypes.c_long.in_dll(nethack, "ubirthday").value = second
    finally:
        dlclose(nethack._handle)
