"""Play complete NetHack games with agents on a device of their own, such as a GPU, while workers step the games.

Dimension in names: T lanes of a tile.
"""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from agents.spec import Params
from data.games.challenge import CHARACTER
from eval.engine.game import recorded
from eval.engine.vector import Ended, NetHackVector
from eval.play.options import Task, number_of_games
from eval.play.policy import act, fresh_carry
from eval.play.sampling import Sampling
from eval.play.solo import TILE
from eval.progress import Progress, Shares

TILE_OF_ACCELERATORS = 128
"""Lanes of a compiled step on an accelerator, where it takes hardly longer than that of one lane."""


@dataclass
class _Queue:
    """A task, and its seeds that are not played yet."""

    task: Task
    seeds: deque[int]

    @cached_property
    def params(self) -> Params:
        """The parameters, loaded when its first tile begins and kept while it has one."""
        return self.task.params()


@dataclass
class _Tile:
    """A tile of lanes that one policy plays."""

    number: int
    queue: _Queue
    carry: Any
    actions: jax.Array | None = None


def play_agents(
    tasks: Sequence[Task],
    *,
    lanes: int | None,
    workers: int,
    key_seed: int,
    sampling: Sampling = Sampling(),  # noqa: B008 frozen
    max_steps: int | None = None,
    character: str = CHARACTER,
    progress: bool = True,
) -> Shares:
    """Play the games of several policies, one game per seed each, in the order of the tasks.

    The random key of an action depends on `key_seed`, the game's seed and the timestep, and the policy always
    computes the actions of a tile of lanes. Results therefore do not depend on the number of lanes or workers, or on
    other tasks.

    Args:
        tasks: The policies, their seeds, and whom to tell of games that have ended.
        lanes: Number of games played in parallel; by default four tiles, or 16 for each worker.
        workers: Number of processes that step the games.
        key_seed: Seed for sampling actions.
        sampling: How actions are chosen.
        max_steps: Truncate games after this many steps; None keeps the environment's own limit.
        character: NetHack's character.
        progress: Whether to show a progress bar on stderr.

    Returns:
        Where the time went.

    Raises:
        ValueError: The seeds of a task are not distinct or out of range.
        WorkerFailed: A worker process raised an exception, or games were lost again and again.
    """
    total = number_of_games(tasks)
    if not total:
        return Shares()
    tile = TILE if jax.default_backend() == "cpu" else TILE_OF_ACCELERATORS
    lanes = min(lanes or max(4 * tile, 16 * workers), total)
    tiles = math.ceil(lanes / tile) + sum(1 for task in tasks if task.seeds) - 1
    tiles = min(tiles, 2 * math.ceil(lanes / tile))
    records = [task.record for task in tasks if task.record is not None]
    with (
        NetHackVector(tiles, tile, min(workers, lanes), character, max_steps, records=records) as games,
        Progress(total, progress) as bar,
    ):
        rollout = Rollout(games, tasks, lanes, jax.random.key(key_seed), sampling)
        for steps, ended in rollout:
            bar.add(steps, ended)
        return rollout.shares


class Rollout:
    """Plays the games of tasks in a vector environment. Iterating yields the steps and ended games of a tile."""

    def __init__(
        self, games: NetHackVector, tasks: Sequence[Task], lanes: int, key: jax.Array, sampling: Sampling
    ) -> None:
        self.shares = Shares()
        self._games, self._lanes, self._key, self._sampling = games, lanes, key, sampling
        self._queues = deque(_Queue(task, deque(task.seeds)) for task in tasks if task.seeds)
        self._free = list(reversed(range(len(games.tiles))))
        self._tiles: dict[int, _Tile] = {}
        self._computing: deque[_Tile] = deque()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        begin, games = time.perf_counter(), self._games
        busy = games.busy
        self._open()
        while self._tiles:
            if self._computing and _is_ready(self._computing[0].actions):
                self._send()
            elif games.stepping and (received := self._receive()):
                yield self._next(*received)
            elif self._computing:
                self._send()
            shares = self.shares
            shares.wall = time.perf_counter() - begin
            shares.stepping = (games.busy - busy) / games.workers

    def _receive(self) -> tuple[int, list[Ended]] | None:
        received = self._games.receive(wait=False)
        if received is None and not self._computing:
            begin = time.perf_counter()
            received = self._games.receive()
            self.shares.idle += time.perf_counter() - begin
        return received

    def _send(self) -> None:
        tile = self._computing.popleft()
        begin = time.perf_counter()
        actions = np.asarray(tile.actions)
        self.shares.inference += time.perf_counter() - begin
        self._games.send(tile.number, actions)

    def _next(self, number: int, ended: list[Ended]) -> tuple[int, int]:
        """Refill the lanes of games that have ended, and compute the actions of the others."""
        tile, lanes = self._tiles[number], self._games.tiles[number]
        steps = int(self._games.active[lanes].sum()) + len(ended)
        self.shares.steps += steps
        for game in ended:
            tile.queue.task.on_game(game.row)
            if tile.queue.seeds:
                self._games.begin(game.lane, tile.queue.seeds.popleft(), tile.queue.task.record)
        if self._games.active[lanes].any():
            self._compute(tile)
        else:
            del self._tiles[number]
            self._free.append(number)
        if ended:
            self._open()
        return steps, len(ended)

    def _open(self) -> None:
        """Give free tiles to the next tasks, while there are lanes for them."""
        while self._free and self._queues:
            room = self._lanes - int(self._games.active.sum())
            if self._tiles and room < min(self._games.tile, len(self._queues[0].seeds)):
                return
            queue, number = self._queues[0], self._free.pop()
            lanes = self._games.tiles[number]
            for lane in range(lanes.start, lanes.start + min(self._games.tile, room, len(queue.seeds))):
                self._games.begin(lane, queue.seeds.popleft(), queue.task.record)
            if not queue.seeds:
                self._queues.popleft()
            self._tiles[number] = _Tile(number, queue, fresh_carry(queue.task.agent, self._games.tile))
            self._games.send(number, np.zeros(self._games.tile, np.uint8))

    def _compute(self, tile: _Tile) -> None:
        games, lanes, task = self._games, self._games.tiles[tile.number], tile.queue.task
        observation = {name: array[lanes][:, None] for name, array in games.observation.items()}
        observation["chars"] = recorded(observation["chars"])
        tile.actions, tile.carry = act(
            task.agent,
            self._sampling,
            tile.queue.params,
            self._key,
            observation,
            (games.timestep[lanes] == 0)[:, None],
            games.seed[lanes].copy(),
            games.timestep[lanes].copy(),
            tile.carry,
        )
        self._computing.append(tile)


def _is_ready(array: Any) -> bool:
    """Whether an array is computed."""
    return array.is_ready()
