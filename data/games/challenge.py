"""NetHack environment whose games are reproducible from a seed."""

import ctypes
import os
import shutil
import time
import warnings
from _ctypes import dlclose
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nle.env.tasks import NetHackChallenge
from nle.nethack import Command

CHARACTER = "mon-hum-neu-mal"
"""The default character: role, race, alignment and gender."""

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

    An instance may play any number of games, in any order: NLE loads NetHack's library anew for each, and `reset_to`
    removes the files of earlier ones.
    """

    def __init__(self, **options: Any) -> None:
        # Without this, moon phase and Friday the 13th depend on the clock.
        super().__init__(fix_moon_phase=True, **options)
        # NetHackChallenge disables the seeding methods by instance attributes that raise.
        for name in ("set_initial_seeds", "set_current_seeds", "get_current_seeds"):
            delattr(self.nethack, name)

    def write_into(self, buffers: Mapping[str, np.ndarray]) -> None:
        """Let NLE write observations, by their keys, into these arrays: before the first `reset_to`.

        NLE writes only what has changed since the last step, so nobody else may change them.
        """
        of_nle = self.nethack._obs_buffers
        of_nle.update(buffers)
        self._of_nle.set_buffers(**of_nle)
        self.nethack._obs = tuple(of_nle[key] for key in self._observation_keys)

    def reset_to(self, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start the game of this seed and return the result of `reset`. Changes the time zone of the process."""
        core, display, began = (int(word) for word in np.random.SeedSequence(seed).generate_state(3))
        self._forget()
        self.nethack.set_initial_seeds(core, display, reseed=False)
        _make_it_noon()
        start = self.reset()
        # It cannot be set before the first level has been generated, but that level does not depend on it.
        _set_birthday(self.nethack.dlpath, began)
        return start

    def advance(self, key: int) -> tuple[bool, bool]:
        """Press a key: `step` without copies of the observations and without a reward, in half of its time.

        Returns:
            Whether the game has ended, and whether the environment ended it.
        """
        seen, done = self.nethack.step(key)
        self._check_abort(seen)  # `step` asks twice, and each time counts.
        if seen[self._program_state_index][0] == 1:
            seen, done = self._perform_known_steps(seen, done, exceptions=True)
        self._steps += 1
        self.last_observation = seen
        aborted = self._check_abort(seen) and not done
        if aborted:
            self._quit_game(seen, done)
        return done or aborted, aborted

    @property
    def _of_nle(self) -> Any:
        """NLE's extension object."""
        return self.nethack._pynethack

    @property
    def folder(self) -> Path:
        """Folder of NetHack's files."""
        return Path(self.nethack._vardir)

    def _forget(self) -> None:
        """End an earlier game, and make its folder what it is for a new instance."""
        if not self.last_observation:
            return
        self._of_nle.close()
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "nhdat":
                path.unlink()
        for name in ("perm", "record", "logfile", "xlogfile"):
            (self.folder / name).touch()
        (self.folder / "save").mkdir()
        for buffer in self.nethack._obs_buffers.values():
            buffer[...] = 0

    def _quit_game(self, observation: Any, done: bool) -> None:
        # NLE closes only one prompt before it quits, but prompts nest: press Escape until the screen stays the same.
        for _ in range(20):
            if done:
                return
            before = [part.copy() for part in observation]
            observation, done = self.nethack.step(Command.ESC)
            if all(map(np.array_equal, before, observation)):
                break
        with warnings.catch_warnings():
            # In some prompts NLE fails to quit the game, and says so.
            warnings.filterwarnings("ignore", message="Warning: smooth quitting of game failed")
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
