"""The worker processes of a vector environment: requests to them, and their replacement when they are lost."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from data.common.workers import SPAWN
from eval.engine.game import GameRow
from eval.engine.worker import CLOSE, Memory, Post, Views, folder_for, work

LOOK = 0.5
"""Seconds of waiting after which workers are looked after."""


@dataclass(frozen=True)
class Lost:
    """A worker that has died, or was killed because it made no step."""

    index: int
    code: int | None
    """Its exit code."""
    failure: str
    """The traceback that it sent, if any."""

    @property
    def is_bug(self) -> bool:
        """Whether it raised an exception that is no want of the machine's, such as of file descriptors."""
        return bool(self.failure) and not self.failure.splitlines()[-1].startswith("OSError")

    def given_up(self, seeds: list[int]) -> str:
        """What to say when it was lost again and again while it played these seeds."""
        said = f": {self.failure}" if self.failure else ""
        return (
            f"worker {self.index} was lost again and again, the last time with exit code {self.code}, while it played"
            f" seeds {seeds}{said}"
        )


@dataclass
class _Worker:
    """A running worker process."""

    process: BaseProcess
    rows: Any
    post: Post
    read: dict[int, GameRow] = field(default_factory=dict)
    """Rows that were read before they were asked for, by lane."""
    asked: int = 0
    """Requests so far."""
    steps: int = 0
    since: float = 0.0
    """Its count of steps when it was last looked at, and the time at which that was new."""


class Crew:
    """Worker processes, and their temporary files."""

    def __init__(
        self,
        memory: Memory,
        lanes: list[dict[int, list[int]]],
        character: str,
        max_steps: int | None,
        records: list[Path],
        patience: float,
    ) -> None:
        """Start a worker for each entry of `lanes`: its lanes of each tile."""
        self._views: Views = memory.views()
        self._patience = patience
        self._finished = SPAWN.Semaphore(0)
        self._folder = folder_for(sum(len(of_tile) for of_worker in lanes for of_tile in of_worker.values()))
        # Removing it also removes the files of killed workers.
        self.folder = Path(self._folder.name)
        self._workers: list[_Worker] = []
        try:
            for index, of_worker in enumerate(lanes):
                own = str(self.folder / str(index))
                post = Post(index, memory, of_worker, None, self._finished, None, own, character, max_steps, records)
                self._workers.append(self._started(post))
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid or 0 for worker in self._workers]

    def request(self, index: int, tile: int) -> None:
        """Ask a worker to step its lanes of a tile."""
        worker, ring = self._workers[index], self._views.requests[index]
        ring[worker.asked % len(ring)] = tile
        worker.asked += 1
        worker.since = time.monotonic()
        worker.post.wake.release()

    def wait(self, *, block: bool = True) -> bool:
        """Wait until a worker has completed a request, at most for `LOOK` seconds; whether one has."""
        return self._finished.acquire(block, LOOK)

    def row(self, index: int, lane: int) -> GameRow:
        """The row of a lane whose game has ended, as its worker has said. The worker may have sent others before."""
        worker = self._workers[index]
        while lane not in worker.read:
            worker.read.update([worker.rows.recv()])
        return worker.read.pop(lane)

    def lost(self, waited_for: Iterable[int]) -> list[Lost]:
        """Those of these workers that have died, or have made no step for too long and are killed."""
        return [self._buried(index) for index in sorted(waited_for) if self._is_lost(self._workers[index])]

    def replace(self, index: int) -> None:
        """Start a worker in place of one that is lost. It has no requests."""
        worker = self._workers[index]
        _end(worker)
        self._workers[index] = self._started(worker.post)

    def close(self) -> None:
        """Stop the workers, wait for them to exit, and remove their files. May be called more than once."""
        for index in range(len(self._workers)):
            self.request(index, CLOSE)
        for worker in self._workers:
            worker.process.join(timeout=10)
            _end(worker)
        self._workers = []
        self._folder.cleanup()

    def _started(self, post: Post) -> _Worker:
        rows, theirs = SPAWN.Pipe(duplex=False)
        post = replace(post, wake=SPAWN.Semaphore(0), rows=theirs)
        process = SPAWN.Process(target=work, args=(post,), name=f"games-{post.index}", daemon=True)
        with theirs:
            process.start()
        return _Worker(process, rows, post, steps=int(self._views.steps[post.index]), since=time.monotonic())

    def _is_lost(self, worker: _Worker) -> bool:
        steps, now = int(self._views.steps[worker.post.index]), time.monotonic()
        if steps != worker.steps:
            worker.steps, worker.since = steps, now
        if now - worker.since > self._patience:
            worker.process.kill()
            worker.process.join()
        return not worker.process.is_alive()

    def _buried(self, index: int) -> Lost:
        worker = self._workers[index]
        worker.process.join()
        return Lost(index, worker.process.exitcode, _last_words(worker.rows))


def _end(worker: _Worker) -> None:
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join()
    worker.process.close()
    worker.rows.close()


def _last_words(rows: Any) -> str:
    """The traceback of a worker that has ended, if it sent one after its rows."""
    try:
        while True:
            message = rows.recv()
            if isinstance(message, str):
                return message
    except EOFError:
        return ""
