"""NetHack environment whose games are reproducible from a seed."""

import ctypes
import os
import shutil
import struct
import tempfile
import time
import warnings
from _ctypes import dlclose
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from nle.env.tasks import NetHackChallenge
from nle.nethack import Command

CHARACTER = "mon-hum-neu-mal"
"""The default character: role, race, alignment and gender."""

SCREEN = ("tty_chars", "tty_colors", "tty_cursor")
"""NLE's observation keys of the terminal, in the order of `chars`, `colors`, `cursor`."""


_BEGIN = int(datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp())
"""Local time at which games start, in seconds as if it were UTC's."""


_LOOKS = (365 * 24 + 6) * 3600 // 2
"""Seconds between the moments at which Python looks at the time zone: half of its year."""


def on_terminal(observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Select the observation of players, `chars`, `colors` and `cursor`, from one of NLE."""
    return {key.removeprefix("tty_"): observation[key] for key in SCREEN}


class SeededChallenge(NetHackChallenge):
    """`NetHackChallenge-v0` whose games are determined by a seed and the actions.

    NetHack depends on the clock even if its seeds are set. A game's start time in seconds determines the names of
    shopkeepers (`nameshk`), the monsters of throne rooms and some prices; the local time of day determines whether it
    is night and, at midnight, strengthens the undead; tombstones show the local year. Here the start time is derived
    from the seed, and the time zone is set such that the local time is always the same when a game starts.

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
        _local_time().begin()
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

    def quit(self) -> None:
        """End the running game as a player would, so that its files are whole."""
        self._quit_game(self.last_observation, False)

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


class _LocalTime:
    """The time zone of this process, as a file. It outlives the environment that set it, since others may still play.

    A zone's file may be any number of years from UTC, its name in TZ only a few days.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="isoplay-zone-")
        self._number = 0

    def begin(self) -> None:
        """Make it `_BEGIN` now: far from night and from another year."""
        now = int(time.time())
        # The C library reads the file again only under another name.
        self._number += 1
        file = Path(self._folder.name) / str(self._number)
        file.write_bytes(zone(_BEGIN - now, now))
        os.environ["TZ"] = f":{file}"
        # Unlike `time.tzset`, this has no limit of two days.
        ctypes.CDLL(None).tzset()
        file.with_name(str(self._number - 1)).unlink(missing_ok=True)


def zone(offset: int, now: int) -> bytes:
    """The file of a time zone (RFC 8536) whose local time is `offset` seconds ahead of UTC, some seconds aside.

    Python starts in no zone that is more than two days from UTC. It looks at two moments of the year, multiples of
    `_LOOKS` seconds (`init_timezone` of CPython's timemodule.c), and processes that this one starts inherit the zone.
    So local time is UTC in those seconds, twenty years to both sides: the clock of such a process may be another.
    """
    looks = [(now // _LOOKS + number) * _LOOKS for number in range(-40, 42)]
    changes = [moment for look in looks for moment in (look, look + 1)]
    types = struct.pack(">l2Bl2B4s", offset, 0, 0, 0, 0, 0, b"NLE")
    # Magic, version and six counts: of flags that aren't used, of changes, of types and of letters.
    first = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 2, 4) + types
    second = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, len(changes), 2, 4)
    return first + second + struct.pack(f">{len(changes)}q", *changes) + bytes([1, 0] * len(looks)) + types + b"\n\n"


_local_time = cache(_LocalTime)
"""The one of this process."""


def _set_birthday(library: str, second: int) -> None:
    """Set the start time of a running game, in seconds; `library` is the path of the NetHack library that runs it."""
    # NLE loads its own copy of the library for every game. Close the handle, or that copy would never be unloaded.
    nethack = ctypes.CDLL(library, os.RTLD_NOLOAD | os.RTLD_NOW)
    try:
        ctypes.c_long.in_dll(nethack, "ubirthday").value = second
    finally:
        dlclose(nethack._handle)
