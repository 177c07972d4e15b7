"""Worker processes: spawned, ignoring Ctrl-C, and ending with their parent."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from threading import Thread
from typing import Any

SPAWN = multiprocessing.get_context("spawn")
"""Processes are spawned: forking a process that has threads, such as those of JAX, can deadlock."""

# One worker per core: BLAS, which reads this as NumPy is loaded, must not start a thread per core in each of them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class Stopped(Exception):
    """The parent process is ending its pool."""


class _Worker:
    """State of a process of a pool, set when it starts."""

    stop: Event | None = None


@contextmanager
def pool_of(processes: int, begin: Callable[..., None] | None = None, *args: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes, each of which first calls `begin`; on leaving the block they are asked to stop, and joined.

    They end with their parent, even if that is killed.
    """
    stop = SPAWN.Event()
    pool = ProcessPoolExecutor(processes, SPAWN, _start, (stop, begin, args))
    try:
        yield pool
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _start(stop: Event, begin: Callable[..., None] | None, args: tuple[Any, ...]) -> None:
    _Worker.stop = stop
    follow_parent()
    if begin is not None:
        begin(*args)


def stop_if_asked() -> None:
    """In a process of a pool: abandon what it does by `Stopped`, if the parent is ending."""
    if _Worker.stop is not None and _Worker.stop.is_set():
        raise Stopped


def follow_parent(bequeath: Callable[[], None] | None = None) -> None:
    """In a worker process: ignore SIGINT, which the parent handles, and exit when the parent dies.

    Args:
        bequeath: What to do before that, for example remove temporary files.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, args=(bequeath,), daemon=True).start()


def _end_with_parent(bequeath: Callable[[], None] | None) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a worker follows a parent"
    parent.join()
    if bequeath is not None:
        bequeath()
    os._exit(1)
