"""Shapes and shardings of what a training step takes, to compile it for devices that need not be here."""

from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from agents.spec import Agent
from agents.xla import batch_of
from data.spec import Batch
from train.input.transfer import sent
from train.mesh import over_lanes
from train.state import TrainState, init_state, state_shardings


def state_shapes(
    agent: Agent, optimizer: optax.GradientTransformation, mesh: Mesh, *, lanes: int, averaged: bool, carried: bool
) -> TrainState:
    """Shapes and shardings of the state."""

    def init() -> TrainState:
        carry = agent.initial_carry(lanes) if carried else ()
        return init_state(agent.init(jax.random.key(0)), optimizer, averaged=averaged, carry=carry)

    shapes, shardings = jax.eval_shape(init), state_shardings(agent, optimizer, mesh, averaged=averaged)
    return jax.tree.map(
        lambda sharding, part: jax.tree.map(lambda x: _with(x, sharding), part),
        shardings,
        shapes,
        is_leaf=lambda x: isinstance(x, jax.sharding.Sharding),
    )


def batch_shapes(agent: Agent, mesh: Mesh, lanes: int, window: int) -> Batch:
    """Shapes and shardings of a batch as it is sent to the devices (`train.input.transfer.sent`)."""

    # Of one lane, since it is computed.
    observation = {name: np.zeros((1, *x.shape[1:]), x.dtype) for name, x in batch_of(agent, lanes, window).items()}
    steps = (np.zeros((1, window), dtype) for dtype in (np.int32, bool, bool, np.int32))
    lane = sent(agent, Batch(observation, *steps))
    batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((lanes, *x.shape[1:]), x.dtype), lane)
    return jax.tree.map(lambda x: _with(x, over_lanes(mesh)), batch)


def _with(x: jax.ShapeDtypeStruct, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
