"""Vector environment of NetHack: worker processes step the games, shared memory holds observations and actions.

Dimension in names: L lanes; a lane whose game has ended starts the next one. Lanes are divided into groups, so that one
group can step while the policy computes the actions of another. All lanes of a group step together.
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
from eval.play.nethack.game import GameRow, SeededGame

STARTED = -1
"""Request id of "start" messages. The id of a "step" message is the index of its group."""


class WorkerFailed(RuntimeError):
    """A worker process failed or died; the message contains its traceback or exit code."""


def _memory(shape: tuple[int, ...], dtype: str) -> Any:
    return SPAWN.RawArray(ctypes.c_uint8, int(np.prod(shape)) * np.dtype(dtype).itemsize)


class NetHackVector:
    """Plays one game per seed to its end, `lanes` in parallel, in `workers` processes.

    Free lanes take the next seeds in the order of `seeds`, lower lanes first, so that the assignment of games to lanes
    does not depend on timing. `send` and `receive` step one group asynchronously; `step` steps all groups.
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
        """The lanes of each group."""
        self.first = np.zeros(lanes, bool)
        """bool [L]: whether this is the first timestep of the lane's game."""
        self.active = np.zeros(lanes, bool)
        """bool [L]: whether the lane has a game. The observations of other lanes are zero."""
        self.seed = np.zeros(lanes, np.uint32)
        """uint32 [L]: the seed of the lane's game."""
        self.timestep = np.zeros(lanes, np.uint32)
        """uint32 [L]: timestep of the lane's game, 0 for its first observation."""

        shared = {name: ((lanes, *field.shape), field.dtype) for name, field in NETHACK.items()}
        shared["action"] = ((lanes,), "uint8")
        memory = {name: (_memory(shape, dtype), shape, dtype) for name, (shape, dtype) in shared.items()}
        views = _views(memory)
        self._action = views.pop("action")
        self.observation: Observation = views
        """Observations by the observation spec, with a leading axis [L]. `receive` overwrites them in place."""

        self._queue = deque(int(seed) for seed in seeds)
        self._responses: dict[tuple[int, int], dict[int, GameRow]] = {}
        self._busy = [False] * groups
        self._worker_of_lane = np.zeros(lanes, int)
        for group in self.groups:
            self._worker_of_lane[group] = np.arange(group.stop - group.start) % workers
        self._folder = tempfile.TemporaryDirectory(prefix="games-")
        """Temporary files of all games. Removing it also removes those of killed workers."""
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
        """Stop the workers and wait for them to exit. May be called more than once."""
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
        """Step every active lane with actions int [L] and return the rows of the games that ended."""
        for group, lanes in enumerate(self.groups):
            self.send(group, action_L[lanes])
        return [row for group in range(len(self.groups)) for row in self.receive(group)]

    def send(self, group: int, action: np.ndarray) -> None:
        """Start a step of one group, without waiting for it.

        Args:
            group: Index of the group.
            action: int, one action per lane of the group; those of inactive lanes are ignored.

        Raises:
            RuntimeError: The group is already stepping.
            WorkerFailed: A worker process died.
        """
        if self._busy[group]:
            raise RuntimeError(f"group {group} is already stepping")
        lanes = self.groups[group]
        self._action[lanes] = action
        self._busy[group] = True
        for worker, its_lanes in self._share(np.arange(lanes.start, lanes.stop)[self.active[lanes]]):
            self._request(worker, group, "step", its_lanes)

    def receive(self, group: int) -> list[GameRow]:
        """Wait for the step of a group, start new games on its free lanes, and return the rows of the games that ended.

        Raises:
            RuntimeError: The group is not stepping.
            WorkerFailed: A worker process failed or died.
        """
        if not self._busy[group]:
            raise RuntimeError(f"group {group} is not stepping")
        self._busy[group] = False
        lanes = self.groups[group]
        active = np.arange(lanes.start, lanes.stop)[self.active[lanes]]
        ended: dict[int, GameRow] = {}
        for worker, _ in self._share(active):
            ended |= self._response(worker, group)
        self.first[active] = False
        self.timestep[active] += 1
        self._refill(sorted(ended))
        return [ended[lane] for lane in sorted(ended)]

    def _refill(self, free: Sequence[int]) -> None:
        """Start the next games on these lanes, in order. Lanes for which no seed is left become inactive."""
        for lane in free:
            self.active[lane] = self.first[lane] = bool(self._queue)
            self.seed[lane] = self._queue.popleft() if self._queue else 0
            self.timestep[lane] = 0
            for array in self.observation.values():
                array[lane] = 0
        started = np.array([lane for lane in free if self.active[lane]], int)
        shares = self._share(started)
        for worker, its_lanes in shares:
            self._request(worker, STARTED, "start", [(lane, int(self.seed[lane])) for lane in its_lanes])
        for worker, _ in shares:
            self._response(worker, STARTED)

    def _share(self, lanes: np.ndarray) -> list[tuple[int, list[int]]]:
        """Group lanes by the worker that runs them."""
        owners = self._worker_of_lane[lanes]
        return [(int(worker), lanes[owners == worker].tolist()) for worker in np.unique(owners)]

    def _request(self, worker: int, request: int, command: str, args: list[Any]) -> None:
        try:
            self._connections[worker].send((request, command, args))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._death(worker) from error

    def _response(self, worker: int, request: int) -> dict[int, GameRow]:
        """Wait for the response to this request. Responses to other requests that arrive first are kept."""
        while (worker, request) not in self._responses:
            try:
                received, response = self._connections[worker].recv()
            except (EOFError, ConnectionResetError) as error:
                raise self._death(worker) from error
            if isinstance(response, str):
                raise WorkerFailed(f"worker {worker} failed:\n{response}")
            self._responses[worker, received] = response
        return self._responses.pop((worker, request))

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
    """Serve requests in a worker process until the parent closes its end of the pipe."""
    # Ctrl-C sends SIGINT to the whole process group; let only the parent handle it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tempfile.tempdir = folder
    views = _views(memory)
    games: dict[int, SeededGame] = {}

    def show(lane: int) -> None:
        game = games[lane]
        views["chars"][lane] = game.chars_24x80
        views["colors"][lane] = game.colors_24x80
        views["cursor"][lane] = game.cursor_2
        views["prev_action"][lane] = game.prev_action

    def serve(command: str, args: list[Any]) -> dict[int, GameRow]:
        ended: dict[int, GameRow] = {}
        if command == "start":
            for lane, seed in args:
                games[lane] = SeededGame(seed, character, max_steps)
                show(lane)
            return ended
        for lane in args:
            row = games[lane].step(int(views["action"][lane]))
            if row is None:
                show(lane)
            else:
                ended[lane] = row
                games.pop(lane).close()
        return ended

    try:
        while True:
            request, command, args = connection.recv()
            try:
                response = serve(command, args)
            except Exception:
                response = traceback.format_exc()
            connection.send((request, response))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The parent has closed the pipe, or has exited.
        return
    finally:
        for game in games.values():
            game.close()
