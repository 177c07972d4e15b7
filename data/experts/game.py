"""Seeded NetHack games and who plays them: the environment, the player's interface, a random player."""

from typing import Any, Protocol

import numpy as np
from nle.env.tasks import NetHackChallenge
from nle.nethack import Command

from data.spec import KEYS

SCREEN = ("tty_chars", "tty_colors", "tty_cursor")
"""The part of NLE's observation that players see: what the terminal shows."""


class Player(Protocol):
    """Plays one game: sees the terminal, answers with an action. A new instance for every game."""

    def act(self, chars_24x80: np.ndarray, colors_24x80: np.ndarray, cursor_2: np.ndarray) -> int:
        """Index into `data.spec.KEYS` of the key to press on seeing this screen."""
        ...


class RandomPlayer:
    """Presses one of the 121 keys, uniformly at random."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def act(self, chars_24x80: np.ndarray, colors_24x80: np.ndarray, cursor_2: np.ndarray) -> int:
        """Any action index, whatever the screen shows."""
        return int(self._random.integers(len(KEYS)))


class SeededChallenge(NetHackChallenge):
    """`NetHackChallenge-v0` whose games are a function of their seed (and of the keys pressed)."""

    def __init__(self, **options: Any) -> None:
        # Moon phase and Friday the 13th come from the clock unless they are tied to the seed.
        super().__init__(fix_moon_phase=True, **options)
        # The challenge hides the seeding methods behind instance attributes that raise.
        for name in ("set_initial_seeds", "set_current_seeds", "get_current_seeds"):
            delattr(self.nethack, name)

    def reset_to(self, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start the game of this seed and return what `reset` returns."""
        core, display = (int(word) for word in np.random.SeedSequence(seed).generate_state(2))
        self.nethack.set_initial_seeds(core, display, reseed=False)
        return self.reset()

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
