"""Shapes and shardings of what a training step takes, to compile it for devices that need not be here."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from agents.spec import Agent
from agents.xla import batch_of
from data.spec import Batch
from train.config import TrainConfig
from train.input.transfer import sent
from train.mesh import over_lanes
from train.population.step import population_init, shardings
from train.state import TrainState, init_state, state_shardings


def state_shapes(
    agent: Agent, optimizer: optax.GradientTransformation, mesh: Mesh, *, lanes: int, averaged: bool, carried: bool
) -> TrainState:
    """Shapes and shardings of the state."""

    def init() -> TrainState:
        carry = agent.initial_carry(lanes) if carried else ()
        return init_state(agent.init(jax.random.key(0)), optimizer, averaged=averaged, carry=carry)

    return _placed(jax.eval_shape(init), state_shardings(agent, optimizer, mesh, averaged=averaged))


def population_shapes(
    agent: Agent, members: Sequence[TrainConfig], steps: int, mesh: Mesh, *, carried: bool
) -> TrainState:
    """Shapes and shardings of the state of a population; see `train.population.step.population_state`."""
    one = jax.eval_shape(agent.init, jax.random.key(0))
    all_ = jax.tree.map(lambda x: jax.ShapeDtypeStruct((len(members), *x.shape), x.dtype), one)
    shapes = jax.eval_shape(population_init(agent, members, steps, carried=carried), all_)
    return _placed(shapes, shardings(len(members), mesh))


def batch_shapes(agent: Agent, mesh: Mesh, lanes: int, window: int) -> Batch:
    """Shapes and shardings of a batch as it is `sent` to the devices."""
    # Of one lane, since it is computed.
    observation = {name: np.zeros((1, *x.shape[1:]), x.dtype) for name, x in batch_of(agent, lanes, window).items()}
    steps = (np.zeros((1, window), dtype) for dtype in (np.int32, bool, bool, np.int32))
    lane = sent(agent, Batch(observation, *steps))
    of = over_lanes(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((lanes, *x.shape[1:]), x.dtype, sharding=of), lane)


def _placed(shapes: TrainState, shardings: TrainState) -> TrainState:
    """The shapes with their shardings, a prefix of the state's tree."""

    def place(sharding: Any, part: Any) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), part)

    return jax.tree.map(place, shardings, shapes, is_leaf=lambda x: isinstance(x, jax.sharding.Sharding))
