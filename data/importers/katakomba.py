"""Imports the datasets of Katakomba: AutoAscend's games by role, race and alignment, an HDF5 file each.

The layout is that of github.com/corl-team/katakomba (`scripts/generate_small_dataset.py`): a group for each game, with
its row of the xlogfile as attributes and datasets [steps, …]: `tty_chars`, `tty_colors`, `tty_cursor`, `actions`,
`rewards` and `dones`. Step and key press are paired as in NLD-AA, which the games are from. Three things differ:

- Actions are indices into NLE's list, of keys that it lists twice the last; here the first. Keys that it does not list
  were written as 0, north.
- Rewards are the increases of the score, without its decreases, as by gold spent, and the last one is a copy of that
  before. The score of a step is that of the first screen and their sum before it, which is the game's as long as that
  never decreases; and 0 from the farewell on, as NLE has it.
- Alignment and gender in file names are those at the end of a game.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from data.codec.screens import SCREENS
from data.common.cli import UserError
from data.common.workers import stop_if_asked
from data.games import nethack
from data.games.keys import KEYS, action_of_key
from data.importers.base import DAMAGED, EMPTY, Options, Report, Unusable, import_games, packed
from data.importers.nld import facts_of
from data.importers.status import PARTED, farewell, shown_score
from data.spec import COLUMNS, NO_LABEL, ROWS, NetHackSteps
from data.store.pack import CHUNK_STEPS, PackedEpisode

SUFFIXES = (".hdf5", ".h5")
_SHAPES = {
    "tty_chars": (ROWS, COLUMNS),
    "tty_colors": (ROWS, COLUMNS),
    "tty_cursor": (2,),
    "actions": (),
    "rewards": (),
    "dones": (),
}
"""Datasets of a game, and their shape at a step."""
_ERRORS = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError)
"""What h5py raises on a damaged file."""


@dataclass(frozen=True)
class KatakombaGame:
    """A game in a file: a `data.importers.base.Recording`."""

    file: Path
    name: str
    """Name of its group."""

    @property
    def source(self) -> str:
        """File and group."""
        return f"{self.file.name}/{self.name}"

    def fingerprint(self) -> str:
        """See `data.importers.base.Recording`. From the game's row and its actions."""
        try:
            with _opened(self.file) as file:
                group = file[self.name]
                _checked(group)
                row, actions = _row(group), np.asarray(group["actions"], "<i2")
        except _ERRORS as error:
            raise Unusable(DAMAGED, f"can't be read ({error})") from error
        digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode())
        digest.update(actions.tobytes())
        return digest.hexdigest()[:32]


def import_katakomba(files: Sequence[Path], store: str | Path, **options: Unpack[Options]) -> Report:
    """Import every game of files.

    Args:
        files: Files of Katakomba, or folders with them.
        store: Folder of the store.
        **options: See `data.importers.base.Options`.

    Raises:
        UserError: h5py is not installed, a file can't be read, or see `data.importers.base.import_games`.
    """
    try:
        import h5py  # noqa: F401 - fail here, not in every worker
    except ImportError as error:
        raise UserError("Katakomba's files need h5py: pip install 'isoplay[katakomba]'") from error
    find_all = partial(find, files=tuple(map(Path, files)))
    folder = Path(files[0]) if len(files) == 1 else Path(files[0]).parent
    return import_games(store, nethack.content(), folder, find_all, convert, importer="katakomba", **options)


def find(_: Path, files: Sequence[Path]) -> list[KatakombaGame]:
    """All games, in the order of the files, and in each by name.

    Raises:
        UserError: A file can't be read, or there is no game.
    """
    found = []
    for path in files:
        if not path.exists():
            raise UserError(f"no file {path}: give files of Katakomba (data-….hdf5)")
        inside = sorted(file for suffix in SUFFIXES for file in path.rglob(f"*{suffix}")) if path.is_dir() else [path]
        for file in inside:
            try:
                with _opened(file) as opened:
                    found += [KatakombaGame(file, name) for name in sorted(opened, key=lambda name: (len(name), name))]
            except _ERRORS as error:
                why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                raise UserError(f"can't read {file} as HDF5 ({why}): copy it again") from error
    if not found:
        raise UserError(f"no game in {', '.join(map(str, files))}: give files of Katakomba (data-….hdf5)")
    return found


def convert(recording: KatakombaGame) -> PackedEpisode:
    """Convert a game.

    Raises:
        Unusable: It is empty or damaged.
    """
    try:
        with _opened(recording.file) as file:
            group = file[recording.name]
            facts = facts_of(_row(group))
            steps = _checked(group)
            pieces = _pieces(group, steps)
            return packed(SCREENS, pieces, "step", source=recording.source, **facts)
    except _ERRORS as error:
        raise Unusable(DAMAGED, f"can't be read ({error})") from error


def _opened(path: Path) -> Any:
    import h5py

    return h5py.File(path, "r")


def _row(group: Any) -> dict[str, str]:
    """The game's row of the xlogfile, as text."""
    return {name: str(value) for name, value in group.attrs.items()}


def _checked(group: Any) -> int:
    """The number of steps of a game, whose datasets agree on it."""
    if missing := [name for name in _SHAPES if name not in group]:
        raise Unusable(DAMAGED, f"no {missing[0]}: it is no game of Katakomba")
    steps = len(group["actions"])
    for name, shape in _SHAPES.items():
        if group[name].shape != (steps, *shape):
            raise Unusable(DAMAGED, f"{name} is {list(group[name].shape)}, not {[steps, *shape]}")
    if not steps:
        raise Unusable(EMPTY, "no step")
    if np.flatnonzero(group["dones"][()]).tolist() not in ([steps - 1], []):
        raise Unusable(DAMAGED, "it ends before its last step")
    return steps


def _pieces(group: Any, steps: int) -> Iterator[NetHackSteps]:
    """The steps of a game, CHUNK_STEPS at a time."""
    same_key, end = action_of_key()[np.array(KEYS)], _end(group, steps)
    score = shown_score(group["tty_chars"][0]) or 0
    for start in range(0, steps, CHUNK_STEPS):
        stop_if_asked()
        part = slice(start, min(start + CHUNK_STEPS, steps))
        chars, colors, cursor = (group[name][part] for name in ("tty_chars", "tty_colors", "tty_cursor"))
        actions, rewards = group["actions"][part], group["rewards"][part].astype(np.int64)
        for name, values in {"tty_colors": colors, "tty_cursor": cursor, "actions": actions}.items():
            if not 0 <= values.min() <= values.max() < (len(KEYS) if name == "actions" else 256):
                raise Unusable(DAMAGED, f"{name} from {values.min()} to {values.max()}")
        before = score + np.cumsum(rewards) - rewards
        score = int(before[-1] + rewards[-1])
        before[max(end - start, 0) :] = 0
        yield NetHackSteps(
            chars.astype(np.uint8),
            colors.astype(np.uint8),
            cursor.astype(np.uint8),
            same_key[actions].astype(np.uint8),
            before.astype(np.int32),
            np.full(len(actions), NO_LABEL, np.int8),
        )


def _end(group: Any, steps: int) -> int:
    """The first step that shows the farewell; `steps` if none does."""
    first = max(steps - PARTED, 0)
    screens = group["tty_chars"][first:]
    return next((step for step, screen in enumerate(screens, first) if farewell(screen) is not None), steps)
