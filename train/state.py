"""The state of a training run."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from agents.spec import Agent, Carry, Params
from train.mesh import over_fsdp, over_lanes, replicated


class TrainState(NamedTuple):
    """State before step `step`; together with the configuration it determines the rest of the run."""

    step: jax.Array
    """int32 scalar: steps done; also the position in the data."""
    params: Params
    average: Params
    """Moving average of the parameters, which evaluation uses; an empty tuple if none is kept."""
    opt_state: optax.OptState
    carry: Carry
    """The carry of every lane; an empty tuple if there is none, or windows are read in shuffled order."""
    skipped: jax.Array
    """int32 scalar: steps skipped in a row, up to now, as their loss or gradient was not finite. Checkpoints are of the
    state before them, and don't hold it."""
    decay: jax.Array
    """int32 [2]: the steps over which the learning rate decays (`Segment.decay`). Checkpoints don't hold it."""
    hyper: Mapping[str, jax.Array] | tuple[()] = ()
    """Hyperparameters in which the members of a population differ, by name (`train.population`); an empty tuple of a
    run alone."""


def init_state(
    params: Params, optimizer: optax.GradientTransformation, *, averaged: bool = False, carry: Carry = ()
) -> TrainState:
    """The state before the first step."""
    # A copy: the state is donated to the training step, and a buffer can't be donated twice.
    average = jax.tree.map(jnp.copy, params) if averaged else ()
    opt_state, undecayed = optimizer.init(params), jnp.zeros(2, jnp.int32)
    return TrainState(jnp.int32(0), params, average, opt_state, carry, jnp.int32(0), undecayed)


def state_shardings(agent: Agent, optimizer: optax.GradientTransformation, mesh: Mesh, *, averaged: bool) -> TrainState:
    """Shardings of the state: lanes over the devices, parameters, average and optimiser state over `fsdp`.

    A prefix of the state's tree, whose carry may be empty.
    """
    params = jax.eval_shape(agent.init, jax.random.key(0))
    of_params, opt_state = over_fsdp(mesh, (params, jax.eval_shape(optimizer.init, params)))
    average = of_params if averaged else ()
    whole = replicated(mesh)
    return TrainState(whole, of_params, average, opt_state, over_lanes(mesh), whole, whole, ())  # pyright: ignore[reportArgumentType]


def kept_params(state: TrainState) -> Params:
    """The parameters that evaluation uses: the moving average if one is kept."""
    return state.average if state.average != () else state.params
