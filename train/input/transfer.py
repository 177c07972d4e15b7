"""What of a batch is sent to the devices, and when."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
from jax.sharding import Mesh

from agents.spec import Agent
from data.spec import Batch
from train.mesh import over_lanes, put


def sent(agent: Agent, batch: Batch) -> Batch:
    """What the training step reads of a batch: `Agent.on_host` of the observation, and no episodes."""
    return batch._replace(observation=agent.on_host(batch.observation), episode=())


def transferred(agent: Agent, batches: Iterator[Batch], mesh: Mesh) -> Iterator[Batch]:
    """What is `sent` of the batches of this host, as global arrays on the devices of the mesh.

    A batch is transferred, by a thread, while the step before it runs.
    """

    def transfer() -> Batch:
        return jax.block_until_ready(put(sent(agent, next(batches)), over_lanes(mesh)))

    with ThreadPoolExecutor(1, "transfer") as thread:
        ahead = thread.submit(transfer)
        while True:
            batch, ahead = ahead.result(), thread.submit(transfer)
            yield batch
