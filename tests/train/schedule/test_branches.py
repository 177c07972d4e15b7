"""A run with branches is the same however it was interrupted or extended, and its rows say what is of which branch."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.common.cli import UserError
from tests.train.failure.tiny import LANES, WINDOW, Tiny, batch
from tests.train.runs import STEP, config
from train.checkpoint import Checkpoints, budgets, digest
from train.config import Optimizer, TrainConfig, config_hash
from train.folder import resolved
from train.loop import entered, train
from train.mesh import make_mesh
from train.metrics import read_metrics
from train.optimizer import bc_optimizer
from train.plan import Plan
from train.population.runs import fresh_state
from train.state import init_state
from train.step import make_train_step

ROOT = Path(__file__).resolve().parents[3]
STEPS = (5, 6, 12)
"""Two budgets so close that the second's branch starts before the first is spent. All three start at 3, 3 and 7."""
WSD = Optimizer(schedule="wsd", decay=0.4, lr=1e-2, warmup_samples=128)
POSITIONS = [("trunk", 3), (5, 5), (6, 8), ("trunk", 12), (12, 17)]
"""The segments, and the positions at which they end."""


def branching(store: Path, run: Path, steps: tuple[int, ...] = STEPS, **changes) -> TrainConfig:
    return config(store, run, steps, **{"optimizer": WSD, "dropout": 0.1, "log_every": 2, **changes})


