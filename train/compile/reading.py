"""What a compiled training step costs on devices that need not be here: `python -m train compile`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.ladder import find
from agents.spec import Agent
from agents.xla import batch_of, train_flops
from data.common.cli import UserError
from train.compile.config import CompileConfig
from train.compile.step import batch_shapes, population_shapes, state_shapes
from train.compile.topology import Topology, topology_of
from train.compile.traffic import ON_TPU, Traffic, traffic
from train.config import Optimizer, TrainConfig
from train.memory.fit import Fitted, first_fitting
from train.memory.settings import candidates, step_maker
from train.mesh import make_mesh
from train.optimizer import bc_optimizer
from train.population.members import members_of
from train.population.step import over_members, population_maker

_STEPS = 100_000
"""Length of the run, on which the program does not depend."""


@dataclass(frozen=True)
class Reading:
    """A training step on one device; None where the target can't tell, or the compiler found that it does not fit."""

    target: str
    agent: str
    params: int
    """N, the counted parameters."""
    samples: int
    """Samples of a device's part of the batch; of a population for each member that the device trains."""
    devices: int
    microbatch: int
    """Samples, of each member, whose gradients are computed at once."""
    remat: bool
    """Whether activations are recomputed in the backward pass."""
    fits: bool
    """Whether `bytes_memory` is at most `bytes_limit`."""
    bytes_arguments: int | None
    """The state and the batch."""
    bytes_temporary: int | None
    """Activations, gradients, and results that don't replace an argument."""
    bytes_memory: int | None
    """All memory that it needs: arguments, temporaries, code and the batches that wait."""
    bytes_limit: int
    """The memory that it may use."""
    flops_exact: float
    """FLOPs of a step by the agent's `exact` cost."""
    flops_xla: float
    """The same as XLA counts the program that JAX differentiates, with scans unrolled: `agents.xla.train_flops`."""
    bytes_accessed: float | None
    """Bytes read from and written to the main memory: `train.compile.traffic`."""
    bytes_on_chip: float | None
    """Of a TPU, bytes read from and written to VMEM; null of a GPU, whose caches are not in the program."""
    launches: int | None
    """Kernels and copies that a GPU launches; null of a TPU, where the step is one program."""
    network_bytes: float | None
    """Bytes that it sends to other devices."""
    seconds_compute: float
    """The larger of `flops_exact` and `flops_xla` by peak FLOP/s. A TPU computes more than `exact` counts, which has
    embeddings as look-ups: there they are one-hot products."""
    seconds_memory: float | None
    """`bytes_accessed` by the memory's bandwidth."""
    seconds_network: float | None
    """`network_bytes` by the interconnect's bandwidth."""
    seconds_roofline: float | None
    """The longest of the three: no step is faster. Peak FLOP/s are those of bfloat16 whatever the dtype."""
    bound: str | None
    """Which of them that is: compute, memory or network."""
    seconds_compile: float
    """Seconds that JAX and the compiler took on this machine."""


@dataclass(frozen=True)
class Compiled:
    """A reading and what it was read from."""

    reading: Reading
    text: str | None
    traffic: Traffic | None


def agent_of(config: CompileConfig, name: str) -> Agent:
    """The agent of that name.

    Raises: UserError: there is none, or it can't be trained as configured.
    """
    agent = find(name)
    if config.dropout and not agent.recurrent:
        raise UserError(f"{name} has no dropout: leave --dropout out")
    return agent


def read(config: CompileConfig, name: str) -> Compiled:
    """Compile the training step of the agent of that name and read what it costs.

    Raises: UserError: no such target or agent, the compiler is missing, or the lanes can't be spread over the devices.
    """
    agent, topology = agent_of(config, name), topology_of(config.target)
    agent = agent.for_backend(config.compute, "gpu" if topology.gpu else "tpu")
    if config.lanes % len(topology.devices):
        count = len(topology.devices)
        raise UserError(f"{config.lanes} lanes cannot be spread over {count} devices: choose a multiple")
    fitted = _fitted(config, agent, topology)
    text = fitted.step.as_text() if fitted.step is not None else None
    counted = text and traffic(text, devices=len(topology.devices), on_chip=frozenset() if topology.gpu else ON_TPU)
    return Compiled(_reading(config, agent, topology, fitted, counted or None), text, counted or None)


