"""Evaluation in NetHack, in parallel worker processes."""

from collections.abc import Sequence
from typing import Unpack

from agents.spec import Agent, Params
from data.experts.registry import Expert
from data.games.nethack import CHARACTER
from eval.play.nethack.game import GameRow
from eval.play.nethack.rollout import play_agents, play_experts
from eval.play.options import PlayOptions, Shown


class NetHackPlay:
    """Implements `eval.play.options.Play`."""

    Row = GameRow

    def check(self, game: str, options: PlayOptions, seeds: Sequence[int]) -> None:
        """Accept every option and seed."""

    def environment(self, game: str, options: PlayOptions) -> str:
        """Return the name of NLE's environment and the character."""
        return f"NetHackChallenge-v0 {options.character or CHARACTER}"

    def play_agent(
        self,
        agent: Agent,
        params: Params,
        game: str,
        seeds: Sequence[int],
        options: PlayOptions,
        **shown: Unpack[Shown],
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
            **shown,
        )

    def play_expert(
        self, expert: Expert, seeds: Sequence[int], options: PlayOptions, **shown: Unpack[Shown]
    ) -> list[GameRow]:
        """Play games with an expert. See `eval.play.options.Play`."""
        return play_experts(
            expert,
            seeds,
            workers=options.workers,
            max_steps=options.max_steps,
            character=options.character or CHARACTER,
            **shown,
        )


PLAY = NetHackPlay()