@pytest.fixture(scope="module")
def branched(store: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run with three branches."""
    done = branching(store, tmp_path_factory.mktemp("branched") / "run")
    with jax.numpy_dtype_promotion("standard"):
        train(done, progress=False)
    return done


def final_state(config: TrainConfig) -> tuple[int, str]:
    """Step and digest of the trunk's state in the newest checkpoint."""
    plan = Plan.of(config)
    checkpoints = Checkpoints(config.run, 60)
    optimizer = bc_optimizer(config.optimizer, config.batch, plan.steps[-1])
    restored = checkpoints.restore(fresh_state(plan, config, optimizer, make_mesh()))
    checkpoints.close()
    assert restored is not None
    assert restored.trunk is None
    return int(restored.state.step), digest(restored.state)


def test_rows_name_the_branch_and_count_what_the_run_spent(branched: TrainConfig) -> None:
    rows = read_metrics(branched.run)
    assert [(row["branch"] and round(row["branch"] / STEP), row["step"], row["run_steps"]) for row in rows] == [
        (None, 2, 2), (None, 3, 3), (5, 4, 4), (5, 5, 5), (6, 4, 6), (6, 6, 8),
        (None, 4, 9), (None, 6, 11), (None, 7, 12), (12, 8, 13), (12, 10, 15), (12, 12, 17),
    ]  # fmt: skip
    # At step 3 begin two branches and the next stretch of the trunk, of the same state and data.
    assert len({row["loss"] for row in rows if row["step"] == 4}) == 1
    assert [row["flops"] for row in rows] == pytest.approx([row["step"] * STEP for row in rows])
    assert [row["run_flops"] for row in rows] == pytest.approx([row["run_steps"] * STEP for row in rows])
    lr = {(row["branch"] and round(row["branch"] / STEP), row["step"]): row["lr"] / 1e-2 for row in rows}
    # At the last step of each row.
    assert [lr[None, 3], lr[None, 7]] == pytest.approx([1, 1])
    assert [lr[5, 4], lr[5, 5], lr[12, 12]] == pytest.approx([1, 0.505, 1 - 0.99 * 4 / 5])


def test_tensorboard_shows_each_branch_as_a_run(branched: TrainConfig) -> None:
    steps = {}
    for path in sorted(branched.run.rglob("events.out.tfevents.*")):
        events = EventAccumulator(str(path))
        events.Reload()
        steps[str(path.parent.relative_to(branched.run))] = [each.step for each in events.Scalars("train/loss")]
    names = [folder.name for folder in sorted((branched.run / "budgets").iterdir())]
    assert steps == {
        ".": [2, 3, 4, 6, 7],
        f"budgets/{names[0]}": [4, 5],
        f"budgets/{names[1]}": [4, 6],
        f"budgets/{names[2]}": [8, 10, 12],
    }


def test_a_budget_is_that_of_a_run_with_no_other(branched: TrainConfig, tmp_path: Path) -> None:
    alone = branching(branched.store, tmp_path / "alone", (6,))
    train(alone, progress=False)
    assert budgets(alone.run) == budgets(branched.run)[1:2]
    assert config_hash(alone) == config_hash(branched)


@pytest.mark.slow
def test_extended_it_is_the_run_that_was_told_all_budgets_at_once(branched: TrainConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(branching(branched.store, run, STEPS[:2]), progress=False)
    with pytest.raises(UserError, match=r"passed step 2, where the decay to .* give larger --flops"):
        train(branching(branched.store, run, (4, *STEPS)), progress=False)
    train(branching(branched.store, run, STEPS[2:]), progress=False)
    assert budgets(run) == budgets(branched.run)
    assert final_state(dataclasses.replace(branched, run=run)) == final_state(branched)
    told = json.loads((run / "config.json").read_text())["config"]["flops"]
    assert told == [budget.flops for budget in budgets(run)]
    train(branching(branched.store, run, STEPS[:1]), progress=False)
    assert budgets(run) == budgets(branched.run)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.train.schedule.test_branches import branching
from train import checkpoint, loop
from train.population import runs
from train.failure import checksums

store, run, kills = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]

def dying(function, call, before=False):
    calls = 0
    def counted(*arguments, **options):
        nonlocal calls
        calls += 1
        if before and calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return counted

for kill in kills:
    stage, call = kill.split(":")
    child = os.fork()  # before JAX is initialised; it saves the time of the imports
    if not child:
        if stage == "dispatched":
            loop.FittedStep.__call__ = dying(loop.FittedStep.__call__, int(call))
        if stage == "copied":
            checkpoint.Checkpoints.save = dying(checkpoint.Checkpoints.save, int(call))
        if stage == "sealed":
            checksums.seal = dying(checksums.seal, int(call))
        if stage == "spent":
            runs.save_budget = dying(runs.save_budget, int(call))
        loop.train(branching(store, run, checkpoint_seconds=0), progress=False)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    newest = max((int(path.name) for path in (run / "checkpoints").glob("[0-9]*") if path.name.isdigit()), default=0)
    print(newest)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
"""
"""A process whose children train, and kill themselves at a step of their own count."""


@pytest.mark.slow
def test_killed_inside_of_branches_and_between_it_gives_the_same_bits(branched: TrainConfig, tmp_path: Path) -> None:
    killed = dataclasses.replace(branched, run=tmp_path / "killed")
    # After the first step of a branch; when its budget is spent; on the trunk after another branch.
    kills = ["dispatched:4", "spent:1", "dispatched:6"]
    command = [sys.executable, "-c", KILLED, str(killed.store), str(killed.run), *kills]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    train(killed, progress=False)
    assert budgets(killed.run) == budgets(branched.run)
    assert final_state(killed) == final_state(branched)
    rows = [[(row["run_steps"], row["branch"], row["step"]) for row in read_metrics(c.run)] for c in (killed, branched)]
    # Rows are cut where the run was, too.
    assert set(rows[1]) <= set(rows[0])
    assert [row[0] for row in rows[0]] == sorted({row[0] for row in rows[0]})


def test_auto_is_wsd_for_several_budgets_cosine_for_one_and_what_the_run_has(
    store: Path, branched: TrainConfig, tmp_path: Path
) -> None:
    def schedule(run: Path, steps: tuple[int, ...]) -> str:
        return resolved(config(store, run, steps, optimizer=Optimizer())).optimizer.schedule

    assert [schedule(tmp_path / "new", steps) for steps in ((4,), (4, 12))] == ["cosine", "wsd"]
    assert schedule(branched.run, (40,)) == "wsd"
    (tmp_path / "config.json").write_text('{"config": {"optimizer": {"schedule": "cosine"}}, "device": "cpu"}')
    assert schedule(tmp_path, (4, 12)) == "cosine"
    with pytest.raises(UserError, match="another optimizer"):
        train(config(store, branched.run, STEPS, dropout=0.1), progress=False)


def test_the_step_scales_updates_by_the_decay() -> None:
    optimizer, mesh = bc_optimizer(WSD, LANES * WINDOW, 100), make_mesh(1)
    options = {"average": 0.0, "dropout": 0.0, "seed": 0, "mesh": mesh}
    step = make_train_step(Tiny(""), optimizer, decay_to=0.1, **options)  # pyright: ignore[reportArgumentType]
    norms = []
    for decay in ((0, 0), (10, 20)):
        state = init_state(Tiny("").init(jax.random.key(0)), optimizer, carry=jnp.zeros(LANES))
        state = state._replace(step=jnp.int32(15), decay=jnp.array(decay, jnp.int32))
        norms.append(float(step(state, batch(bad=False))[1].update_norm))
    assert norms[1] == pytest.approx(0.55 * norms[0], rel=1e-5)


def test_a_branch_leaves_the_trunk_as_it_was(store: Path, tmp_path: Path) -> None:
    mesh, planned = make_mesh(), branching(store, tmp_path)
    plan = Plan.of(planned)
    state = fresh_state(plan, planned, bc_optimizer(WSD, planned.batch, 1), mesh)
    state = state._replace(skipped=state.skipped + jnp.int32(2))
    branch, trunk = entered(plan.segments[1], state, None, mesh)
    assert trunk is not None
    assert (int(branch.skipped), int(trunk.skipped), branch.decay.tolist()) == (0, 0, [3, 5])
    for left, right in zip(jax.tree.leaves(branch), jax.tree.leaves(trunk), strict=True):
        assert left is not right
        assert left.sharding == right.sharding
    jax.tree.map(lambda x: x.delete(), branch)
    assert digest(trunk._replace(skipped=state.skipped)) == digest(state)
