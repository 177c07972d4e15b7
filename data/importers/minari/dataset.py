"""Imports the episodes of a Minari dataset.

The score of an episode is the sum of its rewards. The last observation, if no action follows it, is not a step.
"""

import functools
import hashlib
import importlib.util
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from gymnasium.spaces import Discrete

from data.common.cli import UserError
from data.games import registry
from data.importers.base import DAMAGED, EMPTY, Options, Report, Unusable, import_games
from data.store.pack import PackedEpisode, pack

_ERRORS = (KeyError, ValueError, TypeError, AttributeError, AssertionError, RuntimeError)
"""What Minari and h5py raise on a damaged dataset."""


@dataclass(frozen=True)
class MinariEpisode:
    """An episode of a Minari dataset: a `data.importers.base.Recording`."""

    dataset: Path
    """Folder with the dataset's data."""
    number: int
    """Number of the episode."""
    game: str
    """Name of the game."""

    @property
    def source(self) -> str:
        """The episode's number in the dataset."""
        return f"episode {self.number}"

    def fingerprint(self) -> str:
        """See `data.importers.base.Recording`. From the dataset's id and metadata: a version never changes."""
        storage = _storage(self.dataset)
        try:
            [facts] = storage.get_episode_metadata([self.number])
        except _ERRORS as error:
            raise Unusable(DAMAGED, f"can't be read ({error!r})") from error
        identity = [storage.metadata.get("dataset_id", str(self.dataset)), self.number, facts]
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:32]


def import_minari(
    folder: str | Path,
    store: str | Path,
    *,
    game: str,
    **options: Unpack[Options],
) -> Report:
    """Import every episode of a dataset.

    Args:
        folder: Folder of the dataset.
        store: Folder of the store.
        game: Atari game, such as Breakout, or gym/ENV.
        **options: See `data.importers.base.Options`.

    Raises:
        UserError: minari is not installed, there is no such dataset or game, or see
            `data.importers.base.import_games`.
    """
    try:
        import minari  # noqa: F401 - fail here, not in every worker
    except ImportError as error:
        raise UserError("Minari datasets need minari: pip install 'isoplay[minari]'") from error
    path = Path(folder) / "data" if (Path(folder) / "data").is_dir() else Path(folder)
    family, storage = _family(game), _storage(path)
    if not isinstance(storage.action_space, Discrete):
        raise UserError(f"{folder} has actions in {storage.action_space}: only Discrete action spaces can be stored")
    content, (facts, others) = family.content(registry.find(game), storage), family.facts_of(storage)
    report = import_games(
        store,
        content,
        path,
        functools.partial(find, game=game),
        convert,
        importer="minari",
        facts=facts,
        **options,
    )
    warnings = tuple(f"recorded with {other}: agents that learn from it play another game" for other in others)
    return replace(report, warnings=warnings + report.warnings)


def find(folder: Path, game: str) -> list[MinariEpisode]:
    """All episodes of a dataset, by number.

    Raises:
        UserError: There is no dataset, or it has no episode.
    """
    count = _storage(folder).total_episodes
    if count < 1:
        raise UserError(f"no episode in {folder}")
    return [MinariEpisode(folder, number, game) for number in range(count)]


def convert(recording: MinariEpisode) -> PackedEpisode:
    """Convert an episode.

    Raises:
        Unusable: It is empty or damaged.
    """
    storage = _storage(recording.dataset)
    try:
        [episode] = storage.get_episodes([recording.number])
        observations = episode["observations"]
        actions, rewards = np.asarray(episode["actions"]), np.asarray(episode["rewards"], np.float64)
        lengths = {
            len(array) for array in (observations.values() if isinstance(observations, dict) else [observations])
        }
    except _ERRORS as error:
        raise Unusable(DAMAGED, f"can't be read ({error!r})") from error
    if actions.ndim != 1 or actions.dtype.kind not in "iu" or rewards.ndim != 1:
        raise Unusable(DAMAGED, f"actions and rewards of {actions.dtype} {actions.shape} and {rewards.shape}")
    steps = len(actions)
    if not steps:
        raise Unusable(EMPTY, "no step")
    if len(rewards) != steps or lengths not in ({steps}, {steps + 1}):
        counts = " or ".join(map(str, sorted(lengths)))
        raise Unusable(DAMAGED, f"{steps} actions, {len(rewards)} rewards and {counts} observations")
    if not np.isfinite(rewards).all():
        raise Unusable(DAMAGED, "rewards that are not finite")
    family = _family(recording.game)
    content = family.content(registry.find(recording.game), storage)
    # Gymnasium's Discrete spaces may begin at any number; the names of Atari's actions count from 0.
    first = content.actions[0] if isinstance(content.actions[0], int) else 0
    last = first + len(content.actions) - 1
    if not first <= actions.min() <= actions.max() <= last:
        raise Unusable(DAMAGED, f"actions from {actions.min()} to {actions.max()}, not from {first} to {last}")
    action_S = (actions - first).astype(np.uint8)
    converted = family.steps_of(storage, observations, action_S, rewards)
    return pack(content.codec, [converted], score=float(rewards.sum()), source=recording.source)


def _family(game: str) -> Any:
    """How the observations of this game become steps.

    Raises:
        UserError: Nobody knows.
    """
    family = registry.find(game).family
    if importlib.util.find_spec(f"{__package__}.{family}") is None:
        raise UserError(f"episodes of {game} can't be imported from Minari datasets: give an Atari game, or gym/ENV")
    return registry.module(str(__package__), family)


def _storage(folder: Path) -> Any:
    from minari.dataset.minari_storage import MinariStorage

    try:
        storage = MinariStorage.read(folder)
        if not isinstance(storage.metadata["total_episodes"], int | np.integer):
            raise ValueError("no number of episodes")
        return storage
    except (OSError, *_ERRORS) as error:
        raise UserError(f"no Minari dataset in {folder} ({error}): give the folder that holds its data") from error
