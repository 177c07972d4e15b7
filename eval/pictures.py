"""Moving pictures of the best, the median and the worst game of checkpoints, kept beside the games."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.common.files import replacing
from eval.film import gif
from eval.play.options import PlayOptions, Task, play_of


@dataclass(frozen=True)
class Pictures:
    """Those of one checkpoint and protocol."""

    folder: Path
    """Where its games are kept."""
    task: Task
    """Its policy."""
    games: Sequence[Any]
    """The rows of its games, one or more."""

    @property
    def chosen(self) -> dict[str, Any]:
        """The games to show, by what they are; of the same score, those of the smallest seeds."""
        falling = sorted(self.games, key=lambda game: (-game.score, game.seed))
        named = {"worst": falling[-1], "median": falling[len(falling) // 2], "best": falling[0]}
        unlike = {game.seed: name for name, game in named.items()}
        return {name: game for name, game in reversed(named.items()) if unlike[game.seed] == name}

    def path(self, game: Any) -> Path:
        """The file of a game."""
        return self.folder / f"game-{game.seed:05d}.gif"

    def read(self) -> dict[str, bytes]:
        """The pictures that there are, by what they show."""
        return {name: self.path(game).read_bytes() for name, game in self.chosen.items() if self.path(game).exists()}


def make_pictures(all_pictures: Sequence[Pictures], game: str, options: PlayOptions) -> None:
    """Play again the chosen games that have no picture yet, and write their pictures."""
    missing = [
        (pictures, {played.seed: played for played in pictures.chosen.values() if not pictures.path(played).exists()})
        for pictures in all_pictures
    ]
    missing = [(pictures, games) for pictures, games in missing if games]
    tasks = [replace(pictures.task, seeds=list(games), on_game=lambda row: None) for pictures, games in missing]
    for (pictures, games), films in zip(missing, play_of(game).film_agents(tasks, game, options), strict=True):
        for seed, film in films.items():
            # Not whether it is the best: with more games, another may be.
            played = games[seed]
            title = f"seed {seed}, score {played.score:g}"
            with replacing(pictures.path(played)) as scratch:
                scratch.write_bytes(gif(film, game, pictures.task.agent.actions, title))
