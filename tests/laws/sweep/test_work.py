"""What a worker does not take for a failure of a run, and what starting one does not undo."""

import json
import os
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import pytest

from data.common.cli import UserError
from data.common.lease import FOLDER, SECONDS, Holder
from laws.design.config import Running, Shared, SweepConfig, read_sweep, write_sweep
from laws.design.runs import SweepRun, runs_of
from laws.sweep import command
from laws.sweep.command import begin
from laws.sweep.state import State
from laws.sweep.work import Worker
from tests.laws.sweep.sweeps import described


@pytest.fixture
def sweep(store: Path, tmp_path: Path) -> tuple[Path, SweepRun]:
    """A sweep of one run."""
    folder, found = tmp_path / "sweep", described(store, sizes=("16",), budgets=(2e8,))
    begin(folder, found)
    [run] = runs_of(found, folder)
    return folder, run


def leave(path: Path, age: float) -> None:
    """The lease of a process of another machine, which renewed it so long ago."""
    path = path / FOLDER / "1"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(asdict(replace(Holder.me(), machine="another", host="node17"))))
    then = time.time() - age
    os.utime(path, (then, then))


def test_a_run_whose_trainings_lease_outlasts_its_claim_waits(sweep: tuple[Path, SweepRun]) -> None:
    """A worker takes the claim first, and the training's own lease once the store is open."""
    folder, run = sweep
    leave(State(folder).claim(run), SECONDS + 1)
    leave(run.config.run, SECONDS - 30)
    assert not Worker(folder)._some()
    assert State(folder).attempts(run) == []
    assert [each.name for each in State(folder).status([run]).waiting] == [run.name]


def test_where_no_device_can_be_used_the_worker_fails_and_no_run(
    sweep: tuple[Path, SweepRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("Unable to initialize backend")

    folder, run = sweep
    monkeypatch.setattr(jax, "devices", broken)
    with pytest.raises(RuntimeError, match="Unable to initialize"):
        Worker(folder).work()
    assert State(folder).attempts(run) == []


@pytest.mark.slow
def test_a_full_disk_stops_the_worker_and_fails_no_run(
    sweep: tuple[Path, SweepRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, run = sweep
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=0))
    with pytest.raises(UserError, match=r"no space left for .*: make room"), jax.numpy_dtype_promotion("standard"):
        Worker(folder).work()
    assert [each["ended"] for each in State(folder).attempts(run)] == ["stopped"]
    assert [each.name for each in State(folder).status([run]).waiting] == [run.name]


def test_a_sweep_that_is_extended_while_a_worker_starts_stays_extended(
    sweep: tuple[Path, SweepRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = sweep
    recorded = read_sweep(folder)
    extended = replace(recorded, config=replace(recorded.config, budgets=(2e8, 2e9)))
    plan_of = command.plan_of

    def meanwhile(*args: Any) -> Any:
        write_sweep(folder, extended)
        return plan_of(*args)

    monkeypatch.setattr(command, "plan_of", meanwhile)
    assert command.sweep(folder, running=Running(workers=0)) == 0
    assert read_sweep(folder).config.budgets == (2e8, 2e9)


def test_an_adaptive_design_begins_at_the_first_budget_that_has_a_cell(store: Path, tmp_path: Path) -> None:
    config = SweepConfig(budgets=(1e6, 2e8, 6e8), sizes=("16", "32"), min_steps=10, max_epochs=100.0, refine=True)
    command.sweep(tmp_path / "sweep", config, Shared(store=store, lanes=8, window=8), Running(workers=0))
    assert sorted(read_sweep(tmp_path / "sweep").sizes) == [2e8]
