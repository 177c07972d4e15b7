"""A worker process, which steps the games of its lanes, and the memory that it shares with the parent.

Dimensions in names: L lanes, N tiles, W workers. A tile is a fixed number of lanes that step together.
"""

import ctypes
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.common.workers import SPAWN, follow_parent
from data.spec import NETHACK
from eval.engine.game import ChallengeGame

CLOSE = -1
"""In place of a tile: end."""


class Memory:
    """Memory that the parent and its workers share. Workers may be given it when they start."""

    def __init__(self, lanes: int, tiles: int, workers: int) -> None:
        screens = {name: ((lanes, *field.shape), field.dtype) for name, field in NETHACK.items()}
        flags = {"action": "uint8", "begin": "uint8", "ended": "uint8", "seed": "uint32", "record": "uint32"}
        counts = {
            "requests": ((workers, tiles + 1), "int32"),
            "sent": ((tiles,), "uint32"),
            "done": ((workers, tiles), "uint32"),
            "steps": ((workers,), "int64"),
            "busy": ((workers,), "int64"),
        }
        arrays = {**screens, **{name: ((lanes,), dtype) for name, dtype in flags.items()}, **counts}
        self._blocks = {
            name: (SPAWN.RawArray(ctypes.c_uint8, int(np.prod(shape)) * np.dtype(dtype).itemsize), shape, dtype)
            for name, (shape, dtype) in arrays.items()
        }

    def views(self) -> "Views":
        """The arrays of this memory."""
        return Views(
            **{
                name: np.frombuffer(memoryview(block), np.uint8).view(dtype).reshape(shape)
                for name, (block, shape, dtype) in self._blocks.items()
            }
        )


@dataclass(frozen=True)
class Views:
    """Arrays in shared memory. Workers write observations, `ended`, `done`, `steps` and `busy`; the parent the rest."""

    chars: np.ndarray
    colors: np.ndarray
    cursor: np.ndarray
    prev_action: np.ndarray
    """Observations, as in the spec with a leading axis [L]."""
    action: np.ndarray
    """uint8 [L]."""
    begin: np.ndarray
    """uint8 [L]: 1 if the next step of the lane is to start the game of `seed`."""
    ended: np.ndarray
    """uint8 [L]: 1 if the last step ended the lane's game; the worker has sent its row."""
    seed: np.ndarray
    """uint32 [L]: seed of the lane's game."""
    record: np.ndarray
    """uint32 [L]: 1 + the index of the folder in which the lane's game is recorded; 0: none."""
    requests: np.ndarray
    """int32 [W, N + 1]: ring buffers of the tiles that a worker is to step, or `CLOSE`."""
    sent: np.ndarray
    """uint32 [N]: number of the tile's last request."""
    done: np.ndarray
    """uint32 [W, N]: number of the last request for the tile that the worker has completed."""
    steps: np.ndarray
    """int64 [W]: steps and starts of games so far; it stands still only if the worker hangs."""
    busy: np.ndarray
    """int64 [W]: nanoseconds in which the worker stepped or started games."""


@dataclass(frozen=True)
class Post:
    """What one worker is started with."""

    index: int
    memory: Memory
    lanes: dict[int, list[int]]
    """Its lanes of each tile."""
    wake: Any
    """Semaphore, released once for each request."""
    finished: Any
    """Semaphore, which the worker releases after each request."""
    rows: Any
    """Pipe to the parent for (lane, row) of games that ended, or a traceback."""
    folder: str
    """Folder for its temporary files, in that of all workers, which it removes if the parent dies."""
    character: str
    max_steps: int | None
    records: list[Path]
    """Folders in which games may be recorded."""


def work(post: Post) -> None:
    """Step tiles as requested, until a request to close, or the death of the parent."""
    with own_folder(Path(post.folder)):
        try:
            _serve(post)
        except Exception:
            post.rows.send(traceback.format_exc())
            post.finished.release()


IN_MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory: there a game starts in half of the time."""
ROOM = 16 * 2**20
"""Bytes that a game may need: a level takes some 50 kB, of which a game visits at most about 60."""


def folder_for(games: int) -> tempfile.TemporaryDirectory[str]:
    """A folder for the files of so many games at a time: in memory, if there is enough."""
    in_memory = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > games * ROOM
    return tempfile.TemporaryDirectory(prefix="isoplay-games-", dir=IN_MEMORY if in_memory else None)


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """In a worker process: keep temporary files in a folder of its own, in that of all workers; removed at the end.

    If the parent dies, the worker ends and removes that of all workers: others may be unable to remove theirs.
    """
    follow_parent(lambda: shutil.rmtree(folder.parent, ignore_errors=True))
    folder.mkdir(exist_ok=True)
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(post: Post) -> None:
    views, me = post.memory.views(), post.index
    action, begin, prev_action = (array.data for array in (views.action, views.begin, views.prev_action))
    games: dict[int, ChallengeGame] = {}
    playing: set[int] = set()
    asked, requests = 0, views.requests[me]
    while True:
        post.wake.acquire()
        started = time.thread_time_ns()
        tile = int(requests[asked % len(requests)])
        asked += 1
        if tile == CLOSE:
            return
        for lane in post.lanes[tile]:
            if begin[lane]:
                begin[lane] = 0
                if lane not in games:
                    screen = (views.chars[lane], views.colors[lane], views.cursor[lane])
                    games[lane] = ChallengeGame(post.character, post.max_steps, screen)
                number = int(views.record[lane])
                games[lane].start(int(views.seed[lane]), post.records[number - 1] if number else None)
                playing.add(lane)
            elif lane in playing:
                row = games[lane].step(action[lane])
                if row is not None:
                    post.rows.send((lane, row))
                    views.ended[lane] = 1
                    playing.remove(lane)
            else:
                continue
            prev_action[lane] = games[lane].prev_action
            views.steps[me] += 1
        views.busy[me] += time.thread_time_ns() - started
        views.done[me, tile] = views.sent[tile]
        post.finished.release()
