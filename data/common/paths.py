"""Paths on disk and in buckets. A bucket's path, such as gs://bucket/run, is an `etils.epath.Path`."""

import os
from pathlib import Path
from typing import Annotated, Any, cast

from tyro.constructors import PrimitiveConstructorSpec

SCHEMES = ("gs://", "s3://")


def in_bucket(path: str | os.PathLike[str]) -> bool:
    """Whether a path names an object of a bucket."""
    return os.fspath(path).startswith(SCHEMES)


def location(path: str) -> Path:
    """The path on disk, or in a bucket: `pathlib` would make gs:/bucket of gs://bucket.

    An `epath.Path` has the methods of a `Path`, but can't append and can't open a file exclusively (mode "x").
    """
    if not in_bucket(path):
        return Path(path)
    from etils import epath

    return cast(Path, epath.Path(path))


Location = Annotated[
    Path,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: location(words[0]),
        is_instance=lambda value: hasattr(value, "__fspath__"),
        str_from_instance=lambda path: [str(path)],
    ),
]
"""Type of an option that names a `location`."""


def absolute(path: Path) -> str:
    """The path from the root of the file system, or the address in a bucket."""
    return str(path if in_bucket(path) else path.resolve())


def changed(path: Path) -> float:
    """When a file was last changed, in seconds since the epoch."""
    found: Any = path.stat()
    return found.mtime if in_bucket(path) else found.st_mtime


def touch(path: Path, text: str) -> None:
    """Set the time at which a file, which holds `text`, was last changed to now. Needs no disk space."""
    if in_bucket(path):
        path.write_text(text)
    else:
        os.utime(path)


class Appender:
    """Appends text to a file. An object of a bucket, to which nothing can be appended, is written anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = None if in_bucket(path) else path.open("a")
        self._text = path.read_text() if in_bucket(path) and path.exists() else ""

    def write(self, text: str) -> None:
        """Append, and flush."""
        if self._file is None:
            self._text += text
            self._path.write_text(self._text)
        else:
            self._file.write(text)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
