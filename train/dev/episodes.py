"""Held-out episodes, and the loss of an agent on them: on all of them, or on a fixed few during training."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
from jax.sharding import Mesh

from agents.cpu.devices import on_cpu
from agents.spec import Agent, Params
from data.sampling.stream import Store, dev_batches
from data.spec import Batch
from train.dev.loss import LossRow, dev_loss
from train.input.transfer import reading_threads
from train.mesh import lanes_of_host, over_lanes, put

LANES, WINDOW, LONGEST = 64, 32, 128
"""Shape [B, T] of a dev batch, B rounded up to a multiple of the devices. With fewer lanes, the window grows as far as
`LONGEST`. The loss does not depend on the shape."""
KEPT = 2**30
"""Most bytes of batches that a dev set keeps for its next measurement: to read them takes about as long as the forward
pass of a small agent on a CPU."""
_MICROBATCH_STEPS = 128
"""Timesteps per dev batch (B * T) for agents with a microbatch, which take half as long on these smaller batches."""
PIECE = 1024
"""Longest piece of an episode in a dev set that is not the whole split. NetHack's episodes have 30,000 steps: a few of
them whole would represent the split worse. Of 1,024 steps, few suffer from the reset of the recurrent state."""


class DevSet:
    """Held-out episodes of a store: `pieces` as of `some_pieces`, by default all of them, whole.

    The lanes are sharded over `mesh`: one local device, or all devices of all processes, which then call together.

    Raises: UserError: the store has no held-out episodes, or its steps have no actions.
    """

    def __init__(self, agent: Agent, store: Store, mesh: Mesh, pieces: np.ndarray | None = None) -> None:
        count = len(store.rows("dev") if pieces is None else pieces)
        self._agent, self.mesh = agent, mesh
        self._lanes = -(-min(LANES, count) // mesh.size) * mesh.size
        window = min(LONGEST, max(WINDOW, LANES * WINDOW // self._lanes))
        if agent.microbatch is not None:
            window = max(1, _MICROBATCH_STEPS // self._lanes)
        mine = lanes_of_host(self._lanes) if mesh.is_multi_process else None
        self._batches: Iterable[Batch] = dev_batches(
            store, self._lanes, window, mine, pieces, max(2, reading_threads()), self._on_host
        )

    def _on_host(self, batch: Batch) -> Batch:
        return batch._replace(observation=self._agent.on_host(batch.observation))

    def loss(self, params: Params) -> LossRow:
        """The dev loss of parameters, which lie on the devices of the mesh.

        Raises: UserError: the store is damaged.
        """
        return dev_loss(self._agent, params, self._read(), self._lanes, self.mesh)

    def _read(self) -> Iterator[Batch]:
        """The batches on the mesh. They are kept if there are not too many: on a CPU there, else on the host."""
        kept: list[Batch] = []
        size = 0
        for batch in self._batches:
            sent = batch if isinstance(batch.mask, jax.Array) else put(batch, over_lanes(self.mesh))
            size += sum(array.nbytes for array in jax.tree.leaves(batch))
            if size <= KEPT:
                kept.append(sent if on_cpu() else batch)
            else:
                kept.clear()
            yield sent
        if size <= KEPT:
            self._batches = kept


def some_pieces(store: Store, samples: int) -> np.ndarray:
    """Pieces of held-out episodes of at most `samples` steps together: int64 [pieces, 3], row, start and stop.

    All episodes whole if `samples` suffices for them. Otherwise episodes are cut every `PIECE` steps, and the pieces
    with the smallest hashes taken, at least one: a random choice, the same for every run on the store, of which most
    stays when episodes are added.

    Raises: UserError: the store has no held-out episodes.
    """
    rows, lengths = store.rows("dev"), store.lengths
    size = PIECE if lengths[rows].sum() > samples else int(lengths[rows].max())
    pieces = [(row, start, min(start + size, lengths[row])) for row in rows for start in range(0, lengths[row], size)]
    pieces.sort(key=lambda piece: hashlib.sha256(f"{store.episodes[piece[0]].id} {piece[1]}".encode()).digest())
    array = np.array(pieces, np.int64)
    return array[: max(1, np.searchsorted(np.cumsum(array[:, 2] - array[:, 1]), samples, side="right"))]


@dataclass(frozen=True)
class Measured:
    """A measurement of the dev loss during training."""

    row: LossRow
    seconds: float
    """Wall time that it took."""


class PeriodicDevLoss:
    """Measures the dev loss on the same pieces of episodes every `every` steps; never if that is None."""

    def __init__(self, agent: Agent, store: Store, mesh: Mesh, every: int | None, samples: int) -> None:
        """`samples` bounds the pieces as in `some_pieces`; they are chosen at the first measurement."""
        self._agent, self._store, self._mesh, self._every, self._samples = agent, store, mesh, every, samples

    def due(self, step: int) -> bool:
        """Whether the dev loss is measured after `step` steps."""
        return self._every is not None and step % self._every == 0

    def measure(self, step: int, params: Params) -> Measured | None:
        """The dev loss if it is due after `step` steps. Waits for the steps under way, whose time does not count.

        Raises: UserError: the store has no held-out episodes, or is damaged.
        """
        if not self.due(step):
            return None
        jax.block_until_ready(params)
        begin = time.perf_counter()
        row = self._set.loss(params)
        return Measured(row, time.perf_counter() - begin)

    @cached_property
    def _set(self) -> DevSet:
        return DevSet(self._agent, self._store, self._mesh, some_pieces(self._store, self._samples))
