"""Held-out episodes, and the loss of an agent on them: all of a checkpoint's, a fixed few of them during training."""

import time
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
from jax.sharding import Mesh

from agents.spec import Agent, Params
from data.sampling.stream import Store, dev_batches
from train.dev.loss import LossRow, dev_loss
from train.mesh import lanes_of_host

LANES, WINDOW = 16, 128
"""Shape [B, T] of a dev batch, B rounded up to a multiple of the devices. The loss does not depend on it."""
_MICROBATCH_STEPS = 128
"""Timesteps per dev batch (B * T) for agents with a microbatch, which take half as long on these smaller batches."""


class DevSet:
    """Held-out episodes of a store: the rows `rows_E` of its episode table, by default all that are held out.

    The lanes are sharded over `mesh`: one local device, or all devices of all processes, which then call together.

    Raises: UserError: the store has no held-out episodes, or its steps have no actions.
    """

    def __init__(self, agent: Agent, store: Store, mesh: Mesh, rows_E: np.ndarray | None = None) -> None:
        rows_E = store.rows("dev") if rows_E is None else rows_E
        self._agent, self._mesh = agent, mesh
        self._lanes = -(-min(LANES, len(rows_E)) // mesh.size) * mesh.size
        window = WINDOW if agent.microbatch is None else max(1, _MICROBATCH_STEPS // self._lanes)
        mine = lanes_of_host(self._lanes) if mesh.is_multi_process else None
        self._batches = dev_batches(store, self._lanes, window, mine, rows_E)

    def loss(self, params: Params) -> LossRow:
        """The dev loss of parameters, which lie on the devices of the mesh.

        Raises: UserError: the store is damaged.
        """
        return dev_loss(self._agent, params, self._batches, self._lanes, self._mesh)


def some_episodes(store: Store, samples: int) -> np.ndarray:
    """Rows [E] of held-out episodes of at most `samples` steps together, though at least one episode.

    The episodes are the first by id, a hash of their content: a random choice, the same for every run on the store, of
    which most stays when episodes are added.

    Raises: UserError: the store has no held-out episodes.
    """
    rows = store.rows("dev")
    rows = rows[np.argsort([store.episodes[row].id for row in rows], kind="stable")]
    return rows[: max(1, np.searchsorted(np.cumsum(store.lengths[rows]), samples, side="right"))]


@dataclass(frozen=True)
class Measured:
    """A measurement of the dev loss during training."""

    row: LossRow
    seconds: float
    """Wall time that it took."""


class PeriodicDevLoss:
    """Measures the dev loss on the same few episodes every `every` steps; never if that is None."""

    def __init__(self, agent: Agent, store: Store, mesh: Mesh, every: int | None, samples: int) -> None:
        """`samples` bounds the episodes as in `some_episodes`, which are chosen at the first measurement."""
        self._agent, self._store, self._mesh, self._every, self._samples = agent, store, mesh, every, samples

    def measure(self, step: int, params: Params) -> Measured | None:
        """The dev loss if it is due after `step` steps. Waits for the steps under way, whose time does not count.

        Raises: UserError: the store has no held-out episodes, or is damaged.
        """
        if self._every is None or step % self._every:
            return None
        jax.block_until_ready(params)
        begin = time.perf_counter()
        row = self._set.loss(params)
        return Measured(row, time.perf_counter() - begin)

    @cached_property
    def _set(self) -> DevSet:
        return DevSet(self._agent, self._store, self._mesh, some_episodes(self._store, self._samples))
