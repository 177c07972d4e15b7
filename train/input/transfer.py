"""What of the data is read and sent to the devices, and when."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from agents.cpu.devices import on_cpu
from agents.spec import Agent
from data.common.machine import cores
from data.sampling.stream import Store, batches
from data.spec import Batch
from train.input.blocks import Block, bytes_of
from train.mesh import over_lanes, put, replicated

_MOST_THREADS, _MOST_BYTES = 8, 2**32
"""Most threads that read, and most bytes of the batches that they have read ahead."""


def sent(agent: Agent, batch: Batch) -> Batch:
    """What the training step reads of a batch: `Agent.on_host` of the observation, and no episodes."""
    return batch._replace(observation=agent.on_host(batch.observation), episode=())


def read_ahead(
    agent: Agent, store: Store, lanes: int, window: int, seed: int, *, threads: int | Literal["auto"], **options: Any
) -> Iterator[Batch]:
    """What is `sent` of the training batches of `data.sampling.stream.batches`, which has the other `options`.

    "auto" reads in one thread if the CPU computes the steps, too, else in as many as half of its cores, at most
    `_MOST_THREADS`; in fewer if their batches would take more than `_MOST_BYTES`.
    """
    samples = len(options.get("lane_range") or range(lanes)) * window
    held = max(1, _MOST_BYTES // (samples * bytes_of(store.codec.observation)))
    count = min(held, reading_threads()) if threads == "auto" else threads
    options |= {"threads": count, "prefetch": max(count, min(held, 2 * count + 2)), "transform": partial(sent, agent)}
    return batches(store, "train", lanes, window, seed, **options)


def reading_threads() -> int:
    """Threads that read, beside the devices."""
    return 1 if on_cpu() else max(1, min(_MOST_THREADS, cores() // 2))


def transferred(
    batches: Iterator[Batch], mesh: Mesh, blocks: Iterable[range], size: int
) -> Iterator[tuple[range, Block]]:
    """The steps of each block, at most `size`, and their batches, as global arrays on the mesh.

    `batches` are those of this host. A block is transferred, by a thread, while those before it are computed.
    """

    def transfer(steps: range) -> tuple[range, Block]:
        stacked = _stacked([next(batches) for _ in steps], size)
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
