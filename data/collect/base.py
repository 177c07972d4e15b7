"""Collection of expert episodes into a store, shared by the game families.

Episodes are played by the import pipeline, as if they were recordings to import. They are played in parallel, the store
is updated atomically, and collecting again adds only the missing episodes.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from data.common.cli import UserError
from data.experts import registry as experts
from data.experts.registry import EMBEDDED, Expert
from data.games.base import Game
from data.importers.base import Report, import_games
from data.store.pack import PackedEpisode


@dataclass(frozen=True)
class ToPlay:
    """An episode to play. Takes the place of a recording in `data.importers.base`."""

    expert: Expert
    seed: int
    source: str

    def fingerprint(self) -> str:
        """Return a hash of the game, the expert and the seed, 32 hex digits."""
        text = f"{self.expert.game} {self.expert.identity} {self.seed}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def episode_seed(seed: int, number: int) -> int:
    """Derive the seed of episode `number` of a collection, in the range of uint32."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


class Options(TypedDict, total=False):
    """Keyword arguments of `collect`, which the families of games pass on."""

    expert: str
    episodes: int
    seed: int
    workers: int | None
    dev_fraction: float | None


def collect(
    store: Path,
    game: Game,
    play: Callable[[ToPlay], PackedEpisode],
    *,
    expert: str = EMBEDDED,
    episodes: int = 100,
    seed: int = 0,
    workers: int | None = None,
    dev_fraction: float | None = None,
) -> Report:
    """Play the episodes that the store does not have yet, and add them.

    Args:
        store: A new store, or one of the same game and actions.
        game: The game.
        play: Plays one episode. Must be picklable, since worker processes call it.
        expert: Name of the expert, see `data.experts.registry.find`.
        episodes: Total number of episodes, including those already in the store.
        seed: Seed of the collection; episode i depends only on (seed, i) and the expert.
        workers: Number of processes that play; default one per core.
        dev_fraction: Fraction of the episodes of a new store in its dev split; default 0.1.

    Raises:
        UserError: An option is out of range, there is no such expert, or the store is of another game.
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
    """List the episodes of a collection."""
    return [ToPlay(expert, episode_seed(seed, number), f"game-{number:05d}") for number in range(episodes)]
