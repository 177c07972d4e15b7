"""Runs of PPO are functions of their configuration."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.common.cli import UserError
from data.experts.trained import policies
from tests.train.rl.runs import BATCH, TINY, config
from train.checkpoint import digest
from train.failure.divergence import Diverged
from train.mesh import make_mesh
from train.metrics import read_metrics, tag_of
from train.rl.config import Ppo, RlConfig
from train.rl.loop import minibatch_parts, train_expert
from train.rl.metrics import RlRow

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RlConfig:
    done = config(tmp_path_factory.mktemp("rl") / "run", checkpoint_seconds=0)
    with jax.numpy_dtype_promotion("standard"):
        train_expert(done, progress=False)
    return done


def learned(run: Path) -> str:
    return digest(policies.load(run, "Breakout").weights)


def metrics(run: Path) -> list[dict[str, Any]]:
    """The metrics, without times."""
    return [{k: v for k, v in row.items() if k not in ("steps_per_s", "playing", "time")} for row in read_metrics(run)]


def test_a_run_leaves_its_files(trained: RlConfig) -> None:
    described = json.loads((trained.run / "config.json").read_text())
    assert (described["kind"], described["game"]) == ("ppo", "Breakout")
    assert described["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    assert {"version", "jax", "device", "config"} <= set(described)
    policy = policies.load(trained.run, "Breakout")
    assert (policy.network, policy.actions) == ("nature", tuple(described["actions"]))
    rows = read_metrics(trained.run)
    assert [row["step"] for row in rows] == [4 * BATCH, 8 * BATCH]
    assert set(rows[0]) == {field.name for field in dataclasses.fields(RlRow)} | {"time"}
    assert rows[0]["episode_return"] is None
    assert rows[0]["lr"] == pytest.approx(TINY.lr / 2)
    assert all(0 < row["playing"] < 1 and row["entropy"] <= np.log(4) + 1e-6 for row in rows)
    events = EventAccumulator(str(trained.run))
    events.Reload()
    shown = rows[0].keys() - {"step", "time", "episode_return", "episode_length"}
    assert set(events.Tags()["scalars"]) == {tag_of(name) for name in shown} >= {"train/lr", "perf/playing"}
    assert [event.step for event in events.Scalars("train/entropy")] == [row["step"] for row in rows]
    assert sorted(path.name for path in trained.run.iterdir() if path.name.startswith(".")) == []


def test_checkpoints_hold_the_names_that_older_runs_hold(trained: RlConfig) -> None:
    saved = ocp.v1.metadata(str(trained.run / "checkpoints" / "8")).metadata
    assert isinstance(saved, dict)
    assert set(saved) == {"update", "params", "opt_state"}


def test_a_run_is_a_function_of_its_configuration(trained: RlConfig, tmp_path: Path) -> None:
    again = dataclasses.replace(trained, run=tmp_path / "again", threads=2, checkpoint_seconds=60)
    train_expert(again, progress=False)
    assert learned(again.run) == learned(trained.run)
    assert metrics(again.run) == metrics(trained.run)
    other = dataclasses.replace(trained, run=tmp_path / "other", seed=1)
    train_expert(other, progress=False)
    assert learned(other.run) != learned(trained.run)


def test_training_again_changes_nothing(trained: RlConfig) -> None:
    before, rows = learned(trained.run), read_metrics(trained.run)
    train_expert(trained, progress=False)
    assert learned(trained.run) == before
    assert read_metrics(trained.run) == rows


def test_a_run_goes_on_where_it_was_and_the_same_way_each_time(trained: RlConfig, tmp_path: Path) -> None:
    """Taken back to its checkpoint of update 7 of 8, as if it had been killed after it."""
    for run in (tmp_path / "a", tmp_path / "b"):
        shutil.copytree(trained.run, run)
        shutil.rmtree(run / "checkpoints" / "8")
        train_expert(dataclasses.replace(trained, run=run), progress=False)
        assert [row["step"] for row in read_metrics(run)] == [4 * BATCH, 8 * BATCH]
    assert learned(tmp_path / "a") == learned(tmp_path / "b")
    # New games begin, so it isn't the run that never was interrupted.
    assert learned(tmp_path / "a") != learned(trained.run)
    assert metrics(tmp_path / "a")[0] == metrics(trained.run)[0]


RUN = """
import os, runpy, signal
from train.metrics import MetricsWriter

write = MetricsWriter.write

def write_and_stop(self, row):
    write(self, row)
    os.kill(os.getpid(), signal.SIGTERM)

MetricsWriter.write = write_and_stop
runpy.run_module("train", run_name="__main__", alter_sys=True)
"""
"""`python -m train`, sent SIGTERM as the first row is written."""


@pytest.mark.slow
def test_interrupted_it_keeps_what_it_did(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = {"game": "Breakout", "lanes": 1, "horizon": 16, "epochs": 1, "log-every": 2, "run": run}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN, "rl", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 143
    assert "start the same command again to go on" in done.stderr.splitlines()[-1]
    assert max(int(path.name) for path in (run / "checkpoints").iterdir()) == 2
    assert [row["update"] for row in read_metrics(run)] == [2]
    assert policies.load(run, "Breakout").actions[1] == "FIRE"


@pytest.mark.slow
def test_a_run_that_diverges_stops_and_keeps_the_policy_before(tmp_path: Path) -> None:
    wrong = config(tmp_path / "run", ppo=dataclasses.replace(TINY, lr=3e38), max_skipped=2, log_every=1)
    with pytest.raises(Diverged, match="2 updates in a row") as error:
        train_expert(wrong, progress=False)
    assert error.value.exit_code == 1
    rows = read_metrics(wrong.run)
    assert "NaN" not in (wrong.run / "metrics.jsonl").read_text()
    assert [row["skipped"] for row in rows[-2:]] == [1, 1]
    assert rows[-1]["value_loss"] is None
    weights = jax.tree.leaves(policies.load(wrong.run, "Breakout").weights)
    assert all(np.isfinite(leaf).all() for leaf in weights)
    assert max(int(path.name) for path in (wrong.run / "checkpoints").iterdir()) == rows[-1]["update"] - 2


def test_another_configuration_in_the_same_folder_is_refused(trained: RlConfig) -> None:
    other = dataclasses.replace(trained, seed=1, ppo=dataclasses.replace(TINY, lr=1e-3), game="Pong")
    with pytest.raises(UserError, match="another game, ppo, seed"):
        train_expert(other, progress=False)


def test_what_cannot_be_trained_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean Breakout"):
        train_expert(config(tmp_path / "run", game="Brekout"), progress=False)
    assert not (tmp_path / "run").exists()
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not empty"):
        train_expert(config(tmp_path), progress=False)
    with pytest.raises(UserError, match="not empty"):
        train_expert(config(tmp_path / "letter.txt"), progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    (tmp_path / "config.json").write_text('{"config": {}, "store": {}}')
    with pytest.raises(UserError, match="run of another kind"):
        train_expert(config(tmp_path), progress=False)


def test_a_minibatch_is_shared_evenly(tmp_path: Path) -> None:
    assert make_mesh(minibatch_parts(RlConfig("Breakout", tmp_path))).size == 8
    assert make_mesh(minibatch_parts(RlConfig("Breakout", tmp_path, lanes=3))).size == 6
    assert make_mesh(minibatch_parts(RlConfig("Breakout", tmp_path, lanes=1, ppo=Ppo(horizon=28)))).size == 1
