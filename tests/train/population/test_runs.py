"""The members of a population leave what runs alone would, resume, and don't touch each other when one diverges."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.ladder import find
from data.common.cli import UserError
from eval.checkpoints import evaluate
from eval.config import EvalConfig
from tests.train.runs import AGENT, config
from train.checkpoint import budgets, load_budget
from train.config import Optimizer, TrainConfig, config_hash, from_json
from train.failure.divergence import FILE, Diverged
from train.loop import train
from train.metrics import read_metrics

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
STATE = {"dropout": 0.1, "max_skipped": 3, "dev_every": 6, "steps_per_dispatch": 2}
SOUND, WRONG = ("lr=0.003", "lr=0.001"), "lr=3e+38"


@pytest.fixture(scope="module")
def diverging(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, Diverged]:
    """A whole population, of which one member diverged, and the error."""
    run = tmp_path_factory.mktemp("runs") / "population"
    population = config(store, run, population="lr=3e-3,3e38,1e-3", **STATE)
    with jax.numpy_dtype_promotion("standard"), pytest.raises(Diverged) as error:
        train(population, progress=False)
    return population, error.value


def test_members_leave_the_files_of_runs_alone(
    diverging: tuple[TrainConfig, Diverged], trained: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = diverging[0].run / "lr=0.003"
    described = json.loads((member / "config.json").read_text())
    assert config_hash(from_json(described["config"])) == config_hash(dataclasses.replace(trained, compute="float32"))
    found, expected = (budgets(run) for run in (member, trained.run))
    assert [(one.step, one.samples) for one in found] == [(one.step, one.samples) for one in expected]
    params = (load_budget(run, last, find(AGENT)) for run, last in ((member, found[-1]), (trained.run, expected[-1])))
    for mine, its in zip(*map(jax.tree.leaves, params), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-3, atol=1e-5)
    rows = read_metrics(member)
    for name in ("step", "samples", "epochs", "flops", "loss", "top1", "grad_norm", "lr", "skipped"):
        np.testing.assert_allclose(
            [row[name] for row in rows], [row[name] for row in read_metrics(trained.run)], rtol=1e-4, err_msg=name
        )
    events = EventAccumulator(str(member))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [3, 6, 9, 12]
    [first, last] = evaluate(EvalConfig((member,), episodes=0), progress=False)
    assert (last.run, last.population) == ("population/lr=0.003", "population")
    assert (last.seed, last.init_seed, last.data_seed, last.lr) == (0, 0, 0, 0.003)
    # On so few episodes the dev loss during training is that of the whole split.
    assert (rows[0]["dev_loss"], rows[3]["dev_loss"]) == (None, pytest.approx(last.loss, rel=1e-4))
    assert first.loss != last.loss


def test_the_one_that_diverges_stops_and_the_error_names_it(diverging: tuple[TrainConfig, Diverged]) -> None:
    run, error = diverging[0].run, diverging[1]
    assert error.exit_code == 1
    assert str(error).startswith(f"1 of 3 members of {run} diverged")
    assert str(error).endswith(f": {WRONG}")
    assert json.loads((run / WRONG / FILE).read_text())["batch"] == 1
    assert read_metrics(run / WRONG)[-1]["step"] < 12
    assert budgets(run / WRONG) == []
    assert not any((run / name / FILE).exists() for name in SOUND)


def test_the_others_have_the_bits_that_they_have_beside_a_sound_one(
    diverging: tuple[TrainConfig, Diverged], tmp_path: Path
) -> None:
    # As many members: with fewer, XLA may choose other kernels.
    sound = dataclasses.replace(diverging[0], population="lr=3e-3,2e-3,1e-3", run=tmp_path / "run")
    train(sound, progress=False)
    for name in SOUND:
        assert budgets(sound.run / name) == budgets(diverging[0].run / name)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.train.population.test_runs import STATE
from tests.train.runs import config
from train import loop
from train.config import Optimizer

train_steps, calls = loop.FittedStep.__call__, 0

def dying(self, state, block):
    global calls
    calls += 1
    if calls == int(sys.argv[5]):
        os.kill(os.getpid(), signal.SIGKILL)
    return train_steps(self, state, block)

loop.FittedStep.__call__ = dying
optimizer = Optimizer(lr=3e-3, schedule=sys.argv[4])
options = {"population": sys.argv[3], "optimizer": optimizer, "checkpoint_seconds": 0}
loop.train(config(Path(sys.argv[1]), Path(sys.argv[2]), **options, **STATE), progress=False)
"""
"""A population that kills itself before a dispatch, after one member diverged, while a checkpoint is being saved."""


