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
    """An environment. Implements `eval.play.lanes.LaneGame`."""

    anew = False

    def __init__(self, game: str, actions: int | None, options: PlayOptions) -> None:
        start, *_ = registry.find(game).content(actions).actions
        self._start, self._env = int(start), make(game)
        self.truncated = False

    def reset(self, seed: int, /) -> Any:
        """See `eval.play.lanes.LaneGame`."""
        return self._env.reset(seed=seed)[0]

    def send(self, action: int, /) -> None:
        """See `eval.play.lanes.LaneGame`."""
        self._action = self._start + action

    def receive(self) -> tuple[Any, float, bool]:
        """See `eval.play.lanes.LaneGame`."""
        observation, reward, terminated, truncated, _ = self._env.step(self._action)
        self.truncated = truncated and not terminated
        return observation, float(reward), terminated or truncated


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
        environment=lambda game, options: f"Gymnasium {registry.find(game).title}",
        feed=_feed,
        step=_step,
    )
)
