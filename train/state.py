"""All that a training step changes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from agents.spec import Agent, Carry, Params


class TrainState(NamedTuple):
    """State before step `step`; with the configuration, it decides everything that follows."""

    step: jax.Array
    """int32 scalar: optimiser steps done, which is also the position in the data."""
    params: Params
    average: Params
    """Running average of the parameters, what evaluation uses; empty tuple where none is kept."""
    opt_state: optax.OptState
    carry: Carry
    """What the core remembers in each lane, leading axis the lanes."""


def init_state(
    agent: Agent, optimizer: optax.GradientTransformation, key: jax.Array, lanes: int, *, averaged: bool
) -> TrainState:
    """Fresh state for `lanes` lanes."""
    params = agent.init(key)
    # A copy, since both are donated to the step and one buffer cannot be donated twice.
    average = jax.tree.map(jnp.copy, params) if averaged else ()
    return TrainState(jnp.int32(0), params, average, optimizer.init(params), agent.initial_carry(lanes))


def kept_params(state: TrainState) -> Params:
    """The parameters that evaluation uses: the average where one is kept."""
    return state.average if state.average != () else state.params
