"""The embedded CartPole expert: a linear controller with a fraction of random actions."""

import numpy as np

LEFT, RIGHT = range(2)
"""Actions: the direction in which to push the cart."""

GAINS = np.array([0.1, 0.5, 2.0, 1.0])
"""Controller gains for cart position, cart velocity, pole angle and pole angular velocity."""
SLIP = 0.4
"""Fraction of random actions. Without them the controller never fails, and all returns would be equal."""


class CartPoleExpert:
    """Player of one episode, determined by `seed` and the observations. See `data.games.base.Player`."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def act(self, observation_4: np.ndarray, /) -> int:
        """Select an action for position, velocity, angle and angular velocity, float32 [4]."""
        if self._random.random() < SLIP:
            return int(self._random.integers(2))
        return RIGHT if GAINS @ observation_4 > 0 else LEFT