@pytest.mark.parametrize(("schedule", "dispatch"), [("cosine", 5), ("wsd", 8)])
def test_killed_and_started_again_gives_the_same_bits(
    schedule: str, dispatch: int, diverging: tuple[TrainConfig, Diverged], tmp_path: Path
) -> None:
    whole = diverging[0]
    if schedule == "wsd":
        # Its second branch makes the steps 9 to 12, of which the dispatch begins with 11.
        optimizer = dataclasses.replace(whole.optimizer, schedule="wsd")
        whole = dataclasses.replace(whole, run=tmp_path / "whole", optimizer=optimizer)
        with jax.numpy_dtype_promotion("standard"), pytest.raises(Diverged):
            train(whole, progress=False)
    killed = dataclasses.replace(whole, run=tmp_path / "killed")
    arguments = [str(killed.store), str(killed.run), str(killed.population), schedule, str(dispatch)]
    command, environment = [sys.executable, "-c", KILLED, *arguments], {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert [budget.step for budget in budgets(killed.run / SOUND[0])] == [4]
    with pytest.raises(Diverged):
        train(killed, progress=False)
    for name in (*SOUND, WRONG):
        assert budgets(killed.run / name) == budgets(whole.run / name)
        rows = [[(row["step"], row["loss"]) for row in read_metrics(run / name)] for run in (whole.run, killed.run)]
        assert name == WRONG or rows[0][-1] == rows[1][-1]


def test_branches_of_members_are_those_of_runs_alone(store: Path, tmp_path: Path) -> None:
    optimizer = Optimizer(lr=3e-3, final_lr=1e-4, schedule="wsd")
    population = config(store, tmp_path / "population", population="lr=3e-3,1e-3", optimizer=optimizer)
    with jax.numpy_dtype_promotion("standard"):
        train(population, progress=False)
        for lr, name in ((3e-3, "lr=0.003"), (1e-3, "lr=0.001")):
            run = dataclasses.replace(
                population, run=tmp_path / name, population=None, optimizer=dataclasses.replace(optimizer, lr=lr)
            )
            train(run, progress=False)
            found, expected = (budgets(folder) for folder in (population.run / name, run.run))
            assert [(one.flops, one.step) for one in found] == [(one.flops, one.step) for one in expected]
            for one, alone in zip(found, expected, strict=True):
                params = load_budget(population.run / name, one, find(AGENT)), load_budget(run.run, alone, find(AGENT))
                for mine, its in zip(*map(jax.tree.leaves, params), strict=True):
                    np.testing.assert_allclose(mine, its, rtol=1e-3, atol=1e-5)
            rows = [
                [(row["step"], row["branch"], row["lr"]) for row in read_metrics(folder)]
                for folder in (population.run / name, run.run)
            ]
            assert rows[0] == rows[1]


def test_one_that_diverged_in_a_branch_stays_out_when_the_others_go_on(store: Path, tmp_path: Path) -> None:
    optimizer = Optimizer(lr=3e-3, schedule="wsd")
    shared = {"population": "lr=3e-3,1e-3", "optimizer": optimizer}
    with jax.numpy_dtype_promotion("standard"):
        train(config(store, tmp_path / "run", steps=(4,), **shared), progress=False)
        # The trunk of the larger budget goes on from before the branch, where the member was sound.
        (tmp_path / "run" / "lr=0.003" / FILE).write_text("{}")
        with pytest.raises(Diverged, match="1 of 2 members"):
            train(config(store, tmp_path / "run", steps=(4, 12), **shared), progress=False)
    assert [len(budgets(tmp_path / "run" / name)) for name in ("lr=0.003", "lr=0.001")] == [1, 2]


def test_another_population_or_a_member_alone_is_refused(diverging: tuple[TrainConfig, Diverged]) -> None:
    population = diverging[0]
    with pytest.raises(UserError, match="another population"):
        train(dataclasses.replace(population, population="lr=1e-3"), progress=False)
    member = dataclasses.replace(population, population=None, run=population.run / SOUND[0])
    with pytest.raises(UserError, match="member of a population"):
        train(member, progress=False)
    with pytest.raises(UserError, match="holds a population: name a member"):
        evaluate(EvalConfig((population.run,), episodes=0), progress=False)
