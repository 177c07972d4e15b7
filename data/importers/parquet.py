"""Imports Atari episodes in Parquet, in the format of the code of Tuyls et al. (arXiv 2307.09423).

Each episode is a folder with `rollout.parquet` (or its parts, `rollout*.parquet`), whose columns are `states`, lists of
28,224 integers, and `actions`; and `metadata.parquet`, one row with `score` and `steps`. A state is a flattened stack
of frames, 84x84x4 as the paper's code writes it, or 4x84x84; which of them is detected from consecutive steps.
"""

import fnmatch
import functools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from data.codec.frames import FRAMES
from data.common.cli import UserError
from data.common.workers import stop_if_asked
from data.games import atari
from data.importers import stacks
from data.importers.base import (
    DAMAGED,
    Options,
    Report,
    Unusable,
    fingerprint_of,
    folders,
    import_games,
    packed,
)
from data.spec import FRAME_COLUMNS, FRAME_ROWS, NO_SCORE, STACK, AtariSteps
from data.store.pack import PackedEpisode

_METADATA = "metadata.parquet"
_ROWS = 256
"""Steps read at a time: 14 MB of 16-bit integers."""
_SIZE = FRAME_ROWS * FRAME_COLUMNS * STACK


@dataclass(frozen=True)
class ParquetEpisode:
    """The folder of an episode: a `data.importers.base.Recording`."""

    source: str
    """Path of the folder inside the imported folder."""
    rollouts: tuple[Path, ...]
    """Its rollout files, in order."""
    metadata: Path | None
    """None if it is missing."""
    actions: int
    """Size of the action table."""

    def fingerprint(self) -> str:
        """See `data.importers.base.Recording`."""
        return fingerprint_of(self.rollouts)


def import_parquet(
    folder: str | Path,
    store: str | Path,
    *,
    game: str,
    **options: Unpack[Options],
) -> Report:
    """Import every episode under `folder`.

    Args:
        folder: Folder with a folder for each episode, at any depth.
        store: Folder of the store.
        game: Atari game, such as Breakout.
        **options: See `data.importers.base.Options`.

    Raises:
        UserError: pyarrow is not installed, there is no such game or no episode, or see
            `data.importers.base.import_games`.
    """
    try:
        import pyarrow  # noqa: F401 - fail here, not in every worker
    except ImportError as error:
        raise UserError("Parquet needs pyarrow: pip install 'isoplay[parquet]'") from error
    content = atari.content(game)
    return import_games(
        store,
        content,
        Path(folder),
        functools.partial(find, actions=len(content.actions)),
        convert,
        importer="parquet",
        **options,
    )


def find(folder: Path, actions: int) -> list[ParquetEpisode]:
    """All folders under `folder` that have a rollout, in natural order of their names (2 before 10).

    Raises:
        UserError: There is none, or a folder cannot be read.
    """
    found = []
    for parent, names in folders(folder):
        rollouts = tuple(parent / name for name in sorted(fnmatch.filter(names, "rollout*.parquet"), key=_by_number))
        if rollouts:
            source = parent.relative_to(folder).as_posix()
            found.append(ParquetEpisode(source, rollouts, parent / _METADATA if _METADATA in names else None, actions))
    if not found:
        raise UserError(f"no episode (rollout.parquet) under {folder}")
    return sorted(found, key=lambda recording: _by_number(recording.source))


def _by_number(name: str) -> list[Any]:
    """Key of the natural order."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def convert(recording: ParquetEpisode) -> PackedEpisode:
    """Convert an episode.

    Raises:
        Unusable: It is empty or damaged.
    """
    import pyarrow

    try:
        score, steps = _facts(recording)
        episode = packed(
            FRAMES, stacks.check_consecutive(_pieces(recording)), "step", score=float(score), source=recording.source
        )
    except (pyarrow.ArrowException, ValueError) as error:
        raise Unusable(DAMAGED, f"not valid Parquet ({str(error).splitlines()[0]})") from error
    if episode.length != steps:
        raise Unusable(DAMAGED, f"{episode.length} steps where its {_METADATA} says {steps}")
    return episode


def _facts(recording: ParquetEpisode) -> tuple[int, int]:
    """Score and number of steps in the metadata."""
    from pyarrow import parquet

    if recording.metadata is None:
        raise Unusable(DAMAGED, f"no {_METADATA} beside it")
    with parquet.ParquetFile(recording.metadata) as file:
        if file.metadata.num_rows != 1:
            raise Unusable(DAMAGED, f"{_METADATA} has {file.metadata.num_rows} rows instead of one")
        row = file.read().to_pylist()[0]
    score, steps = row.get("score"), row.get("steps")
    whole = isinstance(score, int | float) and math.isfinite(score) and score == int(score)
    if not whole or abs(score) >= 2**53 or not isinstance(steps, int):
        raise Unusable(DAMAGED, f"{_METADATA} has score {score!r} and steps {steps!r}")
    return int(score), steps


def _pieces(recording: ParquetEpisode) -> Iterator[AtariSteps]:
    """The steps of the episode, some at a time."""
    from pyarrow import parquet

    axis = None
    held: list[tuple[np.ndarray, np.ndarray]] = []
    for path in recording.rollouts:
        with parquet.ParquetFile(path) as file:
            _check_columns(file.schema_arrow)
            for batch in file.iter_batches(_ROWS, columns=["states", "actions"], use_threads=False):
                stop_if_asked()
                if not batch.num_rows:
                    continue
                held.append((_states(batch["states"]), _actions(batch["actions"], recording.actions)))
                if axis is None:
                    seen = np.concatenate([states for states, _ in held])
                    if len(seen) < 2:
                        continue
                    axis = stacks.axis_of_frames(seen)
                for states, actions in held:
                    yield AtariSteps(stacks.stacks(states, axis), actions, np.full(len(actions), NO_SCORE, np.int32))
                held.clear()
    if held:
        raise Unusable(DAMAGED, "a single step, from which the axis of the frames cannot be detected")


def _check_columns(schema: Any) -> None:
    from pyarrow import types

    for name in ("states", "actions"):
        if schema.names.count(name) != 1:
            what = "no column" if name not in schema.names else "more than one column"
            raise Unusable(DAMAGED, f"{what} {name}")
    states, actions = schema.field("states").type, schema.field("actions").type
    listed = types.is_list(states) or types.is_large_list(states) or types.is_fixed_size_list(states)
    if not (listed and types.is_integer(states.value_type) and types.is_integer(actions)):
        raise Unusable(DAMAGED, f"states of {states} and actions of {actions}")


def _states(column: Any) -> np.ndarray:
    """Flattened stacks, integers [S, 28224]."""
    values = column.flatten()
    if column.null_count or values.null_count:
        raise Unusable(DAMAGED, "states with null values")
    sizes = np.asarray(column.value_lengths())
    if (sizes != _SIZE).any():
        raise Unusable(DAMAGED, f"a state of {sizes[sizes != _SIZE][0]} values instead of {_SIZE}")
    return values.to_numpy().reshape(-1, _SIZE)


def _actions(column: Any, count: int) -> np.ndarray:
    """Actions, uint8 [S], all below `count`."""
    if column.null_count:
        raise Unusable(DAMAGED, "null actions")
    actions = column.to_numpy()
    if not 0 <= actions.min() <= actions.max() < count:
        worst = actions.min() if actions.min() < 0 else actions.max()
        raise Unusable(DAMAGED, f"action {worst} where the game has {count}")
    return actions.astype(np.uint8)
