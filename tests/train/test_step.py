"""The training step gives the same result on any number of devices, in microbatches or not."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest

from agents.atari.agent import AtariAgent
from agents.atari.cnn import CNN
from agents.ladder import find
from agents.spec import Agent
from data.sampling.stream import batches
from data.store.reader import TrajectoryStore
from tests.train.runs import AGENT
from train.config import Optimizer
from train.mesh import make_mesh, over_lanes, put
from train.optimizer import bc_optimizer
from train.state import TrainState, init_state
from train.step import make_train_step

LANES, WINDOW = 8, 6


@functools.cache
def steps_on(
    devices: int, store: Path, agent: Agent, *, lr: float, start: int = 0, dropout: float = 0.0
) -> tuple[list[float], bool, TrainState]:
    """The losses of four steps on a mesh of so many devices, whether a batch was padded, and the state after them."""
    mesh = make_mesh(devices=jax.devices()[:devices])
    optimizer = bc_optimizer(Optimizer(lr=lr, warmup_samples=0), LANES * WINDOW, 100)
    step = make_train_step(agent, optimizer, average=0.1, dropout=dropout, seed=0, mesh=mesh)
    params, carry = jax.jit(agent.init)(jax.random.key(0)), agent.initial_carry(LANES)
    state = init_state(params, optimizer, averaged=True, carry=carry)
    stream = batches(TrajectoryStore.open(store), "train", LANES, WINDOW, seed=0, start=start)
    losses, padded = [], False
    for _ in range(4):
        batch = next(stream)
        padded |= not batch.mask.all()
        state, metrics = step(state, put(batch, over_lanes(mesh)))
        losses.append(float(metrics.loss))
    return losses, padded, state


@pytest.mark.slow
def test_one_device_and_eight_give_the_same_losses(store: Path) -> None:
    assert jax.device_count() == 8
    (one, _, state), (eight, _, other) = (steps_on(devices, store, find(AGENT), lr=0.02) for devices in (1, 8))
    np.testing.assert_allclose(eight, one, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        jax.device_get(other.average),
        jax.device_get(state.average),
    )
    assert jax.tree.leaves(other.carry)[0].sharding.num_devices == 8
    assert one[-1] < one[0] - 0.3


@pytest.mark.slow
def test_dropout_changes_training(store: Path) -> None:
    agent = find(AGENT)
    assert steps_on(1, store, agent, lr=0.02, dropout=0.5)[0][0] != steps_on(1, store, agent, lr=0.02)[0][0]


def test_an_agent_without_dropout_is_refused_it(atari_store: Path) -> None:
    for im2col in (False, True):
        with pytest.raises(ValueError, match="no dropout"):
            steps_on(1, atari_store, AtariAgent("atari/cnn/2", CNN(2, 4), im2col=im2col), lr=0.01, dropout=0.1)


def test_microbatches_and_devices_change_no_gradient(atari_store: Path) -> None:
    opened = TrajectoryStore.open(atari_store)
    # The last two steps of an epoch, of which the second is padded, and the first two of the next.
    longest = -(-int(opened.lengths[opened.rows("train")].sum()) // LANES)
    start = -(-longest // WINDOW) - 2
    whole, padded, state = steps_on(1, atari_store, AtariAgent("atari/cnn/2", CNN(2, 4)), lr=0.01, start=start)
    assert padded
    agent = AtariAgent("atari/cnn/2", CNN(2, 4), im2col=True)
    assert agent.microbatch is not None
    for devices in (1, 8):
        losses, _, other = steps_on(devices, atari_store, agent, lr=0.01, start=start)
        np.testing.assert_allclose(losses, whole, rtol=1e-4)
        for one, two in zip(jax.tree.leaves(other.average), jax.tree.leaves(state.average), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-2, atol=1e-4)
