"""Play NetHack with agents on a CPU: each core has a worker process that plays its games alone.

The parent only deals out seeds and collects rows. Nothing waits for anything, and nothing crosses between caches.
"""

import contextlib
import ctypes
import math
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import jax
import numpy as np

from data.common.workers import SPAWN
from data.games.challenge import CHARACTER
from eval.engine.crew import Lost
from eval.engine.vector import ATTEMPTS, PATIENCE, WorkerFailed
from eval.play.options import Task, number_of_games
from eval.play.sampling import Sampling
from eval.play.shares import Shares
from eval.play.solo import TILE, Finished, Orders, Post, work
from eval.progress import Progress

LOOK = 1.0
"""Seconds after which workers are looked after again."""


@dataclass
class _Queue:
    """A task, its index, and the seeds that nobody plays yet."""

    index: int
    task: Task
    seeds: deque[int]


@dataclass
class _Solo:
    """A worker, and what it plays."""

    post: Post
    process: BaseProcess
    connection: Any
    queue: _Queue | None = None
    playing: set[int] = field(default_factory=set)
    steps: int = 0
    since: float = 0.0
    """Its count of steps when it was last looked at, and the time at which that was new."""


def play_apart(
    tasks: Sequence[Task],
    *,
    lanes: int | None,
    workers: int,
    key_seed: int,
    sampling: Sampling = Sampling(),  # noqa: B008 frozen
    max_steps: int | None = None,
    character: str = CHARACTER,
    progress: bool = True,
    patience: float = PATIENCE,
) -> Shares:
    """Play the games of several policies, one game per seed each; arguments and results as of `rollout.play_agents`."""
    total = number_of_games(tasks)
    if not total:
        return Shares()
    with tempfile.TemporaryDirectory(prefix="isoplay-games-") as folder, Progress(total, progress) as bar:
        template = Post(-1, None, None, folder, key_seed, sampling, character, max_steps)
        solos = Solos(tasks, template, workers, lanes, patience)
        try:
            for steps in solos.play():
                bar.add(steps, 1)
        finally:
            solos.close()
        return solos.shares()


