"""Our side of the benchmark: training from a store."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import jax
from jax.sharding import Mesh

from agents.cpu.devices import on_cpu
from data.store.reader import TrajectoryStore
from train.bench.cases import Case
from train.config import Optimizer, TrainConfig
from train.input.transfer import read_ahead, transferred
from train.memory.settings import candidates
from train.mesh import make_mesh
from train.optimizer import bc_optimizer
from train.plan import Plan
from train.population.runs import Runs

STEPS = 1_000_000
"""Length of the run, longer than any measurement."""


def our_loop(case: Case, store: TrajectoryStore, run: Path, members: int = 1) -> Callable[[int], int]:
    """The loop of `train.loop` without log and checkpoints: n dispatches, until they are computed; their samples.

    With several `members`, of a population of runs that differ in their seeds, which sees a sample once for each. `run`
    is the folder of no run; none is made.
    """
    config = TrainConfig(
        store=store.path,
        run=run,
        agent=case.agent.name,
        flops=(float(case.agent.cost(case.window).train_flops("exact") * case.lanes * case.window * STEPS),),
        lanes=case.lanes,
        window=case.window,
        order=case.order,
        population=f"init_seed=0..{members - 1}" if members > 1 else None,
        dev_every="never",
        optimizer=Optimizer(lr=1e-3, schedule="constant"),
    )
    plan, mesh = Plan.of(config), _mesh(case, members)
    runs, optimizer = Runs(config, plan, mesh), bc_optimizer(config.optimizer, config.batch, STEPS)
    settings = candidates(plan.agent, runs.lanes_per_device, config.window, config.microbatch, config.remat)
    size = runs.block_size
    steps, state = runs.step_maker(optimizer, size)(settings[0]), [runs.fresh_state(optimizer)]
    read = read_ahead(plan.agent, plan.store, case.lanes, case.window, 0, threads=config.threads, order=case.order)
    stream = transferred(read, mesh, (range(start, start + size) for start in itertools.count(step=size)), size)

    def loop(count: int) -> int:
        masks = []
        for _ in range(count):
            _, block = next(stream)
            masks.append(block.batches.mask)
            state[0], _ = steps(state[0], block)
        jax.block_until_ready(state[0])
        return members * sum(int(mask.sum()) for mask in jax.device_get(masks))

    return loop


def _mesh(case: Case, members: int) -> Mesh:
    """The devices that `python -m train bc` would train on: a recurrent agent alone on all of a CPU's cores as one."""
    if not on_cpu():
        return make_mesh(parts=case.lanes)
    if members > 1:
        return make_mesh(parts=math.gcd(case.lanes, members))
    return make_mesh(parts=1 if case.agent.recurrent else case.lanes)
