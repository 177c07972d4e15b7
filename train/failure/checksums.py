"""Checksums of the files of a checkpoint, by which a damaged or unfinished one is told from a whole one."""

import json
import os
from pathlib import Path
from typing import cast

from etils import epath

from data.common.files import replace_text
from data.store.manifest import file_sha256

FILE = "sha256.json"
"""Path in the checkpoint's folder: SHA-256 by the path of each other file. Written last, it marks it as complete."""


class Damaged(Exception):
    """A checkpoint is not as it was written; the message says how."""


def seal(folder: Path) -> None:
    """Write the checksums of a finished checkpoint, atomically. Call it in one process."""
    replace_text(folder / FILE, json.dumps(_digests(folder), indent=1))


def check(folder: Path) -> None:
    """Compare a checkpoint with its checksums.

    Raises: Damaged: a file is missing or has changed, or there are no checksums.
    """
    try:
        expected = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise Damaged(f"its {FILE} can't be read") from error
    found = _digests(folder)
    if not isinstance(expected, dict) or not expected:
        raise Damaged(f"its {FILE} lists no files")
    for name, digest in expected.items():
        if found.get(name) != digest:
            raise Damaged(f"{name} has another checksum" if name in found else f"{name} is missing")


def _digests(folder: Path) -> dict[str, str]:
    """The checksum of every file in a folder but `FILE`, which may be in a bucket."""
    digests = {}
    for parent, _, names in epath.Path(folder).walk():
        for name in names:
            path = parent / name
            digests[os.path.relpath(path, folder)] = file_sha256(cast(Path, path))
    digests.pop(FILE, None)
    return dict(sorted(digests.items()))
