"""Episodes of Gymnasium environments for evaluation, see `eval.play.options.Play`."""

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
    """One environment on every lane of a `gymnasium.vector.SyncVectorEnv`; see `eval.play.lanes.VectorGame`."""

    def __init__(self, game: str, lanes: int) -> None:
        from gymnasium.vector import AutoresetMode, SyncVectorEnv

        first, *_ = registry.find(game).content().actions
        self._first, self._lanes = int(first), lanes
        # Lanes for which no game is left go on with games that nobody counts.
        self._env = SyncVectorEnv([partial(make, game)] * lanes, autoreset_mode=AutoresetMode.SAME_STEP)
        self.truncated = np.zeros(lanes, bool)

    def reset(self, seeds: np.ndarray, lane_L: np.ndarray | None = None) -> Any:
        """Begin episodes of these seeds, on all lanes or where `lane_L` is true; the observations of all lanes."""
        mask = np.ones(self._lanes, bool) if lane_L is None else lane_L
        seed_of = dict(zip(np.flatnonzero(mask).tolist(), np.asarray(seeds).tolist(), strict=True))
        options = {"reset_mask": mask}
        return self._env.reset(seed=[seed_of.get(lane) for lane in range(self._lanes)], options=options)[0]

    def step(self, actions: np.ndarray, /) -> tuple[Any, np.ndarray, np.ndarray]:
        """Take an action on each lane: observations, rewards float64 [L], and bool [L] whether the episode ended."""
        seen, rewards, terminated, truncated, _ = self._env.step(self._first + np.asarray(actions, np.int64))
        self.truncated = truncated & ~terminated
        return seen, np.asarray(rewards, np.float64), terminated | truncated


def check(game: str, options: PlayOptions, seeds: Sequence[int]) -> None:
    """No character; seeds below 2^31."""
    if options.character is not None:
        raise UserError(f"{game} has no characters: leave --character out")
    if any(seed >= 2**31 for seed in seeds):
        raise UserError(f"seed must lie below 2^31 - episodes for {game}, not be {min(seeds)}")


def environment(game: str, options: PlayOptions) -> str:
    """The environment's id."""
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
    """Play with an agent."""
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
    """Play with an expert."""
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


def _batch(seen: Any) -> dict[str, np.ndarray]:
    """Observations [L, ...] as a batch of one timestep, [L, 1, ...]."""
    return {name: array[:, None] for name, array in by_field(seen).items()}


def _each(seen: Any) -> Sequence[Any]:
    """The observations lane by lane, as an environment alone returns them."""
    if not isinstance(seen, dict):
        return list(seen)
    return [dict(zip(seen, fields, strict=True)) for fields in zip(*seen.values(), strict=True)]
