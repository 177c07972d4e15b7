"""Play NetHack with experts, and with agents on a CPU: each core has a worker process that plays its games alone.

The parent only deals out seeds and collects rows. Nothing waits for anything, and nothing crosses between caches.
"""

import contextlib
import ctypes
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

from data.common.cli import UserError
from data.common.workers import SPAWN
from data.games.challenge import CHARACTER
from eval.engine.crew import Lost
from eval.engine.game import GameRow
from eval.engine.vector import ATTEMPTS, PATIENCE, WorkerFailed
from eval.engine.worker import folder_for
from eval.play.options import OnGame, Task, check_seeds, number_of_games
from eval.play.players import AgentPolicy, ExpertPolicy, Experts, Policy
from eval.play.sampling import Sampling
from eval.play.solo import TILE, Finished, Orders, Post, work
from eval.progress import Progress, Shares

LOOK = 1.0
"""Seconds after which workers are looked after again."""


@dataclass(frozen=True)
class Job:
    """The games of one policy: seeds, and whom to tell of the row of each game that has ended."""

    policy: Callable[[], Policy]
    """Loads it."""
    seeds: Sequence[int]
    on_game: OnGame
    record: Path | None = None
    """Folder in which the games are recorded."""


@dataclass
class _Queue:
    """A job, its index, and the seeds that nobody plays yet."""

    index: int
    job: Job
    seeds: deque[int]


@dataclass
class _Solo:
    """A worker, and what it plays."""

    post: Post
    process: BaseProcess
    connection: Any
    queue: _Queue | None = None
    playing: list[int] = field(default_factory=list)
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
    number_of_games(tasks)

    def job(task: Task) -> Job:
        def policy() -> AgentPolicy:
            return AgentPolicy(task.agent, jax.tree.map(np.asarray, task.params()), key_seed, sampling)

        return Job(policy, task.seeds, task.on_game, task.record)

    jobs, template = list(map(job, tasks)), Post(TILE, character, max_steps)
    return _play(jobs, template, workers, lanes or TILE * workers, progress=progress, patience=patience)


def play_experts(
    expert: Experts,
    seeds: Sequence[int],
    *,
    workers: int,
    max_steps: int | None = None,
    character: str = CHARACTER,
    progress: bool = True,
    on_game: OnGame | None = None,
    patience: float = PATIENCE,
) -> list[GameRow]:
    """Play one game per seed with an expert, whose player is seeded with the game's seed.

    Args:
        expert: The expert.
        seeds: Seeds of the games, distinct.
        workers: Number of processes that play, each one game at a time.
        max_steps: Truncate games after this many steps; None keeps the environment's own limit.
        character: NetHack's character.
        progress: Whether to show a progress bar on stderr.
        on_game: Called with each row as soon as its game has ended.
        patience: Seconds after which a worker that stands in the same step of its game is replaced.

    Returns:
        One row per game, ordered by seed.

    Raises:
        ValueError: The seeds are not distinct.
        UserError: The expert, if it is the user's, is not one.
        WorkerFailed: A worker process raised an exception, or games were lost again and again.
    """
    rows: list[GameRow] = []

    def add(row: GameRow) -> None:
        rows.append(row)
        if on_game is not None:
            on_game(row)

    check_seeds(seeds)
    job, template = Job(lambda: ExpertPolicy(expert), seeds, add), Post(1, character, max_steps)
    _play([job], template, workers, workers, progress=progress, patience=patience)
    return sorted(rows, key=lambda row: row.seed)


def _play(jobs: Sequence[Job], template: Post, workers: int, lanes: int, *, progress: bool, patience: float) -> Shares:
    total = sum(len(job.seeds) for job in jobs)
    if not total:
        return Shares()
    with Solos(jobs, template, workers, lanes, patience) as solos, Progress(total, progress) as bar:
        for steps in solos.play():
            bar.add(steps, 1)
        return solos.shares()


class Solos:
    """The workers and the jobs: `lanes` games at a time, of all workers together."""

    def __init__(
        self, jobs: Sequence[Job], template: Post, workers: int, lanes: int, patience: float = PATIENCE
    ) -> None:
        self._queues = [_Queue(index, job, deque(job.seeds)) for index, job in enumerate(jobs)]
        self._lanes = min(template.width, math.ceil(lanes / workers))
        self._attempts: Counter[tuple[int, int]] = Counter()
        self._folder = folder_for(lanes)
        self._patience, self._begin, self._template = patience, time.monotonic(), template
        self._waiting: list[_Solo] = []
        """Workers that have no games, and ask for orders."""
        self._starts_left = ATTEMPTS
        """Times that a worker may still be lost before it has games."""
        self.replaced = 0
        """Number of workers that were lost and replaced."""
        needed = min(workers, sum(len(job.seeds) for job in jobs))
        self._memory = SPAWN.RawArray(ctypes.c_uint8, needed * 4 * 8)
        self._clock = np.frombuffer(memoryview(self._memory), np.uint8).view(np.int64).reshape(-1, 4)
        self._workers = [self._started(index) for index in range(needed)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid or 0 for worker in self._workers]

    @property
    def started(self) -> bool:
        """Whether every worker has stepped a game."""
        return bool((self._clock[:, 0] > self._lanes).all())

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
                if isinstance(message, UserError):
                    raise message
                elif isinstance(message, str):
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
        """Stop the workers and remove their files. May be called more than once."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.process.close()
            worker.connection.close()
        self._workers = []
        self._folder.cleanup()

    def _started(self, index: int) -> _Solo:
        ours, theirs = SPAWN.Pipe()
        folder = str(Path(self._folder.name, f"{index}-{self.replaced}"))
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
        worker.playing, worker.since = seeds.copy(), time.monotonic()
        _tell(worker, Orders(queue.index, queue.job.policy(), seeds, queue.job.record))

    def _finished(self, worker: _Solo, game: Finished) -> int:
        queue = self._queues[game.task]
        worker.playing.remove(game.row.seed)
        seed = queue.seeds.popleft() if queue.seeds else None
        if seed is not None:
            worker.playing.append(seed)
        _tell(worker, seed)
        queue.job.on_game(game.row)
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
