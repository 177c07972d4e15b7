"""Episodes played by an expert straight into a store: what the families of games share.

An episode to play is a recording to import: all cores play, what is written is whole or as it was before, and
collecting again adds only the episodes that are missing.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.common.cli import UserError
from data.experts import registry as experts
from data.experts.registry import Expert
from data.games.base import Game
from data.importers.base import Report, import_games
from data.store.pack import PackedEpisode


@dataclass(frozen=True)
class ToPlay:
    """An episode that was not played yet, as `data.importers.base` wants a recording."""

    expert: Expert
    seed: int
    source: str

    def fingerprint(self) -> str:
        """32 hex digits of the game, who plays, and the seed."""
        told = f"{self.expert.game} {self.expert.identity} {self.seed}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]


def episode_seed(seed: int, number: int) -> int:
    """The seed of episode `number` of a collection, uint32."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def collect(
    store: Path,
    game: Game,
    play: Callable[[ToPlay], PackedEpisode],
    *,
    expert: str,
    episodes: int,
    seed: int = 0,
    workers: int | None = None,
    dev_fraction: float | None = None,
) -> Report:
    """Play episodes of which number i is a function of (seed, i) and the expert, and add to the store what it lacks.

    Args:
        store: The store, new or of the same game and actions.
        game: The game.
        play: Plays one episode; called by name in worker processes.
        expert: Who plays, see `data.experts.registry.find`.
        episodes: Number of episodes; those already in the store count.
        seed: Seed of the collection.
        workers: Processes that play; default one per core.
        dev_fraction: Share of the episodes of a new store that is held out; default 0.1.

    Raises:
        UserError: An option is out of range, there is no such expert, or the store holds something else.
    """
    if episodes < 1 or seed < 0:
        raise UserError(f"--episodes {episodes} and --seed {seed}: give at least 1 and 0")
    found = experts.find(game, expert)
    return import_games(
        store,
        found.content,
        store,
        functools.partial(_to_play, found, seed, episodes),
        play,
        importer=f"collect {game.family}",
        expert=found.title,
        workers=workers,
        dev_fraction=dev_fraction,
    )


def _to_play(expert: Expert, seed: int, episodes: int, _: Path) -> list[ToPlay]:
    """The episodes of a collection."""
    return [ToPlay(expert, episode_seed(seed, number), f"game-{number:05d}") for number in range(episodes)]
