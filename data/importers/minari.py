"""Imports the Atari episodes of a Minari dataset.

Observations may be stacks (84x84x4 or 4x84x84), single frames (84x84), or full screens (210x160x3, or 210x160), which
are converted to greyscale and downsampled. The score of an episode is the sum of its rewards. The last observation, if
no action follows it, is not a step.
"""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from gymnasium.spaces import Discrete

from data.codec.frames import FRAMES
from data.common.cli import UserError
from data.games import atari
from data.importers import stacks
from data.importers.base import DAMAGED, EMPTY, Options, Report, Unusable, import_games
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK, AtariSteps
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
    actions: int
    """Size of the action table."""

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
        game: Atari game, such as Breakout.
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
    space = _storage(path).action_space
    if not isinstance(space, Discrete):
        raise UserError(f"{folder} has actions in {space}: Atari games have discrete actions")
    content = atari.content(game, int(space.n))
    return import_games(
        store,
        content,
        path,
        functools.partial(find, actions=len(content.actions)),
        convert,
        importer="minari",
        **options,
    )


def find(folder: Path, actions: int) -> list[MinariEpisode]:
    """All episodes of a dataset, by number.

    Raises:
        UserError: There is no dataset, or it has no episode.
    """
    count = _storage(folder).total_episodes
    if count < 1:
        raise UserError(f"no episode in {folder}")
    return [MinariEpisode(folder, number, actions) for number in range(count)]


def convert(recording: MinariEpisode) -> PackedEpisode:
    """Convert an episode.

    Raises:
        Unusable: It is empty or damaged.
    """
    try:
        [episode] = _storage(recording.dataset).get_episodes([recording.number])
        observations = np.asarray(episode["observations"])
        actions, rewards = np.asarray(episode["actions"]), np.asarray(episode["rewards"], np.float64)
    except _ERRORS as error:
        raise Unusable(DAMAGED, f"can't be read ({error!r})") from error
    if actions.ndim != 1 or actions.dtype.kind not in "iu" or rewards.ndim != 1 or observations.ndim < 3:
        shapes = f"{actions.dtype} {actions.shape}, {rewards.shape} and {observations.shape}"
        raise Unusable(DAMAGED, f"actions, rewards and observations of {shapes}")
    steps = len(actions)
    if not steps:
        raise Unusable(EMPTY, "no step")
    if len(rewards) != steps or len(observations) not in (steps, steps + 1):
        raise Unusable(DAMAGED, f"{steps} actions, {len(rewards)} rewards and {len(observations)} observations")
    if not 0 <= actions.min() <= actions.max() < recording.actions:
        raise Unusable(DAMAGED, f"actions from {actions.min()} to {actions.max()} where there are {recording.actions}")
    if not (rewards == np.rint(rewards)).all() or np.abs(rewards).sum() >= 2**31:
        raise Unusable(DAMAGED, "rewards that are not integers")
    scores = np.cumsum(rewards) - rewards
    frames = _stacks(observations[:steps])
    steps = AtariSteps(frames, actions.astype(np.uint8), scores.astype(np.int32))
    return pack(FRAMES, stacks.check_consecutive([steps]), score=float(rewards.sum()), source=recording.source)


def _stacks(observations: np.ndarray) -> np.ndarray:
    """Convert observations of any supported shape to stacks, uint8 [S, 84, 84, 4]."""
    shape = observations.shape[1:]
    if observations.dtype != np.uint8:
        raise Unusable(DAMAGED, f"observations of {observations.dtype}")
    if shape == (FRAME_ROWS, FRAME_COLUMNS, STACK):
        return observations
    if shape == (STACK, FRAME_ROWS, FRAME_COLUMNS):
        return np.moveaxis(observations, 1, -1)
    if shape[:2] == (FRAME_ROWS, FRAME_COLUMNS) and shape[2:] in ((), (1,)):
        return stacks.stacked(observations.reshape(-1, FRAME_ROWS, FRAME_COLUMNS))
    if shape in ((210, 160, 3), (210, 160)):
        return stacks.stacked(stacks.downsampled(observations))
    raise Unusable(DAMAGED, f"observations of {shape}: neither 84x84 frames nor 210x160 screens")


def _storage(folder: Path) -> Any:
    from minari.dataset.minari_storage import MinariStorage

    try:
        storage = MinariStorage.read(folder)
        if not isinstance(storage.metadata["total_episodes"], int | np.integer):
            raise ValueError("no number of episodes")
        return storage
    except (OSError, *_ERRORS) as error:
        raise UserError(f"no Minari dataset in {folder} ({error}): give the folder that holds its data") from error
