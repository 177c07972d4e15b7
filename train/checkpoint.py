"""Checkpoints: the whole state for resuming, and the parameters at each budget."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from agents.spec import Agent, Params
from data.common.cli import UserError
from data.common.files import replace_text
from train.state import TrainState

KEEP = 2
"""Number of checkpoints kept: the newest, and the one before in case the newest is damaged."""


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


class Checkpoints:
    """The checkpoints of a run in `checkpoints/STEP`, written atomically and in the background."""

    def __init__(self, run: Path, seconds: float, names: Mapping[str, str] | None = None) -> None:
        """Open a run's checkpoints, of which one is due every `seconds` seconds.

        `names` are the fields of the state to save and the names that they are saved by; by default all, by their own.
        """
        training = ocp.v1.training
        policies: dict[str, Any] = {
            "preservation_policy": training.preservation_policies.LatestN(KEEP),
            "save_decision_policy": training.save_decision_policies.FixedIntervalPolicy(1),
        }
        # Orbax logs every error that it also raises, with its traceback.
        logging.set_verbosity(logging.FATAL)
        self._folder, self._seconds = run / "checkpoints", seconds
        self._names = names or {name: name for name in TrainState._fields}
        self._checkpointer = training.Checkpointer(
            str(self._folder.resolve()), cleanup_tmp_directories=True, **policies
        )
        self._saved = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last checkpoint is older than `seconds`."""
        return time.monotonic() - self._saved > self._seconds

    def save(self, step: int, state: TrainState) -> None:
        """Start to save; returns once the state is copied.

        Raises: UserError: the disk is full.
        """
        with _disk(self._folder):
            self._checkpointer.save_async(step, self._tree(state), overwrite=True)
        self._saved = time.monotonic()

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest state that can be read, sharded like `like`; None if there is no checkpoint.

        Raises: UserError: there are checkpoints, but all are damaged.
        """
        steps = sorted((c.step for c in self._checkpointer.checkpoints), reverse=True)
        for step in steps:
            try:
                saved = self._load(step, like)
            except (OSError, ValueError, KeyError) as error:
                print(f"checkpoint {self._folder / str(step)} is damaged and left out: {error}")
                continue
            self._saved = time.monotonic()
            return like._replace(**{field: saved[name] for field, name in self._names.items() if name in saved})
        if steps:
            raise UserError(f"no checkpoint in {self._folder} can be read: remove the folder to start again")
        return None

    def close(self) -> None:
        """Wait until everything is saved.

        Raises: UserError: the disk is full.
        """
        with _disk(self._folder):
            self._checkpointer.close()

    def _load(self, step: int, like: TrainState) -> dict[str, Any]:
        """What `like` is not empty of: earlier versions saved a carry for shuffled windows, too."""
        partial = ocp.v1.options.PyTreeOptions(loading=ocp.v1.options.PyTreeOptions.Loading(partial_load=True))
        with ocp.v1.Context(pytree_options=partial):
            wanted = {name: part for name, part in self._tree(like).items() if jax.tree.leaves(part)}
            return self._checkpointer.load(step, wanted)

    def _tree(self, state: TrainState) -> dict[str, Any]:
        return {name: getattr(state, field) for field, name in self._names.items()}


def budget_name(flops: float) -> str:
    """Folder name of a budget: 1e+12 is `1e12`, 3.16e+11 is `3.16e11`."""
    mantissa, exponent = f"{flops:.6e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def save_budget(run: Path, params: Params, facts: dict[str, Any]) -> Budget:
    """Write the parameters, then `budget.json` with `facts` and a digest, which marks them as complete.

    Raises: UserError: the disk is full.
    """
    budget = Budget(digest=digest(params), **facts)
    folder = run / "budgets" / budget_name(budget.flops)
    folder.mkdir(parents=True, exist_ok=True)
    with _disk(folder):
        ocp.v1.save(str((folder / "params").resolve()), params, overwrite=True)
        replace_text(folder / "budget.json", json.dumps(dataclasses.asdict(budget), indent=1))
    return budget


def budgets(run: Path) -> list[Budget]:
    """The budgets that a run has spent, smallest first."""
    found = [Budget(**json.loads(path.read_text())) for path in (run / "budgets").glob("*/budget.json")]
    return sorted(found, key=lambda budget: budget.flops)


def load_budget(run: Path, budget: Budget, agent: Agent) -> Params:
    """The parameters of a budget's checkpoint, on the first local device.

    Raises: UserError: they can't be read, or have another digest than `budget`.
    """
    folder = run / "budgets" / budget_name(budget.flops)
    like = jax.eval_shape(agent.init, jax.random.key(0))
    one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one), like)
    damaged = f"{folder} is damaged: remove it and train again with the same command"
    try:
        params = ocp.v1.load(str((folder / "params").resolve()), like)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{damaged} ({type(error).__name__})") from error
    if digest(params) != budget.digest:
        raise UserError(f"{damaged} (its digest differs)")
    return params


def digest(tree: Any) -> str:
    """SHA-256 of the names and bytes of all arrays."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        sha.update(jax.tree_util.keystr(path).encode())
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()


class _disk:
    """Turns the error of a full disk into a `UserError` that names the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and "No space left on device" in str(error):
            raise UserError(f"no space left for {self._folder}: make room and start again") from error
