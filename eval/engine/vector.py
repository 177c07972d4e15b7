"""Vector environment of NetHack: worker processes step the games, shared memory holds observations and actions.

Lanes are divided into tiles of a fixed size. All lanes of a tile step together; several tiles step at the same time,
while the policy computes the actions of others. The lanes of a tile are spread over some of the workers.
"""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from data.games.challenge import CHARACTER
from data.spec import Observation
from eval.engine.crew import LOOK, Crew, Lost
from eval.engine.game import GameRow
from eval.engine.worker import Memory

SHARE = 32
"""Most lanes of a tile for each of its workers, if there are enough workers."""

PATIENCE = 60.0
"""Seconds after which a worker that has not completed a single step is taken to hang."""

ATTEMPTS = 3
"""Times that a game is played again because its worker was lost, before it is given up."""


class WorkerFailed(RuntimeError):
    """A worker process raised an exception, or the same games were lost with their workers again and again."""


@dataclass(frozen=True)
class Ended:
    """A game that has ended."""

    lane: int
    row: GameRow


class NetHackVector:
    """Games in `tiles` tiles of `tile` lanes, stepped by `workers` processes.

    `begin` puts a game into a lane, `send` steps a tile without waiting for it, `receive` waits for one. A worker that
    dies or hangs is replaced, and its games begin again from their seeds.
    """

    def __init__(
        self,
        tiles: int,
        tile: int,
        workers: int,
        character: str = CHARACTER,
        max_steps: int | None = None,
        *,
        records: Sequence[Path] = (),
        patience: float = PATIENCE,
    ) -> None:
        """`records` are the folders in which games may be recorded, see `begin`."""
        if tiles < 1 or tile < 1 or workers < 1:
            raise ValueError(f"cannot play in {tiles} tiles of {tile} lanes with {workers} workers")
        self.tile = tile
        self.tiles = tuple(slice(start, start + tile) for start in range(0, tiles * tile, tile))
        """The lanes of each tile."""
        lanes = tiles * tile
        self.active = np.zeros(lanes, bool)
        """bool [L]: whether the lane has a game. The observations of other lanes have no meaning."""
        self.timestep = np.zeros(lanes, np.uint32)
        """uint32 [L]: timestep of the lane's game, 0 for its first observation."""
        self.workers = workers
        self.replaced = 0
        """Number of workers that were lost and replaced."""
        self._attempts = np.zeros(lanes, int)
        """Of each lane, the times that its game was lost with its worker."""
        self._looked = time.monotonic()
        memory = Memory(lanes, tiles, workers)
        self._views = memory.views()
        self.seed = self._views.seed
        """uint32 [L]: seed of the lane's game."""
        self.observation: Observation = {
            name: getattr(self._views, name) for name in ("chars", "colors", "cursor", "prev_action")
        }
        """Observations by the observation spec, with a leading axis [L]; those of a tile are valid between `receive`
        and `send`. Characters are as on NLE's terminal (`eval.engine.game.recorded`)."""
        self._pending: dict[int, set[int]] = {}
        """Tiles that are stepping, with the workers that have not completed them."""
        self._lanes = _lanes_of_workers(tiles, tile, workers)
        self._owner = {lane: index for index, owned in enumerate(self._lanes) for of in owned.values() for lane in of}
        self._playing = [Counter[int]() for _ in range(tiles)]
        """Of each tile, the number of games that a worker has there."""
        self._beginning: list[list[int]] = [[] for _ in range(tiles)]
        """Of each tile, the lanes whose game the next step begins."""
        self._records = list(records)
        self.crew = Crew(memory, self._lanes, character, max_steps, self._records, patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def stepping(self) -> int:
        """Number of tiles that are stepping."""
        return len(self._pending)

    @property
    def busy(self) -> float:
        """Seconds in which workers stepped games so far, the sum over workers."""
        return float(self._views.busy.sum()) / 1e9

    @property
    def steps(self) -> int:
        """Steps and starts of games so far."""
        return int(self._views.steps.sum())

    def begin(self, lane: int, seed: int, record: Path | None = None) -> None:
        """Let the next step of the lane's tile start the game of this seed, recorded in a folder if one is given."""
        if not self.active[lane]:
            self._playing[lane // self.tile][self._owner[lane]] += 1
        self.active[lane], self.seed[lane], self._attempts[lane] = True, seed, 0
        self._views.record[lane] = 0 if record is None else 1 + self._records.index(record)
        self._begin(lane)
        self._beginning[lane // self.tile].append(lane)

    def send(self, tile: int, action: np.ndarray) -> None:
        """Start a step of one tile, without waiting for it.

        Args:
            tile: Index of the tile.
            action: int, one action per lane of the tile; those of lanes that begin or have no game are ignored.

        Raises:
            RuntimeError: The tile is already stepping.
        """
        if tile in self._pending:
            raise RuntimeError(f"tile {tile} is already stepping")
        lanes = self.tiles[tile]
        self._views.action[lanes] = action
        self._views.sent[tile] += 1
        self.timestep[lanes] += 1
        for lane in self._beginning[tile]:
            self.timestep[lane] = 0
        self._beginning[tile] = []
        workers = [index for index, games in self._playing[tile].items() if games]
        self._pending[tile] = set(workers)
        for index in workers:
            self.crew.request(index, tile)

    def receive(self, *, wait: bool = True) -> tuple[int, list[Ended]] | None:
        """A tile whose step is complete, and its games that have ended, by lane. Their lanes have no game now.

        Without `wait`, None if there is none yet.

        Raises:
            RuntimeError: No tile is stepping.
            WorkerFailed: A worker raised an exception, or games were lost with their workers again and again.
        """
        if not self._pending:
            raise RuntimeError("no tile is stepping")
        while True:
            self._look_after()
            for tile, workers in self._pending.items():
                workers.difference_update([w for w in workers if self._views.done[w, tile] == self._views.sent[tile]])
                if not workers:
                    del self._pending[tile]
                    return tile, self._ended(tile)
            if not self.crew.wait(block=wait) and not wait:
                return None

    def close(self) -> None:
        """Stop the workers and wait for them to exit. May be called more than once."""
        self.crew.close()

    def _begin(self, lane: int) -> None:
        self._views.begin[lane], self._views.ended[lane] = 1, 0
        self.timestep[lane] = 0

    def _ended(self, tile: int) -> list[Ended]:
        lanes = self.tiles[tile]
        ended: list[Ended] = []
        for lane in (lanes.start + np.flatnonzero(self._views.ended[lanes])).tolist():
            index = self._owner[lane]
            ended.append(Ended(lane, self.crew.row(index, lane)))
            self._playing[tile][index] -= 1
            self.active[lane], self._views.ended[lane] = False, 0
        return ended

    def _look_after(self) -> None:
        """Replace workers that are lost: looked for now and then, whether others make progress or not."""
        if time.monotonic() - self._looked > LOOK:
            for lost in self.crew.lost(set().union(*self._pending.values())):
                self._replace(lost)
            self._looked = time.monotonic()

    def _replace(self, lost: Lost) -> None:
        """Replace a worker, and let its games begin again."""
        index = lost.index
        if lost.is_bug:
            raise WorkerFailed(f"worker {index} failed:\n{lost.failure}")
        lanes = [lane for of_tile in self._lanes[index].values() for lane in of_tile if self.active[lane]]
        self._attempts[lanes] += 1
        if lanes and self._attempts[lanes].max() > ATTEMPTS:
            raise WorkerFailed(lost.given_up(self.seed[lanes].tolist()))
        self.crew.replace(index)
        self.replaced += 1
        asked = [tile for tile, workers in self._pending.items() if index in workers]
        for lane in lanes:
            self._begin(lane)
            if lane // self.tile not in asked:
                self._beginning[lane // self.tile].append(lane)
        for tile in asked:
            # Should it have died just after it completed the step: that is to be done again.
            self._views.done[index, tile] = self._views.sent[tile] - 1
            self.crew.request(index, tile)


def _lanes_of_workers(tiles: int, tile: int, workers: int) -> list[dict[int, list[int]]]:
    """For each worker its lanes of each tile. A tile has a worker for every `SHARE` lanes, or more if there are more
    workers; tiles take them in turn."""
    share = min(workers, tile, max(math.ceil(tile / SHARE), math.ceil(workers / tiles)))
    lanes: list[dict[int, list[int]]] = [{} for _ in range(workers)]
    for number in range(tiles):
        for part in range(share):
            of_part = range(number * tile + part, (number + 1) * tile, share)
            lanes[(number * share + part) % workers][number] = list(of_part)
    return lanes
