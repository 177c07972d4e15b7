"""The folder of a run, identified by its `config.json`, which also tells where the run's stores are."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from agents.cpu.devices import resolve_dtype
from agents.ladder import renamed
from data.common.cli import UserError, quoted
from data.common.files import replace_text
from data.common.lease import FOLDER, held
from data.sampling.stream import Store
from data.store.mixture import open_stores
from data.store.moved import found
from train.config import TrainConfig, completed, from_json
from train.hosts.agree import by_first, first

_CONFIG, _STARTS = "config.json", "starts.jsonl"


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
        _record(run / _CONFIG, values)
        return
    run.mkdir(parents=True, exist_ok=True)
    made_by = {"version": version("isoplay"), "jax": jax.__version__, "device": jax.devices()[0].device_kind}
    replace_text(run / _CONFIG, json.dumps({**values, **made_by}, indent=1))


def _record(path: Path, values: Mapping[str, Any]) -> None:
    """Record the budgets that a run is extended by, the only options that may change, and where its stores are now."""
    described = json.loads(path.read_text())
    changed = {**described, "config": dict(described["config"])}
    if (budgets := values["config"].get("flops")) is not None:
        changed["config"]["flops"] = budgets
    if "store" in described:
        changed["store"] = {**described["store"], "paths": values["store"]["paths"]}
    if changed != described:
        replace_text(path, json.dumps(changed, indent=1))


def check(run: Path, values: Mapping[str, Any], decisive: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether the folder holds this run already, rather than nothing; see `claim`.

    Raises: UserError: the folder holds anything else.
    """
    path = run / _CONFIG
    if path.exists():
        before = _read(path)
        if before.get("kind") != values.get("kind"):
            raise UserError(f"{run} holds a run of another kind: choose another --run")
        if before.get("population") != values.get("population"):
            raise UserError(f"{run} holds a member of a population: go on with that one, or choose another --run")
        trained = completed(before["config"], defaults)
        if "compute" in trained:
            trained["compute"] = dtype_of(before)
        changed = sorted(name for name, value in decisive.items() if trained.get(name) != value)
        if before.get("store", {}).get("checksum") != values.get("store", {}).get("checksum"):
            changed.append("store")
        if changed:
            raise UserError(f"{run} holds a run with another {', '.join(changed)}: choose another --run")
        return True
    if run.exists() and (not run.is_dir() or any(map(_is_other, run.iterdir()))):
        raise UserError(f"{run} is not empty and no run: choose another --run")
    return False


def _is_other(path: Path) -> bool:
    """Whether a path in a run's folder is neither its lease nor what a process that was killed had begun to write."""
    return path.name != FOLDER and not (path.name.startswith(f".{_CONFIG}.") and path.name.endswith(".tmp"))


def is_run(run: Path) -> bool:
    """Whether the folder holds a run."""
    return (run / _CONFIG).is_file()


def read_run(run: Path) -> dict[str, Any]:
    """The `config.json` of a run of behavioural cloning, one alone or a member of a population.

    Raises: UserError: the folder holds no such run.
    """
    described = read_runs(run)
    if described["config"].get("population"):
        raise UserError(f"{run} holds a population: name a member, one of the folders in it")
    return described


def read_runs(run: Path) -> dict[str, Any]:
    """The `config.json` of a run of behavioural cloning or a population.

    Raises: UserError: the folder holds no such run.
    """
    path = run / _CONFIG
    if not path.is_file():
        raise UserError(f"{run} is no run: it has no {_CONFIG} (`python -m train bc --run {quoted(run)} …` makes one)")
    described = _read(path)
    if "kind" in described:
        raise UserError(f"{run} holds a run of another kind (`python -m train rl`): choose another")
    return described


def _read(path: Path) -> dict[str, Any]:
    """A `config.json`, with the name that its agent has now."""
    described = json.loads(path.read_text())
    if "agent" in described.get("config", {}):
        described["config"]["agent"] = renamed(described["config"]["agent"], described.get("ladder", 1))
    return described


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
    file = run / _CONFIG
    described = json.loads(file.read_text())
    described["store"]["paths"] = [str(path.resolve()) for path in paths]
    # A run that may only be read is asked for its store again the next time.
    with contextlib.suppress(PermissionError):
        replace_text(file, json.dumps(described, indent=1))
        print(f"{run}: its store is now {_listed(paths)}", file=sys.stderr)


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


def dtype_of(described: Mapping[str, Any]) -> str:
    """The dtype that the run of a `config.json` computes in.

    Earlier versions recorded "auto", which is what it was on the device that the run was started on.
    """
    asked = described["config"].get("compute", "auto")
    if asked != "auto":
        return asked
    return "float32" if described["device"] == "cpu" else "bfloat16"


def resolved(config: TrainConfig) -> TrainConfig:
    """`config` without "auto" for `compute` and `optimizer.schedule`: they are those of its run.

    Of a new run, the dtype is this backend's, and the schedule wsd for several budgets, cosine for one.

    A learning rate "auto" is the recorded one of the run; of a new run it stays "auto".

    Raises: UserError: the run computes in another dtype than `config` asks for.
    """
    path = config.run / _CONFIG
    recorded: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"kind": "none"}
    dtype = resolve_dtype(config.compute) if "kind" in recorded else dtype_of(recorded)
    if config.compute not in ("auto", dtype):
        raise UserError(
            f"{config.run} computes in {dtype}, not {config.compute}: leave --compute out, or choose another --run"
        )
    optimizer = dataclasses.replace(config.optimizer, schedule=config.schedule)
    if "kind" not in recorded:
        of_run = recorded.get("config", {}).get("optimizer", {})
        if optimizer.lr == "auto":
            optimizer = dataclasses.replace(optimizer, lr=of_run.get("lr", "auto"))
        if config.optimizer.schedule == "auto":
            optimizer = dataclasses.replace(optimizer, schedule=of_run.get("schedule", config.schedule))
    return dataclasses.replace(config, compute=dtype, optimizer=optimizer)  # pyright: ignore[reportArgumentType]


def record_start(run: Path) -> None:
    """Append a line to the run's `starts.jsonl`: when it was started or resumed, by which versions, on which devices.

    Only the first process writes.
    """
    if first():
        start = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": version("isoplay"),
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
            "devices": jax.device_count(),
            "processes": jax.process_count(),
        }
        path = run / _STARTS
        earlier = path.read_text() if path.exists() else ""
        replace_text(path, earlier + json.dumps(start) + "\n")


def devices_of(run: Path, described: Mapping[str, Any]) -> str:
    """The kinds of device that a run was started on, in order, each once: `NVIDIA H100 80GB HBM3, TPU v5 lite`.

    Of a run of an earlier version, without `starts.jsonl`, the one that `described`, its `config.json`, names.
    """
    path = run / _STARTS
    starts = [json.loads(line)["device"] for line in path.read_text().splitlines()] if path.exists() else []
    return ", ".join(dict.fromkeys([described["device"], *starts]))
