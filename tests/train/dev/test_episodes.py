"""The dev loss during training: of a fixed set of episodes, on all devices, and without a trace in the parameters."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.ladder import find
from agents.spec import Agent, Params
from data.common.cli import UserError
from data.importers.nld import import_nld
from data.spec import NO_ACTION
from data.store.reader import TrajectoryStore
from eval.checkpoints import evaluate
from eval.config import EvalConfig
from tests.train.runs import AGENT, config
from train.checkpoint import budgets
from train.config import TrainConfig
from train.dev import episodes
from train.dev.episodes import DevSet, PeriodicDevLoss, some_pieces
from train.dev.loss import LossRow
from train.loop import train
from train.mesh import make_mesh, replicated
from train.metrics import read_metrics

ROOT = Path(__file__).resolve().parents[3]
EVERY = 4


def steps_of(pieces: np.ndarray) -> list[tuple[int, int]]:
    """The steps of pieces: row and number of each."""
    return sorted((row, step) for row, start, stop in pieces.tolist() for step in range(start, stop))


def test_a_dev_set_is_a_part_of_the_split_that_stays(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodes, "PIECE", 50)
    opened = TrajectoryStore.open(store)
    rows = opened.rows("dev")
    total = int(opened.lengths[rows].sum())
    whole = [(row, 0, opened.lengths[row]) for row in rows]
    assert sorted(map(tuple, some_pieces(opened, total).tolist())) == whole
    most = some_pieces(opened, total - 1)
    assert total - 51 <= len(steps_of(most)) == len(set(steps_of(most))) < total
    assert set(steps_of(most)) < set(steps_of(np.array(whole)))
    for samples in range(1, total, 30):
        few = some_pieces(opened, samples)
        np.testing.assert_array_equal(few, most[: len(few)])
        assert samples - 50 < len(steps_of(few)) <= max(samples, 50)
    some = some_pieces(opened, total // 2)
    assert len(set(some[:, 0])) > 1
    chosen = {(opened.episodes[row].id, start) for row, start, _ in some}
    opened.episodes.reverse()
    assert {(opened.episodes[row].id, start) for row, start, _ in some_pieces(opened, total // 2)} == chosen


def same(one: LossRow, other: LossRow) -> None:
    assert dataclasses.asdict(one) == pytest.approx(dataclasses.asdict(other), rel=1e-5)


@pytest.mark.slow
def test_devices_share_the_lanes_and_change_no_loss(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodes, "PIECE", 50)
    agent, opened = find(AGENT), TrajectoryStore.open(store)
    params, pieces = jax.jit(agent.init)(jax.random.key(0)), some_pieces(opened, 200)
    losses = []
    for devices in (1, 8):
        mesh = make_mesh(devices)
        assert mesh.size == devices > len(pieces) or devices == 1
        losses.append(DevSet(agent, opened, mesh, pieces).loss(jax.device_put(params, replicated(mesh))))
    same(*losses)
    assert (losses[0].episodes, losses[0].steps) == (len(set(pieces[:, 0])), len(steps_of(pieces)))
    assert losses[0].loss == pytest.approx(by_hand(agent, params, opened, pieces), rel=1e-5)


def by_hand(agent: Agent, params: Params, store: TrajectoryStore, pieces: np.ndarray) -> float:
    """Mean loss, piece by piece, each as a sequence of its own."""
    losses = []
    for row, start, stop in pieces.tolist():
        steps = store.read(row, max(0, start - 1), stop)
        before = steps.action_S[:-1] if start else np.append(NO_ACTION, steps.action_S[:-1])
        fields = {"chars": steps.chars_Sx24x80, "colors": steps.colors_Sx24x80, "cursor": steps.cursor_Sx2}
        observation = {name: field[None, -(stop - start) :] for name, field in fields.items()}
        observation["prev_action"] = before[None].astype(np.uint8)
        first = np.arange(stop - start)[None] == 0
        logits, _ = jax.jit(agent.apply)(params, observation, first, agent.initial_carry(1))
        action = steps.action_S[-(stop - start) :].astype(int)
        losses.append(-np.asarray(jax.nn.log_softmax(logits))[0, np.arange(len(action)), action])
    return float(np.concatenate(losses).mean())


@pytest.fixture(scope="module")
def watched(trained: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """The run `trained` again, whose dev loss is measured."""
    run = tmp_path_factory.mktemp("watched") / "run"
    watched = dataclasses.replace(trained, run=run, dev_every=EVERY, dev_samples=10**9, tensorboard_axis="samples")
    with jax.numpy_dtype_promotion("standard"):
        train(watched, progress=False)
    return watched


def test_measuring_changes_no_parameter(trained: TrainConfig, watched: TrainConfig) -> None:
    assert [budget.digest for budget in budgets(watched.run)] == [budget.digest for budget in budgets(trained.run)]


def test_rows_hold_the_loss_that_evaluation_finds(watched: TrainConfig) -> None:
    rows = read_metrics(watched.run)
    assert [row["step"] for row in rows] == [3, 4, 6, 8, 9, 12]
    measured = {row["step"]: row for row in rows if row["step"] % EVERY == 0}
    for row in rows:
        assert (row["dev_loss"] is not None) == (row["dev_seconds"] is not None) == (row["step"] in measured)
    for budget, found in zip(budgets(watched.run), evaluate(EvalConfig((watched.run,), episodes=0)), strict=True):
        row = measured[budget.step]
        assert (row["dev_loss"], row["dev_loss_se"]) == pytest.approx((found.loss, found.loss_se), rel=1e-5)
    events = EventAccumulator(str(watched.run))
    events.Reload()
    assert [event.step for event in events.Scalars("dev/loss")] == [row["samples"] for row in measured.values()]


RUN = """
import os, signal, sys
from pathlib import Path
from tests.train.runs import config
from train.checkpoint import Checkpoints
from train.loop import train

