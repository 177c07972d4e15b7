"""Units of the encoders, which a high learning rate may make useless."""

from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from agents.ladder import find
from agents.nethack.agent import NetHackAgent, Network
from agents.spec import Agent, Params
from data.sampling.stream import batches
from data.spec import Batch
from data.store.reader import TrajectoryStore
from tests.train.runs import config
from train.checkpoint import budgets, load_budget
from train.config import Optimizer
from train.loop import train


def features_of(agent: Agent, params: Params, batch: Batch) -> dict[str, np.ndarray]:
    """What each encoder gives, [S, F], by name."""
    assert isinstance(agent, NetHackAgent)
    network, lanes = Network(agent), len(batch.first)
    arguments = batch.observation, batch.first, agent.initial_carry(lanes)
    _, seen = jax.jit(partial(network.apply, capture_intermediates=True))({"params": params}, *arguments)
    return {name: np.asarray(seen["intermediates"][name]["__call__"][-1]) for name in ("crop", "message", "status")}


@pytest.mark.slow
def test_no_unit_of_an_encoder_dies_in_training(store: Path, tmp_path: Path) -> None:
    """A unit that gives the same for every screen is lost: of ReLUs, many were at several times the best rate."""
    fast = Optimizer(lr=0.1, warmup_samples=2560)
    options = config(store, tmp_path / "run", (400,), optimizer=fast)
    train(options, progress=False)
    agent = find(options.agent)
    [budget] = budgets(options.run)
    params = load_budget(options.run, budget, agent)
    batch = next(batches(TrajectoryStore.open(store), "train", 16, 32, seed=0))
    for name, features in features_of(agent, params, batch).items():
        spread = features.std(0)
        assert (spread > 1e-3).all(), (name, spread)
