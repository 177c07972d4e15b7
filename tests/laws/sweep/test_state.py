"""What the files of a sweep say: its plan, its table, the order of its runs, and the time left."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data.common.lease import held
from laws.design.config import Sweep, read_sweep, write_sweep
from laws.design.runs import SweepRun, runs_in
from laws.sweep.command import begin
from laws.sweep.screen import status_lines
from laws.sweep.state import State
from laws.sweep.table import write_table, write_table_unless_held
from tests.laws.sweep.sweeps import OPTIONS, ROOT, described, sweep

KILLER = """
import os, signal
from laws.sweep import failure, work

train, failure.MOST_LOST = work.train, 4

def deadly(config, **options):
    if config.agent.endswith("/16"):
        os.kill(os.getpid(), signal.SIGKILL)
    train(config, **options)

work.train = deadly
"""


@pytest.fixture
def recorded(store: Path, tmp_path: Path) -> tuple[Path, Sweep]:
    """The folder of a sweep of six runs that has begun."""
    folder, found = tmp_path / "sweep", described(store, seeds=3)
    begin(folder, found)
    return folder, found


def attempt(state: State, run: SweepRun, ended: str | None, **values: Any) -> None:
    """Record one more attempt of a run."""
    begun = {"began": 0.0, "host": "node1", "pid": 1, "progress": 0, "ended": ended}
    path = state.folder / "attempts" / f"{run.name}.json"
    path.write_text(json.dumps([*state.attempts(run), begun | values]))


def done(state: State, runs: Sequence[SweepRun]) -> None:
    for run in runs:
        for cell in run.cells:
            state.add_none(cell, "diverged")


def test_runs_are_planned_anew_only_when_the_plan_has_changed(recorded: tuple[Path, Sweep]) -> None:
    folder, found = recorded
    first, again = runs_in(folder), runs_in(folder)
    assert all(one is other for one, other in zip(first, again, strict=True))
    write_sweep(folder, dataclasses.replace(found, config=dataclasses.replace(found.config, seeds=4)))
    assert len(runs_in(folder)) == len(first) + 2


def test_one_process_writes_the_table_while_others_go_on(recorded: tuple[Path, Sweep]) -> None:
    folder, _ = recorded
    with held(folder / "claims" / "table"):
        write_table_unless_held(folder)
        assert not (folder / "runs.jsonl").exists()
    write_table_unless_held(folder)
    assert (folder / "runs.jsonl").exists()


def test_who_ends_a_sweep_waits_until_its_table_can_be_written(recorded: tuple[Path, Sweep]) -> None:
    folder, _ = recorded
    code = f"from pathlib import Path; from laws.sweep.table import write_table; write_table(Path({str(folder)!r}))"
    with held(folder / "claims" / "table"):
        process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        assert not (folder / "runs.jsonl").exists()
    assert process.wait(timeout=300) == 0
    assert (folder / "runs.jsonl").exists()
    write_table(folder)


def test_runs_with_setbacks_are_tried_when_no_other_waits(recorded: tuple[Path, Sweep]) -> None:
    folder, _ = recorded
    state, runs = State(folder), runs_in(folder)
    attempt(state, runs[0], None)
    attempt(state, runs[1], "stopped")
    assert state.by_setbacks(runs) == runs, "once is nothing"
    attempt(state, runs[0], "machine")
    for progress in (0, 10, 20):
        attempt(state, runs[1], None, progress=progress)
    assert state.by_setbacks(runs) == [*runs[1:], runs[0]]
    for _ in range(3):
        attempt(state, runs[2], None)
    assert state.by_setbacks(runs) == [runs[1], *runs[3:], runs[0], runs[2]]


def test_where_run_after_run_is_lost_there_is_no_progress(recorded: tuple[Path, Sweep]) -> None:
    folder, _ = recorded
    state, runs = State(folder), runs_in(folder)
    before = state.progress()
    for run in runs:
        attempt(state, run, "machine")
        attempt(state, run, None)
    assert state.progress() == before
    attempt(state, runs[0], None)
    assert state.progress() != before, "the run may be to blame"
    before = state.progress()
    state.give_up(runs[0], "lost", "")
    assert state.progress() > before
    before = state.progress()
    done(state, runs[1:2])
    assert state.progress() > before


def test_the_time_left_is_told_by_what_attempts_did_themselves(recorded: tuple[Path, Sweep]) -> None:
    folder, _ = recorded
    state, runs = State(folder), runs_in(folder)
    assert " left" not in next(status_lines(folder))
    done(state, runs[:2])
    # One went on when it had three quarters of its FLOPs.
    attempt(state, runs[0], "done", seconds=1000.0, flops=0.0)
    attempt(state, runs[1], "stopped", seconds=9e9, flops=0.0)
    attempt(state, runs[1], "done", seconds=1000.0, flops=0.75 * runs[1].flops)
    assert {round(run.flops / runs[0].flops, 9) for run in runs} == {1.0}
    with held(state.claim(runs[2])), held(state.claim(runs[3])):
        # Both are this process's.
        assert "; about 107 min left" in next(status_lines(folder))


@pytest.mark.slow
def test_a_run_that_kills_its_workers_is_given_up_when_the_others_are_done(store: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    folder = tmp_path / "sweep"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.laws.sweep.sweeps.ROOT", f"{tmp_path}:{ROOT}")
        said, _ = sweep(folder, "--store", store, *OPTIONS, code=1)
    assert "2 of 4 cells done; runs: 1 done, 0 running, 1 failed, 0 waiting" in said
    [failed] = folder.glob("failed/*.json")
    assert failed.name.startswith("lstm-16-")
    assert json.loads(failed.read_text())["reason"] == "its worker was lost 4 times in a row at step 0"
    [other] = (path for path in folder.glob("attempts/*.json") if path.name != failed.name)
    [good] = json.loads(other.read_text())
    assert good["ended"] == "done"
    assert read_sweep(folder).config.sizes == ("16", "32")
    # It was taken first, and the other after it had failed twice.
    bad = json.loads((folder / "attempts" / failed.name).read_text())
    assert [each["began"] < good["began"] for each in bad] == [True, True, False, False]
