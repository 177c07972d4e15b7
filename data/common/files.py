"""Atomic creation and replacement of files."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.common.cli import UserError
from data.common.paths import in_bucket


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A context manager for replacing `path` atomically: yields a temporary path to write, which is then renamed.

    The content is on disk before the name is: after a power failure the file is the old one or the new one, whole.

    Raises:
        UserError: The folder of `path` does not exist or is not writable, or `path` is a folder.
    """
    check_replaceable(path)
    # Processes of several machines or containers share folders; hosts and processes may have the same name and number.
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield scratch
        sync(scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def check_replaceable(path: Path) -> None:
    """Check that a file can be written: before hours of work whose result it is to hold.

    Raises:
        UserError: See `replacing`.
    """
    if in_bucket(path):
        return
    if not path.parent.is_dir():
        raise UserError(f"no folder {path.parent} to write {path.name} in: make it, or name another file")
    if path.is_dir() or not path.name:
        raise UserError(f"{path} is a folder: name a file")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"can't write in {path.parent}: no permission; name another file")


def replace_text(path: Path, text: str) -> None:
    """Write a text file, or an object of a bucket, atomically.

    Raises:
        UserError: See `replacing`.
    """
    if in_bucket(path):
        path.write_text(text)
        return
    with replacing(path) as scratch:
        scratch.write_text(text)


def create(path: Path, text: str) -> bool:
    """Write a new file atomically: whole or not at all. Returns False if the file exists already.

    Raises: UserError: the file system has no hard links.
    """
    if in_bucket(path):
        import fsspec

        try:
            fsspec.filesystem(str(path).split("://")[0]).pipe_file(str(path), text.encode(), mode="create")
        except FileExistsError:
            return False
        return True
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    scratch.write_text(text)
    sync(scratch)
    try:
        os.link(scratch, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):
            raise
        raise UserError(f"{path.parent} is on a file system without hard links: choose a folder on another") from error
    finally:
        scratch.unlink()
    return True


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
