"""Evaluation in Atari games. Implements `eval.play.options.Play`."""

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
    """Check that no character is set and that all seeds are below 2^31, ALE's limit.

    Raises:
        UserError: An option is not supported or a seed is out of range.
    """
    if options.character is not None:
        raise UserError(f"{game} has no characters: leave --character out")
    if any(seed >= 2**31 for seed in seeds):
        raise UserError(f"seed must lie below 2^31 - episodes for {game}, not be {min(seeds)}")


def environment(game: str, options: PlayOptions) -> str:
    """Return a description of ALE and its settings."""
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
    """Play games with an agent. See `eval.play.options.Play`."""
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
    """Play games with an expert. See `eval.play.options.Play`."""
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
    """Convert frame stacks to the agent's observation of one timestep.

    Returns:
        `frames` uint8 [L, 4, 84, 84], and `oldest` int32 [L, 1], the index of the oldest frame of each stack.
    """
    frames = np.ascontiguousarray(np.moveaxis(stacks_Lx84x84x4, -1, 1))
    return {"frames": frames, "oldest": np.zeros((len(frames), 1), np.int32)}
