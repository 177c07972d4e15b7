"""Many NetHack games at once: worker processes step them, shared memory carries screens and actions.

L lanes; a lane plays one game after another. The lanes are dealt to groups, so that one group's games can
step while the policy thinks about another's; within a group all lanes step together.
"""

import ctypes
import signal
import tempfile
import traceback
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from multiprocessing.connection import Connection, Pipe
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

import numpy as np

from data.common.workers import SPAWN
from data.games.nethack import CHARACTER
from data.spec import NETHACK, Observation
from eval.play.nethack.game import Game, GameRow

STARTED = -1
"""Ticket of the answer to starting games; a group's steps are answered with the group."""


class WorkerFailed(RuntimeError):
    """A worker process broke down; the message says how."""


def _memory(shape: tuple[int, ...], dtype: str) -> Any:
    return SPAWN.RawArray(ctypes.c_uint8, int(np.prod(shape)) * np.dtype(dtype).itemsize)


class NetHackVector:
    """The games of `seeds`, all to their end, `lanes` at a time in `workers` processes.

    Free lanes take the next seeds in the order of `seeds`, lower lanes first: which game a lane plays depends
    on the games alone, never on timing. `send` and `receive` step one group, `step` steps all.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        lanes: int,
        workers: int,
        character: str = CHARACTER,
        max_steps: int | None = None,
        groups: int = 1,
    ) -> None:
        if len(set(seeds)) != len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
            raise ValueError("seeds must be distinct integers from 0 to 2**32 - 1")
        if not 1 <= groups <= lanes or workers < 1:
            raise ValueError(f"cannot run {lanes} lanes in {groups} groups on {workers} workers")
        self.lanes = lanes
        edges = [int(edge) for edge in np.linspace(0, lanes, groups + 1)]
        self.groups = tuple(slice(low, high) for low, high in pairwise(edges))
        """Each group's lanes."""
        self.first = np.zeros(lanes, bool)
        """bool [L]: this is the first step of the lane's game."""
        self.active = np.zeros(lanes, bool)
        """bool [L]: the lane plays; the others hold zeros and wait for nothing."""
        self.seed = np.zeros(lanes, np.uint32)
        """uint32 [L]: the seed of the lane's game."""
        self.timestep = np.zeros(lanes, np.uint32)
        """uint32 [L]: timestep of the lane's game: screens shown before this one."""

        shared = {name: ((lanes, *field.shape), field.dtype) for name, field in NETHACK.items()}
        shared["action"] = ((lanes,), "uint8")
        memory = {name: (_memory(shape, dtype), shape, dtype) for name, (shape, dtype) in shared.items()}
        views = _views(memory)
        self._action = views.pop("action")
        self.observation: Observation = views
        """By the observation spec, leading axis [L], overwritten in place by `receive`."""

        self._queue = deque(int(seed) for seed in seeds)
        self._answers: dict[tuple[int, int], dict[int, GameRow]] = {}
        self._busy = [False] * groups
        self._worker_of_lane = np.zeros(lanes, int)
        for group in self.groups:
            self._worker_of_lane[group] = np.arange(group.stop - group.start) % workers
        self._folder = tempfile.TemporaryDirectory(prefix="games-")
        """Where the games keep their files: those of a killed worker go with the folder."""
        self._connections: list[Any] = []
        self._processes: list[BaseProcess] = []
        try:
            for index in range(workers):
                ours, theirs = Pipe()
                self._connections.append(ours)
                process = SPAWN.Process(
                    target=_work,
                    args=(theirs, memory, self._folder.name, character, max_steps),
                    name=f"games-{index}",
                    daemon=True,
                )
                with theirs:
                    process.start()
                self._processes.append(process)
            for lanes_of_group in self.groups:
                self._refill(range(lanes_of_group.start, lanes_of_group.stop))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and wait for them. May be called twice."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(timeout=10)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._connections, self._processes = [], []
        self._folder.cleanup()

    def step(self, action_L: np.ndarray) -> list[GameRow]:
        """One step of every active lane; the rows of the games that it ended."""
        for group, lanes in enumerate(self.groups):
            self.send(group, action_L[lanes])
        return [row for group in range(len(self.groups)) for row in self.receive(group)]

    def send(self, group: int, action: np.ndarray) -> None:
        """Let the games of a group take these actions, one per lane of it; idle lanes ignore theirs."""
        if self._busy[group]:
            raise RuntimeError(f"group {group} is already stepping")
        lanes = self.groups[group]
        self._action[lanes] = action
        self._busy[group] = True
        for worker, its_lanes in self._share(np.arange(lanes.start, lanes.stop)[self.active[lanes]]):
            self._tell(worker, group, "step", its_lanes)

    def receive(self, group: int) -> list[GameRow]:
        """Wait for a group's step, start the next games, and return the rows of those that ended."""
        if not self._busy[group]:
            raise RuntimeError(f"group {group} is not stepping")
        self._busy[group] = False
        lanes = self.groups[group]
        active = np.arange(lanes.start, lanes.stop)[self.active[lanes]]
        ended: dict[int, GameRow] = {}
        for worker, _ in self._share(active):
            ended |= self._hear(worker, group)
        self.first[active] = False
        self.timestep[active] += 1
        self._refill(sorted(ended))
        return [ended[lane] for lane in sorted(ended)]

    def _refill(self, free: Sequence[int]) -> None:
        """Start the next games in these lanes, in order; the lanes that get none become idle."""
        for lane in free:
            self.active[lane] = self.first[lane] = bool(self._queue)
            self.seed[lane] = self._queue.popleft() if self._queue else 0
            self.timestep[lane] = 0
            for array in self.observation.values():
                array[lane] = 0
        started = np.array([lane for lane in free if self.active[lane]], int)
        shares = self._share(started)
        for worker, its_lanes in shares:
            self._tell(worker, STARTED, "start", [(lane, int(self.seed[lane])) for lane in its_lanes])
        for worker, _ in shares:
            self._hear(worker, STARTED)

    def _share(self, lanes: np.ndarray) -> list[tuple[int, list[int]]]:
        """Each worker that owns some of these lanes, with them."""
        owners = self._worker_of_lane[lanes]
        return [(int(worker), lanes[owners == worker].tolist()) for worker in np.unique(owners)]

    def _tell(self, worker: int, ticket: int, order: str, what: list[Any]) -> None:
        try:
            self._connections[worker].send((ticket, order, what))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._death(worker) from error

    def _hear(self, worker: int, ticket: int) -> dict[int, GameRow]:
        """Wait for the answer with this ticket; keep those to other groups that come before it."""
        while (worker, ticket) not in self._answers:
            try:
                heard, answer = self._connections[worker].recv()
            except (EOFError, ConnectionResetError) as error:
                raise self._death(worker) from error
            if isinstance(answer, str):
                raise WorkerFailed(f"worker {worker} failed:\n{answer}")
            self._answers[worker, heard] = answer
        return self._answers.pop((worker, ticket))

    def _death(self, worker: int) -> WorkerFailed:
        process = self._processes[worker]
        process.join(timeout=10)
        seeds = self.seed[self.active & (self._worker_of_lane == worker)].tolist()
        return WorkerFailed(f"worker {worker} died with exit code {process.exitcode} while it played seeds {seeds}")


