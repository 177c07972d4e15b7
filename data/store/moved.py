"""Finds stores that were moved together with what was made of them, for example from a cluster to a laptop."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from data.common.cli import UserError
from data.store.manifest import MANIFEST
from data.store.reader import TrajectoryStore

LEVELS = 4
"""Folders above that are searched, the root aside: of a population's member in a sweep, that which holds the sweep."""
MOST = 1000
"""Folders that are looked into at each level."""


def found(store: Path, checksum: str | None, beside: Path) -> Path | None:
    """Where a store is now: a folder near `beside`, at most two levels below one of the folders above it.

    Args:
        store: Where it was. Folders of that name are looked into first.
        checksum: Of the store; None if only its name is known.
        beside: What was moved with it.
    """
    for above in list(beside.resolve().parents)[:-1][:LEVELS]:
        near = sorted(islice(_stores_in(above), MOST), key=lambda path: (path.name != store.name, path))
        for path in near:
            if (checksum is None and path.name == store.name) or (checksum is not None and _is(path, checksum)):
                return path
    return None


def _stores_in(folder: Path) -> Iterator[Path]:
    for child in _folders_in(folder):
        yield from (path for path in (child, *_folders_in(child)) if (path / MANIFEST).is_file())


def _folders_in(folder: Path) -> Iterator[Path]:
    """Folders that may be read; links to others are not followed, which may be anywhere."""
    try:
        yield from (path for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink())
    except PermissionError:
        return


def _is(path: Path, checksum: str) -> bool:
    try:
        return TrajectoryStore.open(path).checksum == checksum
    except UserError:
        # Something else, or damaged.
        return False
