"""Shapes and shardings of what a training step takes, to compile it for devices that need not be here."""

from typing import Any

import jax
import optax
from jax.sharding import Mesh

from agents.spec import Agent
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


def _with(x: jax.ShapeDtypeStruct, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
