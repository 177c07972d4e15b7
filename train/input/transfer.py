"""What of the data is sent to the devices, and when."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from agents.spec import Agent
from agents.xla import batch_of
from data.spec import Batch
from train.input.blocks import Block
from train.mesh import over_lanes, put, replicated


def sent(agent: Agent, batch: Batch) -> Batch:
    """What the training step reads of a batch: `Agent.on_host` of the observation, and no episodes."""
    return batch._replace(observation=agent.on_host(batch.observation), episode=())


def batch_shapes(agent: Agent, mesh: Mesh, lanes: int, window: int) -> Batch:
    """Shapes and shardings of a batch as it is `sent` to the devices."""
    # Of one lane, since it is computed.
    observation = {name: np.zeros((1, *x.shape[1:]), x.dtype) for name, x in batch_of(agent, lanes, window).items()}
    steps = (np.zeros((1, window), dtype) for dtype in (np.int32, bool, bool, np.int32))
    lane = sent(agent, Batch(observation, *steps))
    of = over_lanes(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((lanes, *x.shape[1:]), x.dtype, sharding=of), lane)


def transferred(
    agent: Agent, batches: Iterator[Batch], mesh: Mesh, blocks: Iterable[range], size: int
) -> Iterator[tuple[range, Block]]:
    """The steps of each block, at most `size`, and what is `sent` of their batches, as global arrays on the mesh.

    `batches` are those of this host. A block is transferred, by a thread, while those before it are computed.
    """

    def transfer(steps: range) -> tuple[range, Block]:
        stacked = _stacked([sent(agent, next(batches)) for _ in steps], size)
        block = Block(put(stacked, over_lanes(mesh, axis=1)), put(np.int32(len(steps)), replicated(mesh)))
        return steps, jax.block_until_ready(block)

    with ThreadPoolExecutor(1, "transfer") as thread:
        ahead = None
        for steps in blocks:
            begun = thread.submit(transfer, steps)
            if ahead is not None:
                yield ahead.result()
            ahead = begun
        if ahead is not None:
            yield ahead.result()


def _stacked(batches: list[Batch], size: int) -> Batch:
    """Arrays [size, ...] that begin with those of the batches."""

    def stack(*of_batches: Any) -> np.ndarray:
        # What lies behind the batches is not read.
        first = np.asarray(of_batches[0])
        stacked = np.empty((size, *first.shape), first.dtype)
        np.stack(of_batches, out=stacked[: len(of_batches)])
        return stacked

    if size == 1:
        return jax.tree.map(lambda x: np.asarray(x)[None], batches[0])
    return jax.tree.map(stack, *batches)
