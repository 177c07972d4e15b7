"""Training over both mesh axes: what is sharded, equal losses on every mesh, and resuming on another one."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from agents.ladder import find
from data.common.cli import UserError
from tests.train.runs import LANES, WINDOW, config
from train.checkpoint import budgets, load_budget
from train.compile.step import batch_shapes, state_shapes
from train.config import Optimizer, TrainConfig
from train.dev.loss import _measure
from train.loop import train
from train.mesh import SHARDED, make_mesh, over_fsdp
from train.metrics import read_metrics
from train.optimizer import bc_optimizer
from train.state import state_shardings
from train.step import make_train_step

SMALL = find("nethack/lstm/64")
STEP = SMALL.cost(WINDOW).train_flops("exact") * LANES * WINDOW


def run(store: Path, folder: Path, steps: int, **changes) -> TrainConfig:
    flops = (float(STEP * steps),)
    return dataclasses.replace(config(store, folder), agent=SMALL.name, flops=flops, log_every=1, **changes)


@pytest.mark.parametrize("fsdp", [1, 2, 8])
def test_parameters_average_and_optimiser_state_are_sharded(fsdp: int) -> None:
    mesh = make_mesh(fsdp=fsdp)
    assert dict(mesh.shape) == {"data": 8 // fsdp, "fsdp": fsdp}
    optimizer = bc_optimizer(Optimizer(lr=3e-3), LANES * WINDOW, 100)
    state = state_shardings(SMALL, optimizer, mesh, averaged=True)
    shapes = jax.eval_shape(SMALL.init, jax.random.key(0))
    adam: Any = state.opt_state[1][0]  # pyright: ignore
    for shardings in (state.params, state.average, adam.mu, adam.nu):
        for shape, sharding in zip(jax.tree.leaves(shapes), jax.tree.leaves(shardings), strict=True):
            part = math.prod(sharding.shard_shape(shape.shape))
            assert part == (shape.size // fsdp if shape.size >= SHARDED else shape.size)
    sizes = [shape.size for shape in jax.tree.leaves(shapes)]
    assert min(sizes) < SHARDED <= max(sizes)


def test_an_array_is_sharded_along_its_largest_divisible_axis() -> None:
    mesh = make_mesh(fsdp=8)
    shapes = [(16, 4096), (4096, 16), (4095, 16), (4095, 4095), (8,)]
    specs = [over_fsdp(mesh, jax.ShapeDtypeStruct(shape, "float32")).spec for shape in shapes]
    rows, columns, whole = P("fsdp"), P(None, "fsdp"), P()
    assert specs == [columns, rows, columns, whole, whole]


def test_a_number_that_does_not_divide_the_devices_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--fsdp 3 does not divide 8 devices"):
        train(run(store, tmp_path / "run", 1, fsdp=3), progress=False)
    assert not (tmp_path / "run").exists()


def gathered(lowered: jax.stages.Lowered) -> list[str]:
    """The arrays that a device gathers of others in a compiled program, for example `u8[21,80,64]`."""
    program = lowered.compile().as_text()
    assert program is not None
    return re.findall(r"= (\w+\[[\d,]*\])\S* all-gather\(", program)


@pytest.mark.slow
def test_no_device_gathers_the_samples_of_others() -> None:
    """XLA shards what the agent computes: where an encoder moved the samples' axis, it gathered them."""
    agent = find("nethack/lstm/16+encoders.screen=4").for_backend("float32", "tpu")
    mesh, optimizer = make_mesh(fsdp=8), bc_optimizer(Optimizer(lr=3e-3), LANES * WINDOW, 100)
    step = make_train_step(agent, optimizer, average=0.0, dropout=0.0, seed=0, mesh=mesh)
    state = state_shapes(agent, optimizer, mesh, lanes=LANES, averaged=False, carried=True)
    batch = batch_shapes(agent, mesh, LANES, WINDOW)
    numbered = batch._replace(episode=batch.action)
    for lowered in (step.lower(state, batch), _measure.lower(agent, mesh, state.params, numbered, state.carry)):
        found = gathered(lowered)
        assert not [array for array in found if str(LANES * WINDOW) in array or "u8[" in array]


@pytest.mark.slow
def test_every_mesh_gives_the_same_losses(store: Path, tmp_path: Path) -> None:
    losses = {}
    for fsdp in (1, 2, 8):
        trained = run(store, tmp_path / f"{fsdp}", 100, fsdp=fsdp, dropout=0.1, dev_every="never")
        train(trained, progress=False)
        losses[fsdp] = [row["loss"] for row in read_metrics(trained.run)]
        # Padding makes a step cheaper.
        assert len(losses[fsdp]) >= 100
    assert losses[1][-1] < losses[1][0] - 0.3
    for fsdp in (2, 8):
        np.testing.assert_allclose(losses[fsdp], losses[1], rtol=1e-5)


@pytest.mark.slow
def test_a_run_resumes_on_another_mesh(store: Path, tmp_path: Path) -> None:
    whole, moved = run(store, tmp_path / "whole", 4), run(store, tmp_path / "moved", 2)
    train(whole, progress=False)
    train(moved, progress=False)
    # As if it had been interrupted: the rest of the run, with other settings that change only rounding.
    text = (whole.run / "config.json").read_text()
    (moved.run / "config.json").write_text(text)
    train(dataclasses.replace(whole, run=moved.run, fsdp=4, microbatch=8, remat="layers"), progress=False)
    assert [row["step"] for row in read_metrics(moved.run)] == [1, 2, 3, 4]
    one, two = (load_budget(run, budgets(run)[-1], SMALL) for run in (whole.run, moved.run))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), one, two)
