"""The compiled step of a population: that of one run, vmapped over members. M members, B lanes.

Parameters, average, optimiser state, carry, hyperparameters and counts of skipped steps have a leading axis M; the step
and the batch are common. If M is a multiple of the devices, members are sharded over them, and every device gets the
whole batch; else lanes are, as those of a run alone.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from agents.spec import Agent, Params
from data.spec import Batch
from train.config import Optimizer, TrainConfig
from train.input.blocks import jitted
from train.memory.settings import Settings
from train.optimizer import bc_optimizer
from train.population.members import SEED, hyperparameters
from train.state import TrainState, init_state
from train.step import StepMetrics, train_step


def over_members(members: int, mesh: Mesh) -> bool:
    """Whether the members are sharded over the devices, rather than the lanes."""
    return members % mesh.size == 0


def shardings(members: int, mesh: Mesh) -> TrainState:
    """Shardings of the state, a prefix of its tree. Counts of skipped steps are whole, for the host to read."""
    specs = _specs(members, mesh)._replace(skipped=PartitionSpec())  # pyright: ignore[reportArgumentType]
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs, is_leaf=lambda x: isinstance(x, PartitionSpec))


def _specs(members: int, mesh: Mesh) -> TrainState:
    whole, axes = PartitionSpec(), mesh.axis_names
    each = PartitionSpec(axes) if over_members(members, mesh) else whole
    carry = each if over_members(members, mesh) else PartitionSpec(None, axes)
    specs: Any = (whole, each, each, each, carry, each, whole, each)
    return TrainState(*specs)


def population_state(
    agent: Agent, members: Sequence[TrainConfig], steps: int, mesh: Mesh, *, carried: bool
) -> TrainState:
    """The state before the first step; see `train.state.init_state`.

    Parameters are initialised one member after the other, as those of runs alone: on a CPU with as many devices as
    cores, two batched QR decompositions at once (of orthogonal initialisers) wait for each other's threads forever.
    """
    init, placed = jax.jit(agent.init), shardings(len(members), mesh)
    inits = [jax.device_get(init(jax.random.key(member.init_seed))) for member in members]

    def put(*of_members: np.ndarray) -> jax.Array:
        stacked = np.stack(of_members)
        sharding: Any = placed.params
        return jax.make_array_from_callback(stacked.shape, sharding, lambda index: stacked[index])

    begin = population_init(agent, members, steps, carried=carried)
    return jax.jit(begin, out_shardings=placed)(jax.tree.map(put, *inits))


def population_init(
    agent: Agent, members: Sequence[TrainConfig], steps: int, *, carried: bool
) -> Callable[[Params], TrainState]:
    """The function from the members' initial parameters to the state before the first step."""
    config, hyper = members[0], hyperparameters(members)

    def of_member(params: Params) -> TrainState:
        carry = agent.initial_carry(config.lanes) if carried else ()
        optimizer = bc_optimizer(config.optimizer, config.batch, steps)
        return init_state(params, optimizer, averaged=config.optimizer.average > 0, carry=carry)

    def of_members(params: Params) -> TrainState:
        state = jax.vmap(of_member, out_axes=_AXES._replace(hyper=None), axis_size=len(members))(params)
        return state._replace(hyper={name: jnp.array(values) for name, values in hyper.items()})

    return of_members


_AXES = TrainState(None, 0, 0, 0, 0, 0, None, 0)  # pyright: ignore[reportArgumentType]
"""The members' axis of each part of the state."""
_ONE = AbstractMesh((1, 1), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


def population_step(
    agent: Agent,
    members: Sequence[TrainConfig],
    steps: int,
    *,
    mesh: Mesh,
    microbatch: int | None = None,
    block: int | None = None,
) -> jax.stages.Wrapped:
    """The jitted `(state, batch) → (state, metrics)` for runs of `steps` steps; metrics are [M]. The state is donated.

    `microbatch` is the most samples per device of which each member's gradients are computed at once. With `block`, it
    takes a block of that size, and metrics are [block, M] (`train.input.blocks.jitted`).
    """
    config, sharded = members[0], over_members(len(members), mesh)

    def of_member(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        hyper = dict(state.hyper)
        seed = hyper.pop(SEED, config.init_seed)
        step = train_step(
            agent,
            _optimizer(config, hyper, steps),
            average=config.optimizer.average,
            dropout=config.dropout,
            seed=seed,
            mesh=_ONE if sharded else mesh,
            microbatch=microbatch,
            max_skipped=config.max_skipped,
            decay_to=_options(config, hyper).decay_to if config.schedule == "wsd" else None,
        )
        return step(state, batch)

    of_members = jax.vmap(of_member, in_axes=(_AXES, None), out_axes=(_AXES, 0))
    if sharded:
        specs, each = _specs(len(members), mesh), PartitionSpec(mesh.axis_names)
        of_members = jax.shard_map(
            of_members, mesh=mesh, in_specs=(specs, PartitionSpec()), out_specs=(specs, each), check_vma=False
        )
    return jitted(of_members, shardings(len(members), mesh), mesh, block)


def _optimizer(config: TrainConfig, hyper: Mapping[str, Any], steps: int) -> optax.GradientTransformation:
    """The optimiser of a member, some of whose hyperparameters are traced."""
    return bc_optimizer(_options(config, hyper), config.batch, steps)


def _options(config: TrainConfig, hyper: Mapping[str, Any]) -> Optimizer:
    return dataclasses.replace(config.optimizer, **hyper)


def population_maker(
    agent: Agent, members: Sequence[TrainConfig], steps: int, mesh: Mesh, block: int | None = None
) -> Callable[[Settings], jax.stages.Wrapped]:
    """A function from settings to the jitted step, as `train.memory.settings.step_maker`."""

    def make(settings: Settings) -> jax.stages.Wrapped:
        chosen = (agent.rematerialised() or agent) if settings.remat else agent
        return population_step(chosen, members, steps, mesh=mesh, microbatch=settings.microbatch, block=block)

    return make
