"""A run is a function of its configuration, whatever interrupts it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.ladder import find
from data.common.cli import UserError
from tests.train.runs import AGENT, LANES, STEP, WINDOW, config
from train.checkpoint import Checkpoints, budget_name, budgets, load_budget
from train.config import Optimizer, TrainConfig, from_json
from train.loop import train
from train.metrics import MetricsRow, MetricsWriter, read_metrics, tag_of

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_leaves_its_files(trained: TrainConfig) -> None:
    described = json.loads((trained.run / "config.json").read_text())
    assert from_json(described["config"]) == dataclasses.replace(trained, compute="float32")
    passed = budgets(trained.run)
    assert [budget.step for budget in passed] == [4, 12]
    assert [budget.flops for budget in passed] == [4 * STEP, 12 * STEP]
    assert [budget.samples * STEP / (LANES * WINDOW) for budget in passed] == [b.flops_exact for b in passed]
    assert sorted(p.name for p in (trained.run / "budgets").iterdir()) == sorted(
        budget_name(budget.flops) for budget in passed
    )
    params = load_budget(trained.run, passed[0], find(AGENT))
    assert jax.tree.structure(params) == jax.tree.structure(find(AGENT).init(jax.random.key(0)))


def test_metrics_are_in_the_file_and_in_tensorboard(trained: TrainConfig) -> None:
    rows = read_metrics(trained.run)
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    assert set(rows[0]) == {field.name for field in dataclasses.fields(MetricsRow)} | {"time"}
    assert rows[-1]["flops"] == pytest.approx(12 * STEP)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert all(0 <= row["top1"] <= row["top3"] <= 1 and 0 <= row["input_wait"] <= 1 for row in rows)
    events = EventAccumulator(str(trained.run))
    events.Reload()
    missing = {"branch", "dev_loss", "dev_loss_se", "dev_top1", "dev_top3", "dev_seconds", "device_memory"}
    assert all(row[name] is None for row in rows for name in missing)
    assert set(events.Tags()["scalars"]) == {tag_of(name) for name in rows[0].keys() - {"step", "time"} - missing}
    scalars = events.Scalars("train/loss")
    assert [event.step for event in scalars] == [3, 6, 9, 12]
    np.testing.assert_allclose([event.value for event in scalars], [row["loss"] for row in rows], rtol=1e-6)


def test_training_again_changes_nothing(trained: TrainConfig) -> None:
    before = {path: path.read_bytes() for path in (trained.run / "budgets").glob("*/budget.json")}
    train(trained, progress=False)
    assert {path: path.read_bytes() for path in before} == before
    assert [row["step"] for row in read_metrics(trained.run)] == [3, 6, 9, 12]


RUN = """
import os, signal, sys
from pathlib import Path
from tests.train.runs import config
from train import metrics
from train.loop import train

write, step = metrics.MetricsWriter.write, int(sys.argv[3])

def write_and_die(self, row):
    write(self, row)
    if row.step >= step:
        os.kill(os.getpid(), signal.SIGKILL)

metrics.MetricsWriter.write = write_and_die
train(config(Path(sys.argv[1]), Path(sys.argv[2]), dropout=0.1, checkpoint_seconds=0), progress=False)
"""
"""A run that kills itself while a checkpoint is being saved."""


def newest_checkpoint(run: Path) -> int:
    return max(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit())


def test_killed_and_started_again_gives_the_same_bits(trained: TrainConfig, tmp_path: Path) -> None:
    killed = dataclasses.replace(trained, run=tmp_path / "killed", checkpoint_seconds=60)
    command = [sys.executable, "-c", RUN, str(killed.store), str(killed.run), "6"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    # The row of step 6 was written before its checkpoint; a checkpoint is complete before the next one begins.
    assert newest_checkpoint(killed.run) in (3, 4)
    assert [budget.step for budget in budgets(killed.run)] == [4]
    train(killed, progress=False)
    assert budgets(killed.run) == budgets(trained.run)
    losses = [[(row["step"], row["loss"]) for row in read_metrics(run)] for run in (trained.run, killed.run)]
    # Rows are cut where the run was: the loss of the last one covers the same steps in both.
    assert losses[0][-1] == losses[1][-1]


def test_interrupted_it_stops_after_the_step_with_a_checkpoint_and_resumes(
    trained: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, run = MetricsWriter.write, dataclasses.replace(trained, run=tmp_path / "run")

    def write_and_interrupt(self: MetricsWriter, row: MetricsRow) -> None:
        write(self, row)
        if row.step == 6:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(MetricsWriter, "write", write_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(run, progress=False)
    monkeypatch.undo()
    # The row of step 6 was written while steps 7 to 9 ran.
    assert newest_checkpoint(run.run) == read_metrics(run.run)[-1]["step"] == 9
    # Rows also say where dispatches end: after step 10, while the other run computed steps 10 to 12 in one.
    train(dataclasses.replace(run, log_every=5), progress=False)
    assert budgets(run.run) == budgets(trained.run)


def test_interrupted_after_its_last_step_it_says_so_to_whoever_trains_the_next_run(
    trained: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, run = Checkpoints.save, dataclasses.replace(trained, run=tmp_path / "run")

    def save_and_interrupt(self: Checkpoints, *arguments: Any, **options: Any) -> None:
        save(self, *arguments, **options)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Checkpoints, "save", save_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(run, progress=False)
    assert budgets(run.run) == budgets(trained.run)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"agent": "nethack/lstm/17"}, "nethack/lstm/17"),
        ({"flops": (STEP * 0.9,)}, "smaller than one step"),
        ({"flops": (STEP * 2.0, STEP * 2.5)}, "closer than one step"),
        ({"lanes": 12}, "12 lanes"),
        ({"agent": "nethack/paper/190k-inv"}, "reads inventory; .* holds games of nethack"),
        ({"store": Path("nowhere")}, "nowhere"),
        ({"optimizer": Optimizer(lr=1e-5, schedule="cosine")}, "final-lr 0.0001 is more than --lr 1e-05"),
        ({"population": "lr=1e-5,1e-3"}, "final-lr 0.0001 is more than --lr 1e-05"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_nothing_written(
    store: Path, tmp_path: Path, changes: dict, named: str
) -> None:
    wrong = dataclasses.replace(config(store, tmp_path / "run"), **changes)
    with pytest.raises(UserError, match=named):
        train(wrong, progress=False)
    assert not (tmp_path / "run").exists()


def test_another_configuration_in_the_same_folder_is_refused(trained: TrainConfig) -> None:
    other = dataclasses.replace(trained, init_seed=1, optimizer=Optimizer(lr=1e-3))
    with pytest.raises(UserError, match="another init_seed, optimizer"):
        train(other, progress=False)


def test_a_folder_of_something_else_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not empty"):
        train(config(store, tmp_path), progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
