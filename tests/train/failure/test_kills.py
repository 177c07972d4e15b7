"""Killed again and again, at random steps and stages of a step, a run gives the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.runs import config
from train.checkpoint import Checkpoints, budgets, digest
from train.config import TrainConfig
from train.mesh import make_mesh
from train.optimizer import bc_optimizer
from train.plan import Plan
from train.population.runs import fresh_state

ROOT = Path(__file__).resolve().parents[3]
KILLS, BUDGETS = 20, (12, 24, 36, 48, 60)

KILLED = """
import itertools, os, random, signal, sys
from functools import partial
from pathlib import Path
from tests.train.runs import config
from train import checkpoint, loop
from train.failure import checksums

whole, run, kills = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
budgets = tuple(map(int, sys.argv[5:]))
options = {"dropout": 0.1, "checkpoint_seconds": 0, "steps_per_dispatch": 2}

def dying(function, call, *, before=False):
    calls = itertools.count(1)
    def counted(*arguments, **options):
        this = next(calls)  # two threads may be at it at once
        if before and this == call:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if this == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return counted

def life(stage, call):
    if stage == "dispatched":
        loop.FittedStep.__call__ = dying(loop.FittedStep.__call__, call)
    if stage == "copied":
        checkpoint.Checkpoints.save = dying(checkpoint.Checkpoints.save, call)
    if stage == "complete":
        checksums.seal = dying(checksums.seal, call, before=True)
    if stage == "sealed":
        checksums.seal = dying(checksums.seal, call)
    train(run)

def train(run):
    loop.train(config(Path(sys.argv[1]), run, budgets, **options), progress=False)

def status_of(child_does):
    child = os.fork()  # before JAX is initialised; it saves the time of the imports
    if not child:
        child_does()
        os._exit(0)
    return os.waitpid(child, 0)[1]

assert status_of(partial(train, whole)) == 0
random = random.Random(0)
for kill in range(kills):
    stage, call = random.choice(["dispatched", "copied", "complete", "sealed"]), random.randint(1, 4)
    status = status_of(partial(life, stage, call))
    newest = sorted(int(path.name) for path in (run / "checkpoints").glob("[0-9]*") if path.name.isdigit())[-1:]
    print(f"killed at call {call}, {stage}: status {status}, newest checkpoint {newest}", flush=True)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
assert status_of(partial(train, run)) == 0
"""
"""A process whose children train: one a run as a whole, others a second run, in which they kill themselves at a random
step: after it was dispatched, while it is saved, when it is saved but has no checksums, and when it has. The last one
ends it."""


def state_digest(config: TrainConfig) -> str:
    """Of the whole state in the newest checkpoint."""
    plan = Plan.of(config)
    optimizer = bc_optimizer(config.optimizer, config.batch, plan.steps[-1])
    checkpoints = Checkpoints(config.run, 60)
    restored = checkpoints.restore(fresh_state(plan, config, optimizer, make_mesh()))
    checkpoints.close()
    assert restored is not None
    assert int(restored.state.step) == plan.steps[-1]
    return digest(restored.state)


@pytest.mark.slow
def test_killed_twenty_times_gives_the_same_bits(store: Path, tmp_path: Path) -> None:
    whole, killed = (
        config(store, tmp_path / name, BUDGETS, dropout=0.1, steps_per_dispatch=2) for name in ("whole", "killed")
    )
    command = [sys.executable, "-c", KILLED, str(store), str(whole.run), str(killed.run), str(KILLS)]
    # Two devices: with more, the twenty starts take minutes.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([*command, *map(str, BUDGETS)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("killed at") == KILLS
    assert budgets(killed.run) == budgets(whole.run)
    assert state_digest(killed) == state_digest(whole)


TERMINATED = """
import os, runpy, signal
from train.metrics import MetricsWriter

write = MetricsWriter.write

def write_and_stop(self, row):
    write(self, row)
    if row.step == 6:
        os.kill(os.getpid(), signal.SIGTERM)

MetricsWriter.write = write_and_stop
runpy.run_module("train", run_name="__main__", alter_sys=True)
"""
"""`python -m train`, sent SIGTERM as the row of step 6 is written, while steps 7 to 9 run."""


@pytest.mark.slow
def test_terminated_it_saves_and_exits_with_143(trained: TrainConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = {
        "store": trained.store,
        "run": run,
        "agent": trained.agent,
        "flops": trained.flops[-1],
        "lanes": trained.lanes,
    }
    options |= {"lanes": trained.lanes, "window": trained.window, "log-every": 3, "dropout": 0.1}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-c", TERMINATED, "bc", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert done.stderr.splitlines()[-1] == "interrupted: start the same command again to go on"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["9"]
