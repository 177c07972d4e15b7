"""Evaluation in NetHack, in parallel worker processes."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import jax

from data.collect.nethack import check_character, folder_of
from data.experts.registry import Expert
from data.games.challenge import CHARACTER
from data.importers.nld import find, read_steps
from data.spec import NetHackSteps
from eval.engine.game import GameRow
from eval.film import Film
from eval.play.apart import play_apart, play_experts
from eval.play.options import OnGame, PlayOptions, Task
from eval.play.rollout import play_agents


class NetHackPlay:
    """Implements `eval.play.options.Play`."""

    Row = GameRow
    records = True

    def check(self, game: str, options: PlayOptions, seeds: Sequence[int]) -> None:
        """Check that NetHack knows the character.

        Raises:
            UserError: It does not.
        """
        check_character(options.character or CHARACTER)

    def environment(self, game: str, options: PlayOptions) -> str:
        """Return the name of NLE's environment and the character."""
        return f"NetHackChallenge-v0 {options.character or CHARACTER}"

    def play_agents(self, tasks: Sequence[Task], game: str, options: PlayOptions, *, progress: bool = True) -> None:
        """Play games with agents. See `eval.play.options.Play`."""
        play = play_apart if jax.default_backend() == "cpu" else play_agents
        shares = play(
            tasks,
            lanes=options.lanes,
            workers=options.workers,
            key_seed=options.seed,
            sampling=options.sampling,
            max_steps=options.max_steps,
            character=options.character or CHARACTER,
            progress=progress,
        )
        if progress and shares.steps:
            print(shares, file=sys.stderr)

    def film_agents(self, tasks: Sequence[Task], game: str, options: PlayOptions) -> list[dict[int, Film]]:
        """Films of the games of agents, from recordings. See `eval.play.options.Play`."""
        with TemporaryDirectory() as temporary:
            folders = [Path(temporary, str(number)) for number in range(len(tasks))]
            for folder in folders:
                folder.mkdir()
            recorded = [replace(task, record=folder) for task, folder in zip(tasks, folders, strict=True)]
            self.play_agents(recorded, game, options, progress=False)
            films = zip(tasks, folders, strict=True)
            return [{seed: _film(folder_of(folder, seed)) for seed in task.seeds} for task, folder in films]

    def play_expert(
        self,
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


def _film(recording: Path) -> Film:
    """The film of a recorded game."""
    film = Film()
    [found] = find(recording)
    for piece in read_steps(found.path):
        for number in range(len(piece.action_S)):
            film.add(NetHackSteps(*(column[number].copy() for column in piece)))
    return film


PLAY = NetHackPlay()