def _fitted(config: CompileConfig, agent: Agent, topology: Topology) -> Fitted:
    mesh = make_mesh(fsdp=config.fsdp, devices=topology.devices)
    carried, lanes = config.order == "lanes" and agent.recurrent, config.lanes // mesh.size
    if config.members > 1:
        members = _members(config, agent)
        make = population_maker(agent, members, _STEPS, mesh)
        state = population_shapes(agent, members, _STEPS, mesh, carried=carried)
        lanes = config.lanes if over_members(len(members), mesh) else lanes
    else:
        optimizer = bc_optimizer(_optimizer(config), config.lanes * config.window, _STEPS)
        make = step_maker(agent, optimizer, mesh=mesh, average=config.average, dropout=config.dropout, seed=0)
        averaged = config.average > 0
        state = state_shapes(agent, optimizer, mesh, lanes=config.lanes, averaged=averaged, carried=carried)
    settings = candidates(agent, lanes, config.window, config.microbatch, config.remat)
    batch = batch_shapes(agent, mesh, config.lanes, config.window)
    return first_fitting(make, settings, state, batch, topology.memory)


def _optimizer(config: CompileConfig) -> Optimizer:
    # The program is the same for every learning rate.
    return Optimizer(lr=1.0, average=config.average)


def _members(config: CompileConfig, agent: Agent) -> Sequence[TrainConfig]:
    """The members of a population that differ in seed."""
    run = TrainConfig(
        store=Path(),
        run=Path(),
        agent=agent.name,
        flops=(1.0,),
        lanes=config.lanes,
        window=config.window,
        population=f"init_seed=0..{config.members - 1}",
        dropout=config.dropout,
        fsdp=config.fsdp,
        optimizer=_optimizer(config),
    )
    return members_of(run)


def _reading(
    config: CompileConfig, agent: Agent, topology: Topology, fitted: Fitted, counted: Traffic | None
) -> Reading:
    devices, accelerator, memory = len(topology.devices), topology.accelerator, fitted.memory
    samples = config.lanes * config.window * config.members // devices
    cost = agent.cost(config.window)
    flops = float(cost.train_flops("exact") * samples)
    by_xla = train_flops(agent, batch_of(agent, 2, config.window)) * samples
    seconds = {"compute": max(flops, by_xla) / topology.peak}
    if counted:
        seconds["memory"] = counted.memory / accelerator.bandwidth
        seconds["network"] = counted.network / accelerator.interconnect
    bound = max(seconds, key=lambda name: seconds[name]) if counted else None
    return Reading(
        target=config.target,
        agent=agent.name,
        params=cost.counted_params,
        samples=samples,
        devices=devices,
        microbatch=fitted.settings.microbatch,
        remat=fitted.settings.remat,
        fits=fitted.fits(topology.memory),
        bytes_arguments=memory and memory.arguments,
        bytes_temporary=memory and memory.temporaries,
        bytes_memory=memory and memory.total,
        bytes_limit=topology.memory,
        flops_exact=flops,
        flops_xla=by_xla,
        bytes_accessed=counted and counted.memory,
        bytes_on_chip=None if topology.gpu or counted is None else counted.on_chip,
        launches=counted.launches if topology.gpu and counted else None,
        network_bytes=counted and counted.network,
        seconds_compute=seconds["compute"],
        seconds_memory=seconds.get("memory"),
        seconds_network=seconds.get("network"),
        seconds_roofline=seconds[bound] if bound else None,
        bound=bound,
        seconds_compile=fitted.seconds,
    )
