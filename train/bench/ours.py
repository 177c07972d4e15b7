"""Our side of the benchmark: training from a store."""

import itertools
from collections.abc import Callable
from typing import Any

import jax

from data.store.reader import TrajectoryStore
from train.bench.cases import Case
from train.config import Optimizer
from train.input.blocks import block_size, bytes_of
from train.input.transfer import read_ahead, transferred
from train.mesh import make_mesh
from train.optimizer import bc_optimizer
from train.state import TrainState, init_state, state_shardings
from train.step import make_train_step

STEPS = 1_000_000
"""Length of the schedule, longer than any measurement."""


def our_loop(case: Case, store: TrajectoryStore) -> Callable[[int], int]:
    """The loop of `train.loop` without log and checkpoints: n dispatches, until they are computed; their samples."""
    agent, config, mesh = case.agent.for_backend(), Optimizer(lr=1e-3, schedule="constant"), make_mesh()
    batch = case.lanes * case.window
    optimizer, samples = bc_optimizer(config, batch, STEPS), batch // mesh.size
    flops = agent.cost(case.window).train_flops("exact") * samples
    size = block_size(flops, bytes_of(store.codec.observation) * samples)
    options: dict[str, Any] = {"average": config.average, "dropout": 0.0, "seed": 0, "mesh": mesh, "block": size}
    steps = make_train_step(agent, optimizer, **options)
    read = read_ahead(agent, store, case.lanes, case.window, 0, threads="auto", order=case.order)
    blocks = (range(start, start + size) for start in itertools.count(step=size))
    stream = transferred(read, mesh, blocks, size)

    def init(key: jax.Array) -> TrainState:
        carry = agent.initial_carry(case.lanes) if case.order == "lanes" else ()
        return init_state(agent.init(key), optimizer, averaged=True, carry=carry)

    shardings = state_shardings(agent, optimizer, mesh, averaged=True)
    state: list[TrainState] = [jax.jit(init, out_shardings=shardings)(jax.random.key(0))]

    def loop(count: int) -> int:
        masks = []
        for _ in range(count):
            _, block = next(stream)
            masks.append(block.batches.mask)
            state[0], _ = steps(state[0], block)
        jax.block_until_ready(state[0])
        return sum(int(mask.sum()) for mask in jax.device_get(masks))

    return loop
