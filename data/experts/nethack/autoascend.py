"""Drives AutoAscend, the bot that won the NetHack Challenge of 2021, which is not part of this package.

Its code (github.com/maciej-sypetkowski/autoascend) is for NLE 0.7.3 and Gym. `Agent` of its `autoascend.agent` plays a
game by itself: it calls `step` of an environment, and needs nothing else of it but two hooks for pictures. What it
can't do on NLE 1.3 is bridged by `_Bridge`:

- it takes four results of `step`, and 26 `blstats` where NLE 1.3 has 27;
- it subtracts from the cursor, whose unsigned bytes would wrap around;
- it goes on when it fails to read the last screen: a step after the end is an error;
- its own environment draws on a display, and reads the final screen: it is not used.
"""

import contextlib
import importlib
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

import numpy as np

from data.common.cli import UserError
from data.games.challenge import SCREEN, SeededChallenge

NAME = "autoascend"
KEYS = (
    *SCREEN, "glyphs", "chars", "colors", "specials", "blstats", "message", "misc",
    "inv_glyphs", "inv_strs", "inv_letters", "inv_oclasses",
)  # fmt: skip
"""NLE's observation keys that it reads."""
STALLED_SECONDS = 300.0
"""Wall-clock time without a key press after which a game is ended: its strategies may wait for each other forever."""
_ALIASES = {"int": int, "float": float, "object": object, "str": str}
"""Names that NumPy had when it was written."""
_INSTALL = "git clone https://github.com/maciej-sypetkowski/autoascend, put that folder on PYTHONPATH"


class Stalled(KeyboardInterrupt):
    """The bot presses no key any more, or plays on after the end. It swallows all other exceptions."""


def check() -> None:
    """Check that the bot can be imported.

    Raises:
        UserError: It, or a library that it needs, is not installed.
    """
    _agent()


def play(env: SeededChallenge, seed: int, stalled_seconds: float = STALLED_SECONDS) -> tuple[int, bool]:
    """Play the game of a seed to its end, in the main thread of a process.

    Args:
        env: An environment with the observations `KEYS`.
        seed: Seed of the game and of the bot.
        stalled_seconds: Wall-clock time without a key press after which the game is ended.

    Returns:
        The number of key presses, and whether the bot stalled or failed, so that the game was quit.
    """
    agent_class = _agent()
    env.reset_to(seed)
    bridge = _Bridge(env, len(importlib.import_module("autoascend.agent").BLStats._fields), stalled_seconds)
    with bridge.watched():
        try:
            agent_class(bridge, seed=seed % 2**32, panic_on_errors=True).main()
        except (Stalled, Exception) as error:
            # Its errors end its game, as its panics do.
            if not bridge.over:
                print(f"autoascend, game of seed {seed}: {error!r}", file=sys.stderr)
    if failed := not bridge.over:
        env.quit()
    return bridge.steps, failed


class _Bridge:
    """The environment as the bot knows it."""

    def __init__(self, env: SeededChallenge, blstats: int, stalled_seconds: float) -> None:
        self._env, self._blstats, self._stalled_seconds = env, blstats, stalled_seconds
        self._number = {action: number for number, action in reversed(list(enumerate(env.actions)))}
        self.steps, self.over = 0, False

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, dict[str, Any]]:
        """Gym's step, of an action of `nle.nethack.ACTIONS`."""
        if self.over:
            raise Stalled("the game has ended")
        observation, reward, terminated, truncated, info = self._env.step(self._number[action])
        self.steps += 1
        self.over = terminated or truncated
        self._wait()
        return self._seen(observation), float(reward), self.over, dict(info)

    def debug_log(self, *_: Any, **__: Any) -> AbstractContextManager[None]:
        """Hook for pictures."""
        return contextlib.nullcontext()

    debug_tiles = debug_log

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Raise `Stalled` in this block when no key was pressed for too long."""
        before = signal.signal(signal.SIGALRM, _stalled)
        self._wait()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _wait(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._stalled_seconds)

    def _seen(self, observation: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        known = {name: array.copy() for name, array in observation.items()}
        known["blstats"] = known["blstats"][: self._blstats]
        known["tty_cursor"] = known["tty_cursor"].astype(np.int64)
        return known


def _stalled(number: int, frame: FrameType | None) -> None:
    raise Stalled("no key was pressed for too long")


def _agent() -> Any:
    for name, kind in _ALIASES.items():
        if name not in vars(np):
            setattr(np, name, kind)
    try:
        return importlib.import_module("autoascend.agent").Agent
    except ModuleNotFoundError as error:
        missing = error.name or "autoascend"
        if missing.partition(".")[0] == NAME:
            raise UserError(f"autoascend is not installed: {_INSTALL} (see data/README.md)") from error
        raise UserError(f"autoascend needs {missing}: pip install opencv-python-headless nltk toolz seaborn") from error
