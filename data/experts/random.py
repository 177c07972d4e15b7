"""The uniform random policy, for any game."""

from typing import Any

import numpy as np


class RandomPlayer:
    """Selects actions uniformly at random, determined by its seed alone."""

    def __init__(self, seed: int, actions: int) -> None:
        self._random, self._actions = np.random.default_rng(seed), actions

    def act(self, observation: Any, /) -> int:
        """See `data.games.base.Player`."""
        return int(self._random.integers(self._actions))
