"""Files that are seen whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.common.cli import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write, which then gets its name: whoever reads finds the old or the new, never a part."""
    if not path.parent.is_dir():
        raise UserError(f"no folder {path.parent} to write {path.name} in: make it, or name another file")
    if path.is_dir() or not path.name:
        raise UserError(f"{path} is a folder: name a file")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"can't write in {path.parent}: no permission; name another file")
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_text(text)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
