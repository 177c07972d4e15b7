"""Collection of expert episodes into a store, shared by the game families.

Episodes are played by the import pipeline, as if they were recordings to import. They are played in parallel, the store
is updated atomically, and collecting again adds only the missing episodes.
"""

import functools
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict, Unpack

import numpy as np
import tyro

from data.collect.shared import CLAIMS, Executor, play_shared
from data.common.cli import UserError
from data.common.lease import holder_of, in_turn
from data.common.machine import cores
from data.common.progress import Bar
from data.experts import registry as experts
from data.experts.registry import EMBEDDED, Expert
from data.games.base import Game
from data.importers.base import Options as ImportOptions
from data.importers.base import Report, import_games
from data.store.manifest import MANIFEST
from data.store.pack import PackedEpisode, read_episode, write_episode
from data.store.reader import TrajectoryStore


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


@dataclass(frozen=True, kw_only=True)
class Collecting:
    """Options of every collector of a store."""

    episodes: int = 100
    """Total number of episodes, including those already in the store."""
    seed: int = 0
    """Seed; episode i depends only on (seed, i) and the expert."""
    dev_fraction: float | None = None
    """Fraction of the episodes of a new store that is held out in the dev split. Default 0.1."""
    dev_games: int | None = None
    """Instead of a fraction: number of episodes held out in the dev split, stratified by length."""
    workers: int | None = None
    """Number of processes that play; default one per core. Does not change the episodes."""
    work: bool = False
    """Share the episodes with the same command on other machines that see the folder of the store."""
    executor: Executor = "local"
    """Where episodes are played: on this machine, or as tasks of the Ray cluster that it belongs to."""


CollectingArg = Annotated[Collecting, tyro.conf.arg(name="")]
"""Its fields as options of a command, without a prefix."""


class Options(TypedDict, total=False):
    """The fields of `Collecting` as keyword arguments, which the families of games pass on to `collect`."""

    episodes: int
    seed: int
    workers: int | None
    dev_fraction: float | None
    dev_games: int | None
    work: bool
    executor: Executor


def collect(
    store: Path,
    game: Game,
    play: Callable[[ToPlay], PackedEpisode],
    *,
    expert: str = EMBEDDED,
    **options: Unpack[Options],
) -> Report:
    """Play the episodes that the store does not have yet, and add them.

    Args:
        store: A new store, or one of the same game and actions.
        game: The game.
        play: Plays one episode. Must be picklable, since worker processes call it.
        expert: Name of the expert, see `data.experts.registry.find`.
        **options: Fields of `Collecting`.

    Raises:
        UserError: An option is out of range, there is no such expert, or the store is of another game.
    """
    asked = Collecting(**options)
    if asked.episodes < 1 or asked.seed < 0:
        raise UserError(f"--episodes {asked.episodes} and --seed {asked.seed}: give at least 1 and 0")
    found = experts.find(game, expert)
    seeds = [episode_seed(asked.seed, number) for number in range(asked.episodes)]
    to_play = [ToPlay(found, seed, f"game-{number:05d}") for number, seed in enumerate(seeds)]
    of_store: ImportOptions = {
        "expert": found.title,
        "workers": asked.workers,
        "dev_fraction": asked.dev_fraction,
        "dev_games": asked.dev_games,
    }
    add = functools.partial(import_games, store, found.content, store, importer=f"collect {game.family}", **of_store)
    if not asked.work and asked.executor == "local":
        return add(lambda _: to_play, play)
    shared = [_Shared(recording, store, play) for recording in to_play]
    with Bar(name="collect", total=asked.episodes, unit="game") as bar:
        for count in play_shared(shared, folder_of(store), asked.workers or cores(), asked.executor):
            bar.update(count - bar.n)
    return _added(store, lambda: add(lambda _: shared, _read))


def folder_of(store: Path) -> Path:
    """The folder beside a store in which processes that share a collection keep its episodes until all are there."""
    return store.with_name(f"{store.name}.collect")


@dataclass(frozen=True)
class _Shared:
    """An episode that is kept in a file, for the process that adds all to the store."""

    recording: ToPlay
    store: Path
    play: Callable[[ToPlay], PackedEpisode]

    @property
    def source(self) -> str:
        return self.recording.source

    @property
    def name(self) -> str:
        return self.fingerprint()

    @property
    def file(self) -> Path:
        return folder_of(self.store) / f"{self.name}.npz"

    @property
    def made(self) -> bool:
        return self.file.exists() or self.name in _known(self.store)

    def fingerprint(self) -> str:
        return self.recording.fingerprint()

    def make(self) -> None:
        write_episode(self.file, self.play(self.recording))


def _read(shared: _Shared) -> PackedEpisode:
    return read_episode(shared.file)


def _known(store: Path) -> frozenset[str]:
    """Hashes of the episodes that a store holds."""
    manifest = store / MANIFEST
    return _known_at(store, manifest.stat().st_mtime_ns) if manifest.exists() else frozenset()


@functools.lru_cache(maxsize=1)
def _known_at(store: Path, _: int) -> frozenset[str]:
    return frozenset(episode.recording for episode in TrajectoryStore.open(store).episodes if episode.recording)


def _added(store: Path, add: Callable[[], Report]) -> Report:
    """Add the episodes to the store, or wait for the process that does, and remove their folder."""
    folder, reports = folder_of(store), []

    def add_all(_: Path) -> None:
        reports.append(add())
        shutil.rmtree(folder / CLAIMS, ignore_errors=True)
        for file in folder.glob("*.npz"):
            file.unlink()

    lease = folder / "store"
    in_turn([lease], lambda path: path, add_all)
    if holder_of(lease) is None:
        shutil.rmtree(folder, ignore_errors=True)
    return reports[0]
