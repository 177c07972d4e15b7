"""Training: a function of its configuration, whatever interrupts it and however many devices it runs on."""

import ast
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tyro
from jax.sharding import AxisType
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.ladder import find
from data.common.cli import UserError
from data.sampling.sampler import LaneSampler
from data.sampling.stream import batches
from data.store.reader import TrajectoryStore
from eval.config import EvalConfig
from laws.study.preset import Preset
from train.checkpoint import budget_name, budgets, load_budget
from train.config import Optimizer, TrainConfig, config_hash, from_json, to_json
from train.loop import Plan, steps_within, train
from train.mesh import over_lanes, put
from train.metrics import MetricsRow, read_metrics
from train.optimizer import learning_rate, make_optimizer
from train.presets import PRESETS, expand
from train.state import TrainState, init_state
from train.step import make_train_step

ROOT = Path(__file__).resolve().parents[2]
AGENT = "nethack/lstm/16"
LANES, WINDOW = 8, 8
STEP = find(AGENT).cost(WINDOW).train_flops("exact") * LANES * WINDOW
"""FLOPs of one optimiser step."""


@pytest.fixture(autouse=True)
def _optax_promotes():
    """Optax's bias correction raises a float to an integer power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def config(store: Path, run: Path, steps: tuple[int, ...] = (4, 12), **changes) -> TrainConfig:
    defaults = {"lanes": LANES, "window": WINDOW, "log_every": 3}
    return TrainConfig(
        store=store,
        run=run,
        agent=AGENT,
        flops=tuple(float(step * STEP) for step in steps),
        **{**defaults, **changes},
    )


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    done = config(store, tmp_path_factory.mktemp("runs") / "run")
    with jax.numpy_dtype_promotion("standard"):
        train(done, progress=False)
    return done


def steps_on(devices: int, store: Path, dropout: float = 0.0) -> tuple[list[float], TrainState]:
    """The losses of five steps on a mesh of so many devices, and the state after them."""
    mesh = jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])
    agent = find(AGENT)
    optimizer = make_optimizer(Optimizer(lr=0.02, warmup_samples=0), LANES * WINDOW, 100)
    step = make_train_step(agent, optimizer, average=0.1, dropout=dropout, seed=0, mesh=mesh)
    state = init_state(agent, optimizer, jax.random.key(0), LANES, averaged=True)
    stream = batches(TrajectoryStore.open(store), "train", LANES, WINDOW, seed=0)
    losses = []
    for _ in range(5):
        state, metrics = step(state, put(next(stream), over_lanes(mesh)))
        losses.append(float(metrics.loss))
    return losses, state


def test_one_device_and_eight_give_the_same_losses(store: Path) -> None:
    assert jax.device_count() == 8
    (one, state), (eight, other) = steps_on(1, store), steps_on(8, store)
    np.testing.assert_allclose(eight, one, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        jax.device_get(other.average),
        jax.device_get(state.average),
    )
    assert jax.tree.leaves(other.carry)[0].sharding.num_devices == 8
    assert one[-1] < one[0] - 0.3


def test_dropout_changes_training(store: Path) -> None:
    assert steps_on(1, store, dropout=0.5)[0][0] != steps_on(1, store)[0][0]


def test_a_run_leaves_what_the_design_names(trained: TrainConfig) -> None:
    described = json.loads((trained.run / "config.json").read_text())
    assert from_json(described["config"]) == trained
    passed = budgets(trained.run)
    assert [budget.step for budget in passed] == [4, 12]
    assert [budget.flops for budget in passed] == [4 * STEP, 12 * STEP]
    assert [budget.samples * STEP / (LANES * WINDOW) for budget in passed] == [b.flops_exact for b in passed]
    assert sorted(p.name for p in (trained.run / "budgets").iterdir()) == sorted(
        budget_name(budget.flops) for budget in passed
    )
    params = load_budget(trained.run, passed[0], find(AGENT))
    assert jax.tree.structure(params) == jax.tree.structure(find(AGENT).init(jax.random.key(0)))


def test_metrics_stand_in_the_file_and_in_tensorboard(trained: TrainConfig) -> None:
    rows = read_metrics(trained.run)
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    assert set(rows[0]) == {field.name for field in dataclasses.fields(MetricsRow)}
    assert rows[-1]["flops"] == pytest.approx(12 * STEP)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert all(0 <= row["top1"] <= row["top3"] <= 1 and 0 <= row["input_wait"] <= 1 for row in rows)
    events = EventAccumulator(str(trained.run))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(rows[0]) - {"step"}
    scalars = events.Scalars("loss")
    assert [event.step for event in scalars] == [3, 6, 9, 12]
    np.testing.assert_allclose([event.value for event in scalars], [row["loss"] for row in rows], rtol=1e-6)


def test_training_again_changes_nothing(trained: TrainConfig) -> None:
    before = {path: path.read_bytes() for path in (trained.run / "budgets").glob("*/budget.json")}
    train(trained, progress=False)
    assert {path: path.read_bytes() for path in before} == before
    assert [row["step"] for row in read_metrics(trained.run)] == [3, 6, 9, 12]


KILLED = """
import sys
from pathlib import Path
from train.config import TrainConfig
from train.loop import train
if __name__ == "__main__":
    store, run, flops = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    train(TrainConfig(store=store, run=run, agent="nethack/lstm/16", flops=(flops / 4, flops), lanes=8, window=8,
                      log_every=5, checkpoint_seconds=0.2, dropout=0.1), progress=False)
