"""Evaluation in NetHack, in parallel worker processes. Implements `eval.play.options.Play`."""

from collections.abc import Sequence

from agents.spec import Agent, Params
from data.experts.registry import Expert
from data.games.nethack import CHARACTER
from eval.play.nethack.game import GameRow
from eval.play.nethack.rollout import play_agents, play_experts
from eval.play.options import OnGame, PlayOptions

Row = GameRow


def check(game: str, options: PlayOptions, seeds: Sequence[int]) -> None:
    """Accept every option and seed."""


def environment(game: str, options: PlayOptions) -> str:
    """Return the name of NLE's environment and the character."""
    return f"NetHackChallenge-v0 {options.character or CHARACTER}"


def play_agent(
    agent: Agent,
    params: Params,
    game: str,
    seeds: Sequence[int],
    options: PlayOptions,
    *,
    progress: bool = True,
    on_game: OnGame | None = None,
) -> list[GameRow]:
    """Play games with an agent. See `eval.play.options.Play`."""
    return play_agents(
        agent,
        params,
        seeds,
        lanes=options.lanes,
        workers=options.workers,
        key_seed=options.seed,
        temperature=options.temperature,
        max_steps=options.max_steps,
        character=options.character or CHARACTER,
        progress=progress,
        on_game=on_game,
    )


def play_expert(
    expert: Expert,
    seeds: Sequence[int],
    options: PlayOptions,
    *,
    progress: bool = True,
    on_game: OnGame | None = None,
) -> list[GameRow]:
    """Play games with an expert. See `eval.play.options.Play`."""
    return play_experts(
        expert,
        seeds,
        workers=options.workers,
        max_steps=options.max_steps,
        character=options.character or CHARACTER,
        progress=progress,
        on_game=on_game,
    )
