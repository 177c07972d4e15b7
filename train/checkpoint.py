"""Checkpoints: the whole state for resuming, and the parameters at each budget."""

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.experimental.multihost_utils import process_allgather

from agents.spec import Agent, Params
from data.common.cli import UserError
from data.common.files import replace_text
from data.common.paths import absolute, in_bucket
from train.failure import checksums
from train.failure.skipping import last_good
from train.hosts.agree import by_first, first, of_first
from train.schedule.segments import budget_name
from train.state import TrainState

_FOLDER, _BUDGET = "checkpoints", "budget.json"
TRUNK = "trunk"
"""Name in a checkpoint of the state that an open branch started from."""
KEEP = 2
"""Number of checkpoints kept: the newest, and the one before in case the newest is damaged."""


class NoSpace(UserError):
    """There is no space left on the disk of a checkpoint."""


@dataclass(frozen=True)
class Budget:
    """The checkpoint of a FLOP budget: `budget.json`."""

    flops: float
    """The budget, in FLOPs of the run's convention."""
    step: int
    samples: int
    flops_exact: float
    flops_paper: float
    digest: str
    """SHA-256 of the parameters."""


class Restored(NamedTuple):
    """What a checkpoint holds."""

    number: int
    state: TrainState
    trunk: TrainState | None
    """In a branch, the state that it started from."""


