"""Checkpoints by Orbax: the whole state for resuming, and the parameters at each budget."""

import dataclasses
import hashlib
import json
import shutil
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

KEEP = 2
"""Checkpoints kept for resuming: the newest, and the one before it should the newest be damaged."""


@dataclass(frozen=True)
class Budget:
    """Parameters kept as a run passed a FLOP budget."""

    flops: float
    """The budget, by the run's convention."""
    step: int
    samples: int
    flops_exact: float
    flops_paper: float
    digest: str
    """SHA-256 of the parameters."""


class Checkpoints:
    """The checkpoints of a run, written in the background, each seen whole or not at all."""

    def __init__(self, run: Path) -> None:
        training = ocp.v1.training
        policies: dict[str, Any] = {
            "preservation_policy": training.preservation_policies.LatestN(KEEP),
            "save_decision_policy": training.save_decision_policies.FixedIntervalPolicy(1),
        }
        # Orbax logs, with tracebacks, every error that it also raises.
        logging.set_verbosity(logging.FATAL)
        self._folder = run / "checkpoints"
        self._checkpointer = training.Checkpointer(
            str(self._folder.resolve()), cleanup_tmp_directories=True, **policies
        )

    def save(self, step: int, state: Any) -> None:
        """Start to save; returns once the state is copied."""
        with _disk(self._folder):
            self._checkpointer.save_async(step, state._asdict(), overwrite=True)

    def restore(self, like: Any) -> Any | None:
        """The newest state that can be read, placed like `like`; None if there is no checkpoint at all."""
        steps = sorted((c.step for c in self._checkpointer.checkpoints), reverse=True)
        for step in steps:
            try:
                values = self._checkpointer.load(step, like._asdict())
            except (OSError, ValueError, KeyError) as error:
                print(f"checkpoint {self._folder / str(step)} is damaged and left out: {error}")
                continue
            return type(like)(**values)
        if steps:
            raise UserError(f"no checkpoint in {self._folder} can be read: remove the folder to start again")
        return None

    def close(self) -> None:
        """Wait for what is being saved."""
        with _disk(self._folder):
            self._checkpointer.close()


def budget_name(flops: float) -> str:
    """Folder name of a budget: 1e+12 is `1e12`, 3.16e+11 is `3.16e11`."""
    mantissa, exponent = f"{flops:.6e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def save_budget(run: Path, params: Params, facts: dict[str, Any]) -> Budget:
    """Write the parameters and what they cost; `budget.json`, written last, marks them as whole."""
    budget = Budget(digest=digest(params), **facts)
    folder = run / "budgets" / budget_name(budget.flops)
    folder.mkdir(parents=True, exist_ok=True)
    with _disk(folder):
        ocp.v1.save(str((folder / "params").resolve()), params, overwrite=True)
        replace_text(folder / "budget.json", json.dumps(dataclasses.asdict(budget), indent=1))
    return budget


def save_policy(run: Path, params: Params) -> None:
    """Write a network into `policy` in the place of an older one: whoever reads finds one whole, or for a moment none.

    Orbax by itself would remove the older one before it begins to write.
    """
    policy, new, old = run / "policy", run / ".policy.new", run / ".policy.old"
    with _disk(policy):
        ocp.v1.save(str(new.resolve()), params, overwrite=True)
        shutil.rmtree(old, ignore_errors=True)
        if policy.exists():
            policy.rename(old)
        new.rename(policy)
        shutil.rmtree(old, ignore_errors=True)


def budgets(run: Path) -> list[Budget]:
    """The budgets a run has passed, smallest first."""
    found = [Budget(**json.loads(path.read_text())) for path in (run / "budgets").glob("*/budget.json")]
    return sorted(found, key=lambda budget: budget.flops)


def load_budget(run: Path, budget: Budget, agent: Agent) -> Params:
    """The parameters kept at a budget; `UserError` if they are not those that were saved."""
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
    """SHA-256 over the names and bytes of all arrays."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        sha.update(jax.tree_util.keystr(path).encode())
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()


class _disk:
    """Turns a full disk into a line that names the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and "No space left on device" in str(error):
            raise UserError(f"no space left for {self._folder}: make room and start again") from error