save = Checkpoints.save

def save_and_die(self, state, **others):
    save(self, state, **others)
    if int(state.step) == 8:
        self.close()
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoints.save = save_and_die
run = config(Path(sys.argv[1]), Path(sys.argv[2]), dropout=0.1, checkpoint_seconds=0, dev_every=4, dev_samples=10**9)
train(run, progress=False)
"""
"""A run that kills itself as soon as it has the checkpoint of step 8, where a row was due."""


@pytest.mark.slow
def test_a_killed_run_has_the_same_measurements(watched: TrainConfig, tmp_path: Path) -> None:
    killed = dataclasses.replace(watched, run=tmp_path / "killed", tensorboard_axis="steps")
    command = [sys.executable, "-c", RUN, str(killed.store), str(killed.run)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    train(killed, progress=False)
    assert budgets(killed.run) == budgets(watched.run)
    names = ("step", "dev_loss", "dev_loss_se", "dev_top1", "dev_top3")
    rows = [[[row[name] for name in names] for row in read_metrics(run.run)] for run in (killed, watched)]
    assert rows[0] == rows[1]


def test_a_store_without_held_out_episodes_is_refused_at_once_but_only_if_a_measurement_is_due(
    store: Path, tmp_path: Path
) -> None:
    games = store.parent / "games"
    import_nld(games, tmp_path / "store", expert="embedded", dev_fraction=0.0, workers=2)
    due = config(tmp_path / "store", tmp_path / "run", steps=(2,), dev_every=2)
    with pytest.raises(UserError, match=r"no dev episode .*--dev-every never"):
        train(due, progress=False)
    assert not due.run.exists()
    opened = TrajectoryStore.open(tmp_path / "store")
    for every in (None, 3):
        never = PeriodicDevLoss(find(AGENT), opened, make_mesh(1), every, 100)
        assert [never.measure(step, {}) for step in (1, 2)] == [None, None]


PROCESS = """
import json, sys
from dataclasses import asdict
import jax
from agents.ladder import find
from data.store.reader import TrajectoryStore
from train.dev.episodes import DevSet, some_pieces
from train.mesh import make_mesh, replicated

store, agent, address, number = sys.argv[1:]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(address, 2, int(number))
agent, mesh = find(agent), make_mesh()
assert mesh.size == 4
params = jax.jit(agent.init, out_shardings=replicated(mesh))(jax.random.key(0))
opened = TrajectoryStore.open(store)
print(json.dumps(asdict(DevSet(agent, opened, mesh, some_pieces(opened, 400)).loss(params))))
"""
"""One of two processes of two devices each."""


@pytest.mark.slow
def test_two_processes_measure_the_loss_of_one(store: Path) -> None:
    agent, opened = find(AGENT), TrajectoryStore.open(store)
    alone = DevSet(agent, opened, make_mesh(1), some_pieces(opened, 400)).loss(jax.jit(agent.init)(jax.random.key(0)))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    devices = "--xla_force_host_platform_device_count=2"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": devices}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(store), AGENT, address, str(number)],
            env=environment,
            stdout=subprocess.PIPE,
        )
        for number in range(2)
    ]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    rows = [LossRow(**json.loads(text.splitlines()[-1])) for text in said]
    assert rows[0] == rows[1]
    same(rows[0], alone)
    assert np.isfinite(alone.loss)
