"""Several steps in one dispatch are the same steps, however a run is cut into blocks."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cpu.devices import on_cpu
from tests.train.failure.tiny import batch as tiny_batch
from tests.train.failure.tiny import step_and_state
from tests.train.runs import LANES, WINDOW, config
from train.failure.skipping import SkipLimit, last_good
from train.input.blocks import Block, block_size, blocks
from train.input.transfer import read_ahead, transferred
from train.memory.settings import Settings
from train.mesh import make_mesh
from train.optimizer import bc_optimizer
from train.plan import Plan
from train.population.runs import Runs
from train.state import TrainState

STEPS = st.lists(st.integers(0, 120), max_size=9)


@given(st.integers(0, 50), st.integers(0, 60), st.integers(1, 9), STEPS, st.lists(st.integers(1, 40), max_size=3))
def test_blocks_cover_the_steps_once_and_end_at_every_cut(
    start: int, more: int, size: int, at: list[int], every: list[int]
) -> None:
    cut = list(blocks(start, start + more, size, at=at, every=every))
    assert [step for block in cut for step in block] == list(range(start, start + more))
    assert all(1 <= len(block) <= size for block in cut)
    inside = {step for block in cut for step in block[1:]}
    assert not inside & set(at)
    assert not any(step % each == 0 for step in inside for each in every)
    # Not in more blocks than that takes.
    stops = {block.stop for block in cut}
    assert all(
        stop - begin >= size or stop in at or any(stop % each == 0 for each in every) or stop == start + more
        for begin, stop in ((block.start, block.stop) for block in cut)
    )
    assert len(stops) == len(cut)


def test_short_steps_share_a_dispatch_and_long_ones_do_not() -> None:
    assert on_cpu()
    assert block_size(1e5, 1000) == 32
    assert block_size(1e12, 1000) == 1
    assert block_size(1e5, 2**25) == 4
    assert block_size(1e5, 2**40) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "devices", "text"),
    [
        ("float32", 2, None),
        ("bfloat16", 1, None),
        ("float32", 2, "init_seed=0..2"),
    ],
)
def test_the_bits_do_not_depend_on_where_steps_are_cut_into_blocks(
    store: Path, tmp_path: Path, dtype: Any, devices: int, text: str | None
) -> None:
    run = config(store, tmp_path / "run", (20,), dropout=0.1, compute=dtype, population=text)
    plan, mesh = Plan.of(run), make_mesh(devices=jax.devices()[:devices])
    runs, optimizer = Runs(run, plan, mesh), bc_optimizer(run.optimizer, run.batch, plan.steps[-1])

    def learned(size: int, cuts: tuple[int, ...]) -> tuple[np.ndarray, TrainState]:
        steps = runs.step_maker(optimizer, size)(Settings(LANES * WINDOW, remat=False))
        state = runs.fresh_state(optimizer)
        stream = read_ahead(plan.agent, plan.store, LANES, WINDOW, 0, threads=2)
        losses = []
        for of_block, block in transferred(stream, mesh, blocks(0, 7, size, at=cuts, every=()), size):
            state, metrics = steps(state, block)
            losses.append(np.asarray(metrics.loss)[: len(of_block)])
        return np.concatenate(losses), jax.device_get(state)

    losses, state = learned(5, ())
    assert losses[-1].max() < losses[0].min()
    other, other_state = learned(5, (1, 3))
    np.testing.assert_array_equal(other, losses)
    jax.tree.map(np.testing.assert_array_equal, other_state, state)
    # Without the loop XLA may fuse, and so round, otherwise.
    single, _ = learned(1, ())
    np.testing.assert_allclose(single, losses, rtol=1e-5 if dtype == "float32" else 2e-2)


def test_a_diverged_run_is_noticed_from_within_a_block_and_its_last_good_state_kept() -> None:
    step, state = step_and_state("loss", max_skipped=3, block=6)
    single, before = step_and_state("loss", max_skipped=3)
    before, _ = single(before, tiny_batch(bad=False))
    stacked = jax.tree.map(lambda *x: np.stack(x), *(tiny_batch(bad=0 < n < 4) for n in range(6)))
    state, metrics = step(state, Block(stacked, np.int32(5)))
    assert np.asarray(metrics.skipped).tolist() == [0, 1, 2, 3, 4, 0]
    assert SkipLimit(3).reached(metrics.skipped, now=True)
    for mine, its in zip(jax.tree.leaves(last_good(state)), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(mine, its)
