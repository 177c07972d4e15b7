"""The folder of a run, identified by its `config.json`."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from data.common.cli import UserError
from data.common.files import replace_text
from train.config import completed
from train.hosts.agree import by_first
from train.hosts.lease import FOLDER, held

_CONFIG = "config.json"


@contextlib.contextmanager
def claimed(
    run: Path, values: Mapping[str, Any], decisive: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[None]:
    """Hold the folder of a run, which `claim` describes, until training ends: process 0 does, the others wait.

    Raises: UserError: in every process; see `claim`, or another process trains this run.
    """

    def hold() -> None:
        check(run, values, decisive, defaults)
        lease.enter_context(held(run))
        claim(run, values, decisive, defaults)

    with contextlib.ExitStack() as lease:
        by_first(hold)
        yield


def claim(run: Path, values: Mapping[str, Any], decisive: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Make the folder and write `config.json`, unless the folder holds the same run already.

    Runs are the same if their kind, the checksum of their store and the fields `decisive` of their configuration are.
    Fields that an earlier version did not have are at their `defaults`.

    Raises: UserError: the folder holds anything else.
    """
    if check(run, values, decisive, defaults):
        return
    run.mkdir(parents=True, exist_ok=True)
    made_by = {"version": version("isoplay"), "jax": jax.__version__, "device": jax.devices()[0].device_kind}
    replace_text(run / _CONFIG, json.dumps({**values, **made_by}, indent=1))


def check(run: Path, values: Mapping[str, Any], decisive: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether the folder holds this run already, rather than nothing; see `claim`.

    Raises: UserError: the folder holds anything else.
    """
    path = run / _CONFIG
    if path.exists():
        before = json.loads(path.read_text())
        if before.get("kind") != values.get("kind"):
            raise UserError(f"{run} holds a run of another kind: choose another --run")
        trained = completed(before["config"], defaults)
        changed = sorted(name for name, value in decisive.items() if trained.get(name) != value)
        if before.get("store", {}).get("checksum") != values.get("store", {}).get("checksum"):
            changed.append("store")
        if changed:
            raise UserError(f"{run} holds a run with another {', '.join(changed)}: choose another --run")
        return True
    if run.exists() and (not run.is_dir() or any(path.name != FOLDER for path in run.iterdir())):
        raise UserError(f"{run} is not empty and no run: choose another --run")
    return False


def read_run(run: Path) -> dict[str, Any]:
    """The `config.json` of a run of behavioural cloning.

    Raises: UserError: the folder holds no such run.
    """
    path = run / _CONFIG
    if not path.is_file():
        raise UserError(f"{run} is no run: it has no {_CONFIG} (`python -m train bc --run {run} …` makes one)")
    described = json.loads(path.read_text())
    if "kind" in described:
        raise UserError(f"{run} holds a run of another kind (`python -m train rl`): choose another")
    return described