class Checkpoints:
    """The checkpoints of a run in `checkpoints/STEP`, written in the background, then sealed with checksums."""

    def __init__(self, run: Path, seconds: float, names: Mapping[str, str] | None = None) -> None:
        """Open a run's checkpoints, of which one is due every `seconds` seconds.

        `names` are the fields of the state to save and the names that they are saved by; by default all but `skipped`,
        `decay` and `hyper`, by their own.
        """
        # Orbax logs every error that it also raises, with its traceback.
        logging.set_verbosity(logging.FATAL)
        self._folder, self._seconds = run / _FOLDER, seconds
        out = ("skipped", "decay", "hyper")
        self._names = names or {name: name for name in TrainState._fields if name not in out}
        self._sealing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1)
        self._saved, self._newest = time.monotonic(), None

    @property
    def due(self) -> bool:
        """Whether the last checkpoint is older than `seconds`."""
        return time.monotonic() - self._saved > self._seconds

    def save(self, state: TrainState, *, position: int | None = None, trunk: TrainState | None = None) -> None:
        """Start to save the state, as it was before the last steps if these were skipped; returns once it is copied.

        `position`, of the state as given, numbers the checkpoint; by default its step. `trunk` is the state that an
        open branch started from.

        Raises: UserError: the disk is full.
        """
        done, state, self._saved = int(state.step), last_good(state), time.monotonic()
        step = (done if position is None else position) - (done - int(state.step))
        if step == self._newest:
            return
        self._wait()
        tree = self._tree(state, trunk)
        with _disk(self._folder, tree):
            response = self._checkpointer.save_async(step, tree, overwrite=True)
        self._sealing, self._newest = self._thread.submit(self._seal, response, step), step

    def restore(self, like: TrainState, branched: Callable[[int], bool] = lambda number: False) -> Restored | None:
        """The newest state that is whole, sharded like `like`; None if there is no checkpoint. Removes damaged ones.

        `branched` says of a checkpoint's number whether it is inside a branch.

        Raises: UserError: there are checkpoints, but all are damaged.
        """
        steps, candidates = of_first(self._candidates)
        for step in candidates:
            try:
                saved = self._load(step, like, like if branched(step) else None)
            except checksums.Damaged as error:
                self._leave_out(step, error)
                continue
            by_first(lambda step=step: self._remove([later for later in steps if later > step]))
            self._saved, self._newest = time.monotonic(), step
            trunk = self._replaced(like, saved[TRUNK]) if TRUNK in saved else None
            return Restored(step, self._replaced(like, saved), trunk)
        if steps:
            raise UserError(f"no checkpoint in {self._folder} is whole: remove the folder to start again")
        return None

    def _candidates(self) -> tuple[list[int], list[int]]:
        """Steps of all checkpoints, and of those that may be whole: down to the newest with the right checksums.

        A checkpoint without checksums may be whole if no earlier one has any: then an earlier version wrote it.
        """
        steps = sorted(_numbers(self._folder), reverse=True)
        sealed = [step for step in steps if (self._folder / str(step) / checksums.FILE).exists()]
        for step in steps:
            if step < min(sealed, default=step + 1):
                break
            try:
                checksums.check(self._folder / str(step))
            except checksums.Damaged as error:
                self._leave_out(step, error)
                continue
            return steps, [step]
        return steps, [step for step in steps if not sealed or step < min(sealed)]

    def _leave_out(self, step: int, error: checksums.Damaged) -> None:
        print(f"checkpoint {self._folder / str(step)} is damaged or unfinished and left out: {error}", flush=True)

    def _replaced(self, like: TrainState, saved: Mapping[str, Any]) -> TrainState:
        return like._replace(**{field: saved[name] for field, name in self._names.items() if name in saved})

    def _load(self, step: int, like: TrainState, trunk: TrainState | None) -> dict[str, Any]:
        """What `like` and `trunk` are not empty of: earlier versions saved a carry for shuffled windows, too.

        Raises: Damaged: it can't be read.
        """
        partial = ocp.v1.options.PyTreeOptions(loading=ocp.v1.options.PyTreeOptions.Loading(partial_load=True))
        wanted = _filled(self._tree(like, trunk))
        with ocp.v1.Context(pytree_options=partial):
            return _load(self._folder / str(step), wanted)

    def close(self) -> None:
        """Wait until everything is saved.

        Raises: UserError: the disk is full.
        """
        try:
            self._wait()
        finally:
            self._thread.shutdown()
            if "_checkpointer" in vars(self):
                with _disk(self._folder):
                    self._checkpointer.close()

    @cached_property
    def _checkpointer(self) -> Any:
        """Orbax's checkpointer, opened once damaged checkpoints are gone."""
        training = ocp.v1.training
        policies: dict[str, Any] = {
            "preservation_policy": training.preservation_policies.LatestN(KEEP),
            "save_decision_policy": training.save_decision_policies.FixedIntervalPolicy(1),
        }
        return training.Checkpointer(absolute(self._folder), cleanup_tmp_directories=True, **policies)

    def _remove(self, steps: Sequence[int]) -> None:
        """Remove damaged checkpoints: they would take the places of whole ones among the `KEEP` newest."""
        for step in steps:
            epath.Path(self._folder / str(step)).rmtree()

    def _seal(self, response: Any, step: int) -> None:
        """Wait until a checkpoint is complete, and write its checksums; on the background thread."""
        response.result()
        if first():
            checksums.seal(self._folder / str(step))

    def _wait(self) -> None:
        if self._sealing is not None:
            sealing, self._sealing = self._sealing, None
            with _disk(self._folder):
                sealing.result()

    def _tree(self, state: TrainState, trunk: TrainState | None) -> dict[str, Any]:
        tree = {name: getattr(state, field) for field, name in self._names.items()}
        return tree if trunk is None else {**tree, TRUNK: self._tree(trunk, None)}


def _filled(tree: dict[str, Any]) -> dict[str, Any]:
    """A saved state without its empty parts, such as the carry of shuffled windows."""
    parts = {name: _filled(part) if name == TRUNK else part for name, part in tree.items()}
    return {name: part for name, part in parts.items() if jax.tree.leaves(part)}


def _load(path: Path, like: Any) -> Any:
    """Load arrays; of damage to files without checksums Orbax and its libraries tell by any exception.

    Raises: Damaged: it can't be read.
    """
    try:
        return ocp.v1.load(absolute(path), like)
    except Exception as error:
        raise checksums.Damaged(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}") from error


