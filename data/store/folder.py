"""The folder of a store that is being written: what it may contain, its lock, and leftovers."""

import fcntl
import json
import os
import re
from pathlib import Path
from typing import Any

from data.common.cli import UserError
from data.store.episodes import read_table
from data.store.manifest import FORMAT, MANIFEST, PENDING, read_manifest, wrong_sizes

_LOCK = ".isoplay.lock"
_NO_JSON = object()
_SCRATCH = re.compile(r"\.pending\.json\..+\.tmp")
"""Names under which `pending.json` is written before it is renamed."""
_OURS = re.compile(
    rf"shard-\d{{5,}}\.array_record|episodes-\d{{5,}}\.jsonl|(pending|manifest)\.json|\.isoplay\.lock|{_SCRATCH.pattern}"
)
"""Names of the files that a writer creates."""


def check_folder(folder: Path) -> None:
    """Check that a folder can be written to: it is missing, empty, a store, or has leftovers of a writer only.

    A `pending.json` that isn't JSON was cut short by a power failure, and counts as absent.

    Raises:
        UserError: It cannot be read, holds other files, or holds a store that cannot be read.
    """
    try:
        names = {file.name for file in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise UserError(f"can't write {folder}: {error.strerror}") from error
    if MANIFEST in names:
        read_manifest(folder)  # raises an error that names the problem
    pending = _format_of(folder / PENDING) if PENDING in names else None
    if pending not in (None, _NO_JSON, FORMAT):
        raise UserError(f"{folder / PENDING} is not a file of a store: choose another path")
    written = {name for name in names if name in (_LOCK, PENDING) or _SCRATCH.fullmatch(name)}
    killed = written and all(map(_OURS.fullmatch, names))
    if names and not killed and MANIFEST not in names and pending != FORMAT:
        raise UserError(f"{folder} holds other files and no store: choose another path")


def read_pending(folder: Path, shards: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The manifest of an import in progress.

    Args:
        folder: Folder of the store.
        shards: The shards in the manifest of the store itself; those of the import must continue them.

    Returns:
        None if it is damaged, does not continue the store, or names files that are missing or have the wrong size.
    """
    try:
        pending = read_manifest(folder, PENDING)
        read_table(folder, pending)
    except UserError:
        return None
    continues = pending["shards"][: len(shards)] == shards
    return pending if continues and not any(wrong_sizes(folder, pending)) else None


def remove_leftovers(folder: Path) -> None:
    """Remove the files of unfinished imports: those that neither manifest names."""
    named = {MANIFEST, PENDING, _LOCK}
    for file in (folder / MANIFEST, folder / PENDING):
        if file.exists():
            manifest = json.loads(file.read_text())
            named |= {manifest["table"]["name"], *(shard["name"] for shard in manifest["shards"])}
    for file in list(folder.iterdir()):
        if file.name not in named and _OURS.fullmatch(file.name) and file.is_file():
            file.unlink()


class FolderLock:
    """An exclusive lock on a folder, which is created if necessary. It ends with the process at the latest.

    Raises:
        OSError: The folder or the lock file cannot be created.
        UserError: Another process holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._created = folder, not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        self._handle = _lock(folder)

    def release(self) -> None:
        """Release the lock, and remove the folder if it was created by this lock and is still empty."""
        (self._folder / _LOCK).unlink(missing_ok=True)
        if self._created and not any(self._folder.iterdir()):
            self._folder.rmdir()
        os.close(self._handle)


def _format_of(file: Path) -> object:
    """The format that a JSON file says it has, "" if none; _NO_JSON if it can't be read."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return _NO_JSON
    return content.get("format", "") if isinstance(content, dict) else ""


def _lock(folder: Path) -> int:
    while True:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(folder / _LOCK)):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise UserError(f"another process is writing {folder}: wait for it or choose another path") from None
        except FileNotFoundError:
            pass
        os.close(handle)  # the previous holder released the lock and removed its file: try again
