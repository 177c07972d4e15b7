"""The embedded player of CartPole: a linear controller that errs now and then."""

import numpy as np

LEFT, RIGHT = range(2)
"""Actions: the way in which the cart is pushed."""

GAINS = np.array([0.1, 0.5, 2.0, 1.0])
"""Weights of the cart's position and speed and of the pole's angle and speed in the push to the right."""
SLIP = 0.4
"""Share of pushes that go to a random side, so that there is something to lose: alone, the controller never does."""


class CartPoleExpert:
    """Plays one episode; a function of `seed` and of what it sees."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def act(self, observation_4: np.ndarray, /) -> int:
        """The push, on seeing position, speed, angle and angular speed, float32 [4]."""
        if self._random.random() < SLIP:
            return int(self._random.integers(2))
        return RIGHT if GAINS @ observation_4 > 0 else LEFT
