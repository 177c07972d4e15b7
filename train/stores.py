"""The stores that a run learns from: where they are now, which its `config.json` remembers."""

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.common.cli import UserError
from data.common.files import replace_text
from data.sampling.stream import Store
from data.store.mixture import open_stores
from data.store.moved import found
from train.config import from_json
from train.folder import CONFIG


def store_of(run: Path, described: Mapping[str, Any], moved: Sequence[Path] = ()) -> Store:
    """Open the store, or mixture of stores, that a run was trained on.

    Where it is not as recorded, it is looked for beside the run, and remembered.

    Args:
        run: Folder of the run.
        described: Description of the run, from `train.folder.read_run`.
        moved: Where the stores are now, if not where they were.

    Raises:
        UserError: A store is missing or has changed since the run was trained.
    """
    trained, recorded = from_json(described["config"]), [Path(path) for path in described["store"]["paths"]]
    paths = list(moved) or near(recorded, described["store"], run)
    store = open_stores(paths, trained.weights, trained.games)
    if store.checksum != described["store"]["checksum"]:
        raise UserError(f"{_listed(paths)}: not as they were when the run learned from them: train again")
    if paths != recorded:
        remember(run, paths)
    return store


def near(recorded: Sequence[Path], known: Mapping[str, Any], beside: Path) -> list[Path]:
    """Where stores are: as recorded or, if they are not there any more, near `beside`.

    Args:
        recorded: Where they were.
        known: `checksum` of them together and, if known, `checksums` of each.
        beside: What was made of them.

    Raises:
        UserError: One is not found.
    """
    if all(path.exists() for path in recorded):
        return list(recorded)
    alone = [known["checksum"]] if len(recorded) == 1 else [None] * len(recorded)
    places = [
        path if path.exists() else found(path, checksum, beside)
        for path, checksum in zip(recorded, known.get("checksums") or alone, strict=True)
    ]
    missing = [path for path, place in zip(recorded, places, strict=True) if place is None]
    if missing:
        raise UserError(
            f"{_listed(missing)}: not there any more, nor beside {beside}: say where the store is with --store"
        )
    return [place for place in places if place is not None]


def remember(run: Path, paths: Sequence[Path]) -> None:
    """Note in the `config.json` of a run where its stores are."""
    file = run / CONFIG
    described = json.loads(file.read_text())
    described["store"]["paths"] = [str(path.resolve()) for path in paths]
    # A run that may only be read is asked for its store again the next time.
    with contextlib.suppress(PermissionError):
        replace_text(file, json.dumps(described, indent=1))
        print(f"{run}: its store is now {_listed(paths)}", file=sys.stderr)


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
