"""Evaluation in Gymnasium environments. Implements `eval.play.options.Play`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from agents.spec import Agent, Params
from data.common.cli import UserError
from data.experts.registry import Expert
from data.games import registry
from data.games.gym import by_field, make
from eval.play.lanes import Chooser, by_agent, by_expert, lanes_for, play_lanes
from eval.play.options import OnGame, PlayOptions
from eval.play.records import EpisodeRow

Row = EpisodeRow


class GymVector:
    """`gymnasium.vector.SyncVectorEnv` with one environment per lane. Implements `eval.play.lanes.VectorGame`."""

    def __init__(self, game: str, lanes: int) -> None:
        from gymnasium.vector import AutoresetMode, SyncVectorEnv

        start, *_ = registry.find(game).content().actions
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


def check(game: str, options: PlayOptions, seeds: Sequence[int]) -> None:
    """Check that no character is set and that all seeds are below 2^31.

    Raises:
        UserError: An option is not supported or a seed is out of range.
    """
    if options.character is not None:
        raise UserError(f"{game} has no characters: leave --character out")
    if any(seed >= 2**31 for seed in seeds):
        raise UserError(f"seed must lie below 2^31 - episodes for {game}, not be {min(seeds)}")


def environment(game: str, options: PlayOptions) -> str:
    """Return the environment's id."""
    return f"Gymnasium {registry.find(game).title}"


def play_agent(
    agent: Agent,
    params: Params,
    game: str,
    seeds: Sequence[int],
    options: PlayOptions,
    *,
    progress: bool = True,
    on_game: OnGame | None = None,
) -> list[EpisodeRow]:
    """Play episodes with an agent. See `eval.play.options.Play`."""
    lanes = lanes_for(options.lanes, seeds)
    choose = by_agent(agent, params, lanes, options.seed, options.temperature, _batch)
    return _play(game, seeds, choose, options, progress, on_game)


def play_expert(
    expert: Expert,
    seeds: Sequence[int],
    options: PlayOptions,
    *,
    progress: bool = True,
    on_game: OnGame | None = None,
) -> list[EpisodeRow]:
    """Play episodes with an expert. See `eval.play.options.Play`."""
    return _play(expert.game, seeds, by_expert(expert, _each), options, progress, on_game)


def _play(
    game: str,
    seeds: Sequence[int],
    choose: Chooser,
    options: PlayOptions,
    progress: bool,
    on_game: OnGame | None,
) -> list[EpisodeRow]:
    if not seeds:
        return []
    lanes = lanes_for(options.lanes, seeds)
    env = GymVector(game, lanes)
    return play_lanes(env, lanes, seeds, choose, max_steps=options.max_steps, progress=progress, on_game=on_game)


def _batch(observation: Any) -> dict[str, np.ndarray]:
    """Add a time axis: observations [L, ...] become [L, 1, ...]."""
    return {name: array[:, None] for name, array in by_field(observation).items()}


def _each(observation: Any) -> Sequence[Any]:
    """Split vectorized observations into one observation per lane, as a single environment returns it."""
    if not isinstance(observation, dict):
        return list(observation)
    return [dict(zip(observation, fields, strict=True)) for fields in zip(*observation.values(), strict=True)]
