"""Atari games for evaluation, see `eval.play.options.Play`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.spec import Agent, Params
from data.common.cli import UserError
from data.experts.registry import Expert
from data.games.arcade import SETTING, Arcade
from eval.play.lanes import Chooser, by_agent, by_expert, lanes_for, play_lanes
from eval.play.options import OnGame, PlayOptions
from eval.play.records import EpisodeRow

Row = EpisodeRow


def check(game: str, options: PlayOptions, seeds: Sequence[int]) -> None:
    """No character; seeds below 2^31, which is what ALE takes."""
    if options.character is not None:
        raise UserError(f"{game} has no characters: leave --character out")
    if any(seed >= 2**31 for seed in seeds):
        raise UserError(f"seed must lie below 2^31 - episodes for {game}, not be {min(seeds)}")


def environment(game: str, options: PlayOptions) -> str:
    """ALE and its settings."""
    return f"ALE {game}, {SETTING}"


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
    return _play(game, seeds, choose, options, agent.actions, progress, on_game)


def play_expert(
    expert: Expert,
    seeds: Sequence[int],
    options: PlayOptions,
    *,
    progress: bool = True,
    on_game: OnGame | None = None,
) -> list[EpisodeRow]:
    """Play with an expert."""
    return _play(expert.game, seeds, by_expert(expert, list), options, expert.actions, progress, on_game)


def _play(
    game: str,
    seeds: Sequence[int],
    choose: Chooser,
    options: PlayOptions,
    actions: int | None,
    progress: bool,
    on_game: OnGame | None,
) -> list[EpisodeRow]:
    if not seeds:
        return []
    lanes = lanes_for(options.lanes, seeds)
    arcade = Arcade(game, lanes, options.workers, actions)
    return play_lanes(arcade, lanes, seeds, choose, max_steps=options.max_steps, progress=progress, on_game=on_game)


def _batch(stacks_Lx84x84x4: np.ndarray) -> dict[str, Any]:
    """Stacks as a batch of one timestep: single frames and the index of each stack's oldest."""
    frames = np.ascontiguousarray(np.moveaxis(stacks_Lx84x84x4, -1, 1))
    return {"frames": frames, "oldest": np.zeros((len(frames), 1), np.int32)}
