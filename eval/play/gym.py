"""Evaluation in Gymnasium environments."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.codec.generic import GenericSteps, packed
from data.games import registry
from data.games.gym import by_field, make
from data.spec import NO_SCORE
from eval.play.lanes import Family, LanePlay
from eval.play.options import PlayOptions


class OneGym:
    """An environment as a vector of one lane. Implements `eval.play.lanes.VectorGame`."""

    def __init__(self, game: str, lanes: int, actions: int | None, options: PlayOptions) -> None:
        start, *_ = registry.find(game).content(actions).actions
        self._start, self._env = int(start), make(game)
        self.truncated, self.anew = np.zeros(1, bool), np.zeros(1, bool)

    def reset(self, seeds: np.ndarray, mask: np.ndarray, /) -> list[Any]:
        """See `eval.play.lanes.VectorGame`."""
        return [self._env.reset(seed=int(seeds[0]))[0]]

    def send(self, actions: np.ndarray, /) -> None:
        """See `eval.play.lanes.VectorGame`."""
        self._action = self._start + int(actions[0])

    def receive(self) -> tuple[list[Any], np.ndarray, np.ndarray]:
        """See `eval.play.lanes.VectorGame`."""
        observation, reward, terminated, truncated, _ = self._env.step(self._action)
        self.truncated[0] = truncated and not terminated
        return [observation], np.array([reward], np.float64), np.array([terminated or truncated])


def _feed(lanes: int) -> Any:
    """Stack the lanes' observations and add a time axis: arrays [L, 1, ...]."""

    def feed(observations: Sequence[Any], first_L: np.ndarray) -> dict[str, np.ndarray]:
        some = next(by_field(one) for one in observations if one is not None)
        fields = [some if one is None else by_field(one) for one in observations]
        return {name: np.stack([np.asarray(one[name]) for one in fields])[:, None] for name in some}

    return feed


def _step(game: str, observation: Any, action: int) -> GenericSteps:
    spec = registry.find(game).content().codec.observation
    fields = {name: np.asarray(value)[None] for name, value in by_field(observation).items()}
    return GenericSteps(packed(spec, fields)[0], np.uint8(action), np.int32(NO_SCORE))  # pyright: ignore[reportArgumentType]


PLAY = LanePlay(
    Family(
        OneGym,
        cell=lambda options: 1,
        environment=lambda game, options: f"Gymnasium {registry.find(game).title}",
        feed=_feed,
        step=_step,
    )
)