def newest(run: Path) -> int:
    """The number of the newest checkpoint, whole or not; 0 if there is none."""
    return max(_numbers(run / _FOLDER), default=0)


def _numbers(folder: Path) -> list[int]:
    """The numbers of all checkpoints in a folder."""
    return [int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit()]


def save_budget(run: Path, params: Params, facts: dict[str, Any]) -> Budget:
    """Write the parameters, then `budget.json` with `facts` and a digest, which marks them as complete.

    All processes call it, at the same step.

    Raises: UserError: the disk is full.
    """
    budget = Budget(digest=digest(params), **facts)
    folder = run / "budgets" / budget_name(budget.flops)
    folder.mkdir(parents=True, exist_ok=True)
    with _disk(folder, params):
        if first():
            # Not complete while it is written anew, by a run that was set back.
            (folder / _BUDGET).unlink(missing_ok=True)
        ocp.v1.save(absolute(folder / "params"), params, overwrite=True)
        if first():
            checksums.seal(folder / "params")
            values = dataclasses.asdict(budget)
            replace_text(folder / _BUDGET, json.dumps({**values, "checksum": _checksum(values)}, indent=1))
    return budget


def budgets(run: Path) -> list[Budget]:
    """The budgets that a run has spent, smallest first.

    Raises: UserError: a `budget.json` is damaged.
    """
    return sorted(map(_read_budget, (run / "budgets").glob(f"*/{_BUDGET}")), key=lambda budget: budget.flops)


def _read_budget(path: Path) -> Budget:
    try:
        values = json.loads(path.read_bytes())
        checksum = values.pop("checksum", None)
        budget = Budget(**values)
    except (AttributeError, TypeError, ValueError) as error:
        raise _damaged(path.parent, f"its {_BUDGET} can't be read") from error
    # Earlier versions wrote none.
    if checksum not in (None, _checksum(values)):
        raise _damaged(path.parent, f"its {_BUDGET} has another checksum")
    return budget


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _damaged(folder: Path, how: str) -> UserError:
    checkpoints = folder.parents[1] / _FOLDER
    return UserError(f"{folder} is damaged ({how}): remove it and {checkpoints}, and train again with the same command")


def load_budget(run: Path, budget: Budget, agent: Agent) -> Params:
    """The parameters of a budget's checkpoint, on the first local device.

    Raises: UserError: they can't be read, or have another digest than `budget`.
    """
    folder = run / "budgets" / budget_name(budget.flops)
    like = jax.eval_shape(agent.init, jax.random.key(0))
    one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one), like)
    try:
        # Earlier versions wrote no checksums of the files, only the digest.
        if (folder / "params" / checksums.FILE).exists():
            checksums.check(folder / "params")
        params = _load(folder / "params", like)
    except checksums.Damaged as error:
        raise _damaged(folder, str(error)) from error
    if digest(params) != budget.digest:
        raise _damaged(folder, "its digest differs")
    return params


def digest(tree: Any) -> str:
    """SHA-256 of the names and bytes of all arrays. Of arrays sharded over processes, call it in every process."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        sha.update(jax.tree_util.keystr(path).encode())
        if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
            leaf = process_allgather(leaf, tiled=True)
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()


class _disk:
    """Turns the error of a full disk into a `UserError` that names the folder."""

    def __init__(self, folder: Path, tree: Any = ()) -> None:
        """Write into `folder`, for example the arrays of `tree`: without room for them, nothing is written."""
        self._folder, self._bytes = folder, sum(leaf.nbytes for leaf in jax.tree.leaves(tree))

    def __enter__(self) -> None:
        # Orbax may go on writing in threads of its own after it has failed.
        if self._bytes and not in_bucket(self._folder) and of_first(self._free) < self._bytes:
            raise self._full()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and "No space left on device" in str(error):
            raise self._full() from error

    def _free(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self._folder).free

    def _full(self) -> NoSpace:
        return NoSpace(f"no space left for {self._folder}: make room and start again")