def _views(memory: dict[str, tuple[Any, tuple[int, ...], str]]) -> dict[str, np.ndarray]:
    return {
        name: np.frombuffer(block, np.uint8).view(dtype).reshape(shape)
        for name, (block, shape, dtype) in memory.items()
    }


def _work(
    connection: Connection,
    memory: dict[str, tuple[Any, tuple[int, ...], str]],
    folder: str,
    character: str,
    max_steps: int | None,
) -> None:
    """What a worker process does until the other end of the pipe closes."""
    # Ctrl-C reaches the whole process group; the parent decides what to do about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tempfile.tempdir = folder
    views = _views(memory)
    games: dict[int, Game] = {}

    def show(lane: int) -> None:
        game = games[lane]
        views["chars"][lane] = game.chars_24x80
        views["colors"][lane] = game.colors_24x80
        views["cursor"][lane] = game.cursor_2
        views["prev_action"][lane] = game.prev_action

    def serve(order: str, what: list[Any]) -> dict[int, GameRow]:
        ended: dict[int, GameRow] = {}
        if order == "start":
            for lane, seed in what:
                games[lane] = Game(seed, character, max_steps)
                show(lane)
            return ended
        for lane in what:
            row = games[lane].step(int(views["action"][lane]))
            if row is None:
                show(lane)
            else:
                ended[lane] = row
                games.pop(lane).close()
        return ended

    try:
        while True:
            ticket, order, what = connection.recv()
            try:
                answer = serve(order, what)
            except Exception:
                answer = traceback.format_exc()
            connection.send((ticket, answer))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The parent has closed its end: it is done with this worker, or gone.
        return
    finally:
        for game in games.values():
            game.close()
