"""A member of a population learns what the same run learns alone, whatever the others do."""

from itertools import islice
from pathlib import Path

import jax
import numpy as np
import pytest

from agents.ladder import find
from data.sampling.stream import batches
from data.store.reader import TrajectoryStore
from tests.train.runs import LANES, WINDOW, config
from train.config import TrainConfig
from train.mesh import make_mesh, over_lanes, put
from train.optimizer import bc_optimizer
from train.population.members import members_of
from train.population.step import population_state, population_step
from train.state import TrainState, init_state
from train.step import make_train_step

pytestmark = pytest.mark.usefixtures("quickly_compiled")

STEPS = 100


def losses(
    config: TrainConfig, step, state: TrainState, mesh: jax.sharding.Mesh, steps: int
) -> tuple[np.ndarray, TrainState]:
    stream = batches(TrajectoryStore.open(config.store), "train", LANES, WINDOW, config.data_seed)
    found = []
    for batch in islice(stream, steps):
        state, metrics = step(state, put(batch, over_lanes(mesh)))
        found.append(metrics.loss)
    return np.array(jax.device_get(found)), jax.device_get(state)


def together(population: TrainConfig, agent, steps: int, devices: int = 1) -> tuple[np.ndarray, TrainState]:
    """Losses [steps, members] of a population, and its state."""
    members, mesh = members_of(population), make_mesh(devices=jax.devices()[:devices])
    state = population_state(agent, members, STEPS, mesh, carried=True)
    step = population_step(agent, members, STEPS, mesh=mesh)
    return losses(population, step, state, mesh, steps)


def alone(member: TrainConfig, agent, steps: int) -> tuple[np.ndarray, TrainState]:
    """Losses [steps] of a run, and its state."""
    mesh, optimizer = make_mesh(devices=jax.devices()[:1]), bc_optimizer(member.optimizer, member.batch, STEPS)
    options = {"average": member.optimizer.average, "dropout": member.dropout, "seed": member.init_seed}
    step = make_train_step(agent, optimizer, mesh=mesh, **options)
    params = jax.jit(agent.init)(jax.random.key(member.init_seed))
    state = init_state(params, optimizer, averaged=True, carry=agent.initial_carry(LANES))
    return losses(member, step, state, mesh, steps)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("nethack/lstm/16", "float32", 1e-4),
        ("nethack/transformer/32", "float32", 1e-4),
        ("nethack/lstm/16", "bfloat16", 1e-2),
    ],
)
def test_a_member_learns_what_it_learns_alone(store: Path, name: str, dtype: str, tolerance: float) -> None:
    agent = find(name).for_backend(dtype)
    text = "init_seed=0,3 lr=1e-3,1e-2"
    whole = config(store, Path("run"), population=text, dropout=0.1)
    found, state = together(whole, agent, STEPS)
    members = members_of(whole)
    number = 3
    expected, own = alone(members[number], agent, STEPS)
    assert expected[-1] < expected[0] - 0.3
    np.testing.assert_allclose(found[:, number], expected, rtol=tolerance)
    # Each member has a result of its own.
    assert len({round(float(loss), 4) for loss in found[-1]}) == len(members)
    if dtype == "float32":
        for mine, its in zip(jax.tree.leaves(state.average), jax.tree.leaves(own.average), strict=True):
            np.testing.assert_allclose(mine[number], its, rtol=1e-2, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["init_seed=0..7", "init_seed=0..2"])
def test_members_or_lanes_on_eight_devices_learn_what_they_learn_on_one(store: Path, text: str) -> None:
    agent, whole = find("nethack/lstm/16"), config(store, Path("run"), population=text, dropout=0.1)
    (one, _), (eight, state) = (together(whole, agent, 8, devices) for devices in (1, 8))
    np.testing.assert_allclose(eight, one, rtol=1e-5)
    assert int(state.step) == 8