class Solos:
    """The workers and the tasks."""

    def __init__(
        self, tasks: Sequence[Task], template: Post, workers: int, lanes: int | None, patience: float = PATIENCE
    ) -> None:
        self._queues = [_Queue(index, task, deque(task.seeds)) for index, task in enumerate(tasks)]
        self._lanes = min(TILE, math.ceil((lanes or TILE * workers) / workers))
        self._attempts: Counter[tuple[int, int]] = Counter()
        self._patience, self._begin, self._template = patience, time.monotonic(), template
        self._waiting: list[_Solo] = []
        """Workers that have no games, and ask for orders."""
        self._starts_left = ATTEMPTS
        """Times that a worker may still be lost before it has games."""
        self.replaced = 0
        """Number of workers that were lost and replaced."""
        needed = min(workers, sum(len(task.seeds) for task in tasks))
        self._memory = SPAWN.RawArray(ctypes.c_uint8, needed * 4 * 8)
        self._clock = np.frombuffer(memoryview(self._memory), np.uint8).view(np.int64).reshape(-1, 4)
        self._workers = [self._started(index) for index in range(needed)]

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid or 0 for worker in self._workers]

    @property
    def started(self) -> bool:
        """Whether every worker has stepped a game."""
        return bool((self._clock[:, 0] > TILE).all())

    def stepping(self, index: int) -> bool:
        """Whether a worker is stepping its games at this moment, rather than computing or compiling their actions."""
        return bool(self._clock[index, 3])

    def play(self) -> Iterator[int]:
        """Play all games; yields the number of steps of each that has ended."""
        left, looked = sum(len(queue.seeds) for queue in self._queues), time.monotonic()
        while left:
            ready = wait([worker.connection for worker in self._workers], LOOK)
            for worker in [worker for worker in self._workers if worker.connection in ready]:
                try:
                    message = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    self._replace(worker, "")
                    continue
                if isinstance(message, str):
                    self._replace(worker, message)
                elif message is None:
                    self._order(worker)
                else:
                    left -= 1
                    yield self._finished(worker, message)
            if time.monotonic() - looked > LOOK:
                self._look_after()
                looked = time.monotonic()

    def shares(self) -> Shares:
        """Where the time of the workers went."""
        wall, (steps, games, policy) = time.monotonic() - self._begin, self._clock[:, :3].sum(axis=0).tolist()
        workers = len(self._clock)
        return Shares(wall, games / workers / 1e9, policy / workers / 1e9, steps=steps)

    def close(self) -> None:
        """Stop the workers."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.process.close()
            worker.connection.close()
        self._workers = []

    def _started(self, index: int) -> _Solo:
        ours, theirs = SPAWN.Pipe()
        folder = str(Path(self._template.folder, f"{index}-{self.replaced}"))
        post = replace(self._template, index=index, connection=theirs, clock=self._memory, folder=folder)
        process = SPAWN.Process(target=work, args=(post,), name=f"games-{index}", daemon=True)
        with theirs:
            process.start()
        return _Solo(post, process, ours, steps=int(self._clock[index, 0]), since=time.monotonic())

    def _order(self, worker: _Solo) -> None:
        """Give a worker that has no games a task: as many games as its lanes, or its part of the last ones."""
        left = [queue for queue in self._queues if queue.seeds]
        if not left:
            self._waiting.append(worker)  # Another worker may be lost, and its games left.
            return
        queue = worker.queue = left[0]
        part = math.ceil(sum(len(other.seeds) for other in left) / len(self._workers))
        seeds = [queue.seeds.popleft() for _ in range(min(self._lanes, part, len(queue.seeds)))]
        worker.playing, worker.since = set(seeds), time.monotonic()
        params = jax.tree.map(np.asarray, queue.task.params())
        _tell(worker, Orders(queue.index, queue.task.agent, params, seeds))

    def _finished(self, worker: _Solo, game: Finished) -> int:
        queue = self._queues[game.task]
        worker.playing.remove(game.row.seed)
        seed = queue.seeds.popleft() if queue.seeds else None
        if seed is not None:
            worker.playing.add(seed)
        _tell(worker, seed)
        queue.task.on_game(game.row)
        return game.row.steps

    def _look_after(self) -> None:
        """Kill workers that have stood in the same step of their games for too long. Their pipes end then."""
        now = time.monotonic()
        for worker in self._workers:
            steps = int(self._clock[worker.post.index, 0])
            if steps != worker.steps or not self.stepping(worker.post.index):
                worker.steps, worker.since = steps, now
            elif now - worker.since > self._patience:
                worker.process.kill()

    def _replace(self, worker: _Solo, failure: str) -> None:
        """Start another worker, and let the games of the lost one be played again."""
        worker.process.join()
        lost = Lost(worker.post.index, worker.process.exitcode, failure)
        if lost.is_bug:
            raise WorkerFailed(f"worker {lost.index} failed:\n{failure}")
        seeds = sorted(worker.playing)
        if worker.queue is not None:
            self._attempts.update((worker.queue.index, seed) for seed in seeds)
            if any(self._attempts[worker.queue.index, seed] > ATTEMPTS for seed in seeds):
                raise WorkerFailed(lost.given_up(seeds))
            worker.queue.seeds.extendleft(reversed(seeds))
        if not seeds:
            self._starts_left -= 1
            if self._starts_left < 0:
                raise WorkerFailed(lost.given_up(seeds))
        worker.connection.close()
        worker.process.close()
        self.replaced += 1
        self._workers[self._workers.index(worker)] = self._started(lost.index)
        waiting, self._waiting = self._waiting, []
        for other in waiting:
            if other is not worker:
                self._order(other)


def _tell(worker: _Solo, message: Any) -> None:
    """Send a message. That of a worker that has died is seen when its pipe ends."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        worker.connection.send(message)
