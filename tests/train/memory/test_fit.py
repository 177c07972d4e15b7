"""The fastest settings that fit: their order, and XLA's account of real compiled steps."""

import contextlib
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.ladder import find
from data.common.cli import UserError
from tests.train.runs import LANES, WINDOW, config
from train.checkpoint import Checkpoints
from train.compile.step import batch_shapes, state_shapes
from train.config import Optimizer
from train.loop import train
from train.memory.fit import compiled, device_memory, fastest, first_fitting
from train.memory.settings import LEAST, MOST, Settings, candidates, step_maker
from train.mesh import make_mesh, replicated
from train.optimizer import bc_optimizer
from train.plan import Plan
from train.population.runs import fresh_state
from train.state import init_state

AGENT = find("nethack/transformer/64")


def test_candidates_halve_the_microbatch_then_recompute_then_halve_on() -> None:
    found = candidates(AGENT, 256, 32, "auto", "auto")
    sizes = [(choice.microbatch, choice.remat) for choice in found]
    assert sizes[:4] == [(8192, False), (4096, False), (LEAST, False), (LEAST, True)]
    assert sizes[4:] == [(LEAST >> halved, True) for halved in range(1, 7)]
    assert [choice.microbatch for choice in candidates(AGENT, 8192, 32, "auto", "none")[:2]] == [MOST, MOST // 2]
    assert candidates(AGENT, 256, 32, 1000, "none") == (Settings(512, False),)
    assert candidates(AGENT, 256, 32, "auto", "layers")[0] == Settings(8192, True)
    assert candidates(find("atari/cnn/8"), 4, 8, "auto", "auto")[-1] == Settings(8, False)
    assert candidates(AGENT, 1, 8, "auto", "auto") == (Settings(8, False), Settings(8, True))


def test_an_agent_without_rematerialisation_is_refused_it(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="atari/cnn/8 has no rematerialisation"):
        candidates(find("atari/cnn/8"), 4, 8, "auto", "layers")


@pytest.mark.slow
def test_the_first_step_that_fits_is_chosen_and_fewer_samples_need_less() -> None:
    mesh, lanes = make_mesh(devices=jax.devices()[:1]), 64
    optimizer = bc_optimizer(Optimizer(lr=3e-3), lanes * WINDOW, 100)
    make = step_maker(AGENT, optimizer, mesh=mesh, average=0.1, dropout=0.0, seed=0)
    state = state_shapes(AGENT, optimizer, mesh, lanes=lanes, averaged=True, carried=True)
    batch = batch_shapes(AGENT, mesh, lanes, WINDOW)
    choices = candidates(AGENT, lanes, WINDOW, "auto", "none")[:3]
    needs = [compiled(make, choice, state, batch).memory for choice in (choices[0], choices[-1])]
    assert needs[0] is not None
    assert needs[1] is not None
    assert needs[0].arguments == needs[1].arguments > sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(batch))
    assert needs[1].temporaries < needs[0].temporaries
    assert fastest(make, choices, state, batch, needs[0].total).settings == choices[0]
    fitted = fastest(make, choices, state, batch, needs[1].total)
    assert fitted.settings == choices[-1]
    assert fitted.memory == needs[1]
    with pytest.raises(UserError, match="does not fit"):
        fastest(make, choices, state, batch, needs[1].arguments)


def test_a_microbatch_is_compiled_only_if_a_larger_one_says_that_it_may_fit() -> None:
    state, batch = (jax.ShapeDtypeStruct((64,), jnp.float32, sharding=replicated(make_mesh())) for _ in range(2))
    tried: list[int] = []

    def make(settings: Settings) -> jax.stages.Wrapped:
        tried.append(settings.microbatch)
        rows = jnp.arange(settings.microbatch, dtype=jnp.float32)
        return jax.jit(lambda state, batch: jnp.sort(jnp.outer(rows, state), axis=0)[0] + batch)

    choices = [Settings(MOST >> halved, remat=False) for halved in range(4)]
    fitting = compiled(make, choices[2], state, batch).memory
    assert fitting is not None
    for limit, expected in (
        (1.1 * fitting.total, [MOST, MOST // 4]),
        (100 * fitting.total, [MOST]),
        (0, [MOST]),
    ):
        tried.clear()
        found = first_fitting(make, choices, state, batch, int(limit)).settings.microbatch
        assert (found, tried) == (expected[-1], expected)


def test_a_cpu_has_no_limit_to_fit() -> None:
    assert device_memory() is None


@pytest.mark.slow
def test_shuffled_windows_keep_no_carry(store: Path, tmp_path: Path) -> None:
    kept = dataclasses.replace(config(store, tmp_path / "run"), agent=AGENT.name)
    flops = float(AGENT.cost(WINDOW).train_flops("exact") * LANES * WINDOW * 2)
    windows = dataclasses.replace(kept, flops=(flops,), order="windows")
    mesh, optimizer = make_mesh(), bc_optimizer(Optimizer(lr=3e-3), LANES * WINDOW, 2)
    assert jax.tree.leaves(fresh_state(Plan.of(dataclasses.replace(kept, flops=(flops,))), kept, optimizer, mesh).carry)
    assert fresh_state(Plan.of(windows), windows, optimizer, mesh).carry == ()
    train(windows, progress=False)
    train(windows, progress=False)


@pytest.mark.slow
def test_a_carry_that_an_earlier_version_saved_for_shuffled_windows_is_left_out(tmp_path: Path) -> None:
    saved = init_state(
        AGENT.init(jax.random.key(0)), bc_optimizer(Optimizer(lr=3e-3), 8, 2), carry=AGENT.initial_carry(2)
    )
    with contextlib.closing(Checkpoints(tmp_path, 60)) as checkpoints:
        checkpoints.save(saved._replace(step=jnp.int32(3)))
    with contextlib.closing(Checkpoints(tmp_path, 60)) as checkpoints:
        restored = checkpoints.restore(saved._replace(carry=()))
    assert restored is not None
    assert restored.state.carry == ()
    jax.tree.map(np.testing.assert_array_equal, restored.state.params, saved.params)


def test_a_carry_that_an_earlier_version_saved_in_bfloat16_goes_on_in_float32(tmp_path: Path) -> None:
    agent = find("nethack/lstm/16")
    core, memory = agent.initial_carry(2)
    now = init_state(
        jax.jit(agent.init)(jax.random.key(0)), bc_optimizer(Optimizer(lr=3e-3), 8, 2), carry=(core, memory)
    )
    with contextlib.closing(Checkpoints(tmp_path, 60)) as checkpoints:
        checkpoints.save(now._replace(carry=(core.astype(jnp.bfloat16) + jnp.bfloat16(1.5), memory)))
    with contextlib.closing(Checkpoints(tmp_path, 60)) as checkpoints:
        restored = checkpoints.restore(now)
    assert restored is not None
    assert restored.state.carry[0].dtype == jnp.float32
    np.testing.assert_array_equal(restored.state.carry[0], np.full(core.shape, 1.5, np.float32))
