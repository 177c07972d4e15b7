"""Microbatches and recomputed activations change no gradient."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agents.ladder import find
from agents.spec import Agent
from data.sampling.stream import batches
from data.spec import Batch
from data.store.reader import TrajectoryStore
from train.mesh import make_mesh, over_lanes, put
from train.state import init_state
from train.step import make_train_step, parts_of

pytestmark = pytest.mark.usefixtures("quickly_compiled")

LANES, WINDOW, DEVICES = 16, 8, 2
AGENTS = ["nethack/lstm/16", pytest.param("nethack/transformer/32", marks=pytest.mark.slow)]


@functools.cache
def padded_batch(store: Path) -> Batch:
    """The last batch of an epoch, with padding, of which parts have different numbers of samples."""
    opened = TrajectoryStore.open(store)
    longest = -(-int(opened.lengths[opened.rows("train")].sum()) // LANES)
    batch = next(batches(opened, "train", LANES, WINDOW, seed=0, start=-(-longest // WINDOW) - 1))
    assert not batch.mask.all()
    return jax.tree.map(np.copy, batch)


@functools.cache
def gradient(store: Path, agent: Agent, microbatch: int | None, *, dropout: float, fsdp: int = 1) -> tuple[Any, Any]:
    """The gradient, by group, and the carry after a step of stochastic gradient descent of rate 1."""
    mesh = make_mesh(devices=jax.devices()[:DEVICES], fsdp=fsdp)
    optimizer, params = optax.sgd(1.0), jax.jit(agent.init)(jax.random.key(0))
    step = make_train_step(agent, optimizer, average=0.0, dropout=dropout, seed=0, mesh=mesh, microbatch=microbatch)
    carry = jax.tree.map(lambda x: jnp.ones_like(x) * jnp.asarray(0.5, x.dtype), agent.initial_carry(LANES))
    before = jax.device_get(params)
    state, metrics = step(init_state(params, optimizer, carry=carry), put(padded_batch(store), over_lanes(mesh)))
    assert np.isfinite(metrics.loss)
    grads = jax.tree.map(np.subtract, before, jax.device_get(state.params))
    return grads, jax.device_get(state.carry)


def expect_close(one: tuple[Any, Any], two: tuple[Any, Any], tolerance: float) -> None:
    """Gradients of each group, and carries, that differ by at most `tolerance` of their norm."""
    assert float(optax.tree.norm(one[0])) > 0.1
    for group, grads in one[0].items():
        error = optax.tree.norm(jax.tree.map(np.subtract, grads, two[0][group]))
        assert float(error) <= tolerance * float(optax.tree.norm(grads)), group
    for a, b in zip(jax.tree.leaves(one[1]), jax.tree.leaves(two[1]), strict=True):
        np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), rtol=tolerance, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_in_float32_parts_sum_to_the_whole(store: Path, name: str) -> None:
    agent = find(name)
    whole = gradient(store, agent, None, dropout=0.3)
    expect_close(whole, gradient(store, agent, 2 * WINDOW, dropout=0.3), 1e-5)
    expect_close(whole, gradient(store, agent, 1, dropout=0.3, fsdp=2), 1e-5)


@pytest.mark.slow
def test_each_device_embeds_its_samples_as_on_a_tpu(store: Path) -> None:
    agent = find("nethack/lstm/16+encoders.screen=4").for_backend("float32", "tpu")
    one, two = (gradient(store, agent, None, dropout=0.0, fsdp=fsdp) for fsdp in (1, 2))
    expect_close(one, two, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_recomputed_activations_give_the_same_gradient(store: Path, name: str) -> None:
    agent = find(name)
    recomputed = agent.rematerialised()
    assert recomputed is not None
    assert jax.tree.structure(recomputed.init(jax.random.key(0))) == jax.tree.structure(agent.init(jax.random.key(0)))
    whole = gradient(store, agent, None, dropout=0.3)
    expect_close(whole, gradient(store, recomputed, 2 * WINDOW, dropout=0.3), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_in_bfloat16_parts_sum_to_the_whole_and_lose_nothing_to_float32(store: Path, name: str) -> None:
    """A part's products are rounded to bfloat16, their sums are not: they are as near to the float32 gradient."""
    agent = find(name)
    half, exact = agent.for_backend("bfloat16"), gradient(store, agent, None, dropout=0.3)[0]
    with jax.numpy_dtype_promotion("standard"):
        whole = gradient(store, half, None, dropout=0.3)[0]
        parts = gradient(store, half, 1, dropout=0.3)[0]
    for group, grads in exact.items():
        norm, far, near = (
            float(optax.tree.norm(tree))
            for tree in (grads, *(jax.tree.map(np.subtract, other[group], grads) for other in (whole, parts)))
        )
        assert near <= far + 0.01 * norm, group


@pytest.mark.parametrize(
    ("lanes", "window", "samples", "parts"),
    [(12, 8, None, 1), (12, 8, 96, 1), (12, 8, 95, 2), (12, 8, 40, 3), (12, 8, 1, 12), (7, 8, 24, 7)],
)
def test_lanes_are_cut_into_equal_parts(lanes: int, window: int, samples: int | None, parts: int) -> None:
    assert parts_of(lanes, window, samples) == parts