"""


def start(store: Path, run: Path, steps: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", KILLED, str(store), str(run), str(float(steps * STEP))]
    return subprocess.Popen(words, env=environment)


def test_killed_and_started_again_gives_the_same_bits(store: Path, tmp_path: Path) -> None:
    steps = 1200
    whole = start(store, tmp_path / "whole", steps)
    assert whole.wait(timeout=120) == 0
    process = start(store, tmp_path / "killed", steps)
    deadline = time.monotonic() + 120
    while not any((tmp_path / "killed" / "checkpoints").glob("[0-9]*")) or len(read_metrics(tmp_path / "killed")) < 40:
        assert time.monotonic() < deadline
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert start(store, tmp_path / "killed", steps).wait(timeout=120) == 0
    a, b = (budgets(tmp_path / name) for name in ("whole", "killed"))
    assert a == b
    losses = [[(row["step"], row["loss"]) for row in read_metrics(tmp_path / name)] for name in ("whole", "killed")]
    # Rows are cut where the run was: the loss of the last one covers the same steps in both.
    assert losses[0][-1] == losses[1][-1]


def test_interrupted_training_keeps_what_it_did(store: Path, tmp_path: Path) -> None:
    process = start(store, tmp_path / "run", 100_000)
    while not read_metrics(tmp_path / "run"):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    steps = sorted(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert steps[-1] >= read_metrics(tmp_path / "run")[-1]["step"] - 1


def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, longer = config(store, tmp_path / "run", (6,)), config(store, tmp_path / "run", (6,), checkpoint_seconds=0)
    train(longer, progress=False)
    newest = max((tmp_path / "run" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    for path in newest.rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(path.read_bytes()[:500])
    before = budgets(short.run)
    train(short, progress=False)
    assert "damaged" in capsys.readouterr().out
    assert budgets(short.run) == before


def test_damaged_parameters_are_refused(store: Path, tmp_path: Path) -> None:
    done = config(store, tmp_path / "run", (2,))
    train(done, progress=False)
    (budget,) = budgets(done.run)
    wrong = dataclasses.replace(budget, digest="0" * 64)
    with pytest.raises(UserError, match="damaged"):
        load_budget(done.run, wrong, find(AGENT))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"agent": "nethack/lstm/17"}, "nethack/lstm/17"),
        ({"flops": (STEP * 0.9,)}, "smaller than one step"),
        ({"flops": (STEP * 2.0, STEP * 2.5)}, "closer than one step"),
        ({"lanes": 12}, "12 lanes"),
        ({"agent": "nethack/paper/190k-inv"}, "reads inventory; .* holds games of nethack"),
        ({"store": Path("nowhere")}, "nowhere"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_nothing_written(
    store: Path, tmp_path: Path, changes: dict, named: str
) -> None:
    wrong = dataclasses.replace(config(store, tmp_path / "run"), **changes)
    with pytest.raises(UserError, match=named):
        train(wrong, progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"flops": ()}, "no budget"),
        ({"flops": (1e12, 1e12)}, "twice"),
        ({"flops": (-1.0,)}, "flops"),
        ({"lanes": 0}, "lanes"),
        ({"dropout": 1.0}, "dropout"),
        ({"optimizer": Optimizer(lr=0.0)}, "optimizer.lr"),
    ],
)
def test_impossible_values_are_named(store: Path, tmp_path: Path, changes: dict, named: str) -> None:
    with pytest.raises(UserError, match=named):
        dataclasses.replace(config(store, tmp_path / "run"), **changes)


def test_another_configuration_in_the_same_folder_is_refused(trained: TrainConfig) -> None:
    other = dataclasses.replace(trained, seed=1, optimizer=Optimizer(lr=1e-3))
    with pytest.raises(UserError, match="another optimizer, seed"):
        train(other, progress=False)


def test_a_folder_of_something_else_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not empty"):
        train(config(store, tmp_path), progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["bc", "--learning-rate", "1"], "learning-rate"),
        (["bc", "--store", "nowhere", "--agent", AGENT, "--flops", "1e9", "--run", "new"], "nowhere"),
    ],
)
def test_the_command_names_what_is_wrong_and_exits_with_2(words: list[str], named: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "train", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_plan_spends_each_budget_to_within_a_step(store: Path, tmp_path: Path) -> None:
    budgets_wanted = (3.7 * STEP, 100.2 * STEP, 1e4 * STEP)
    plan = Plan.of(dataclasses.replace(config(store, tmp_path), flops=budgets_wanted))
    for budget, step in zip(budgets_wanted, plan.steps, strict=True):
        spent = [plan.sampler.samples(s) * plan.flops["exact"] for s in (step, step + 1)]
        assert spent[0] <= budget < spent[1]


def test_steps_within_is_the_inverse_of_samples() -> None:
    sampler = LaneSampler([50, 33, 17], lanes=4, window=6, seed=0)
    for step in range(1, 40):
        assert steps_within(sampler, sampler.samples(step)) == step
        assert steps_within(sampler, sampler.samples(step) - 1) == step - 1


def test_the_schedule_rises_and_falls() -> None:
    optimizer = Optimizer(lr=1e-2, final_lr=1e-4, warmup_samples=100)
    rate = learning_rate(optimizer, 10, 1000)
    assert float(rate(0)) == pytest.approx(1e-3)
    assert float(rate(10)) == pytest.approx(1e-2)
    assert float(rate(1000)) == pytest.approx(1e-4, rel=1e-3)
    constant = learning_rate(dataclasses.replace(optimizer, schedule="constant"), 10, 1000)
    assert float(constant(999)) == pytest.approx(1e-2)


def test_weight_decay_spares_vectors() -> None:
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    optimizer = make_optimizer(Optimizer(weight_decay=0.5, warmup_samples=0, lr=1e-2), 1, 100)
    grads = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    after: Any = optax.apply_updates(params, updates)
    assert float(after["bias"][0]) == 1.0
    assert float(after["kernel"][0, 0]) < 1.0


def test_config_survives_json_and_the_hash_ignores_where_things_lie(store: Path, tmp_path: Path) -> None:
    here = config(store, tmp_path / "a", dropout=0.1)
    assert from_json(json.loads(json.dumps(to_json(here)))) == here
    there = dataclasses.replace(here, run=tmp_path / "b", log_every=7)
    assert config_hash(there) == config_hash(here)
    assert config_hash(dataclasses.replace(here, seed=1)) != config_hash(here)


@pytest.mark.parametrize("kind", [TrainConfig, Optimizer, EvalConfig, Preset])
def test_every_field_of_a_configuration_is_read(kind: type) -> None:
    read = set()
    for package in ("train", "eval", "laws"):
        for path in (ROOT / package).glob("*.py"):
            tree = ast.parse(path.read_text())
            read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {field.name for field in dataclasses.fields(kind)} <= read


def test_a_preset_is_a_set_of_options_that_others_override() -> None:
    assert expand(["bc", "--seed", "1"]) == ["bc", "--seed", "1"]
    for name, preset in PRESETS.items():
        assert expand(["bc", "--seed", "1", "--preset", name]) == ["bc", *preset.options.split(), "--seed", "1"]
    with pytest.raises(UserError, match="no preset 'none'"):
        expand(["bc", "--preset", "none"])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_configuration(name: str) -> None:
    required = ["--store", "s", "--run", "r", "--agent", AGENT, "--flops", "1e15"]
    parsed = tyro.cli(tyro.conf.OmitArgPrefixes[TrainConfig], args=[*PRESETS[name].options.split(), *required])
    assert (parsed.agent, parsed.flops) == (AGENT, (1e15,))


def test_a_full_disk_is_one_line_and_nothing_half_written(store: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
        options = ["--store", str(store), "--agent", "nethack/lstm/96", "--flops", str(STEP * 400.0)]
        command = [sys.executable, "-m", "train", "bc", *options, "--run", str(disk / "run"), "--lanes", "8"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        assert "no space left" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
        assert not list(disk.glob("run/budgets/*/budget.json"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
