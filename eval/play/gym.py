"""Evaluation in Gymnasium environments."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from data.games import registry
from data.games.gym import by_field, make
from eval.play.lanes import LanePlay


class GymVector:
    """`gymnasium.vector.SyncVectorEnv` with one environment per lane. Implements `eval.play.lanes.VectorGame`."""

    def __init__(self, game: str, lanes: int, threads: int = 1, actions: int | None = None) -> None:
        from gymnasium.vector import AutoresetMode, SyncVectorEnv

        start, *_ = registry.find(game).content(actions).actions
        self._start, self._lanes = int(start), lanes
        # Lanes without a game left to play keep running; their episodes are not counted.
        self._env = SyncVectorEnv([partial(make, game)] * lanes, autoreset_mode=AutoresetMode.SAME_STEP)
        self.truncated = np.zeros(lanes, bool)

    def reset(self, seeds: np.ndarray, lane_L: np.ndarray | None = None) -> Any:
        """Start new episodes and return the observations of all lanes.

        Args:
            seeds: One seed for each lane to reset.
            lane_L: bool [L], the lanes to reset; None resets all.
        """
        mask = np.ones(self._lanes, bool) if lane_L is None else lane_L
        seed_of = dict(zip(np.flatnonzero(mask).tolist(), np.asarray(seeds).tolist(), strict=True))
        options = {"reset_mask": mask}
        return self._env.reset(seed=[seed_of.get(lane) for lane in range(self._lanes)], options=options)[0]

    def step(self, actions: np.ndarray, /) -> tuple[Any, np.ndarray, np.ndarray]:
        """Step every lane.

        Args:
            actions: int [L], indices into the action table.

        Returns:
            Observations, rewards float64 [L], and bool [L] whether the episode was terminated or truncated.
        """
        observation, rewards, terminated, truncated, _ = self._env.step(self._start + np.asarray(actions, np.int64))
        self.truncated = truncated & ~terminated
        return observation, np.asarray(rewards, np.float64), terminated | truncated


def _batch(observation: Any) -> dict[str, np.ndarray]:
    """Add a time axis: observations [L, ...] become [L, 1, ...]."""
    return {name: array[:, None] for name, array in by_field(observation).items()}


def _each(observation: Any) -> Sequence[Any]:
    """Split vectorized observations into one observation per lane, as a single environment returns it."""
    if not isinstance(observation, dict):
        return list(observation)
    return [dict(zip(observation, fields, strict=True)) for fields in zip(*observation.values(), strict=True)]


PLAY = LanePlay(GymVector, environment=lambda game: f"Gymnasium {registry.find(game).title}", batch=_batch, each=_each)
