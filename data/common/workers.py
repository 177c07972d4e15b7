"""Worker processes: spawned, ignoring Ctrl-C, and ending with their parent."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from threading import Thread

SPAWN = multiprocessing.get_context("spawn")
"""Processes are spawned: forking a process that has threads, such as those of JAX, can deadlock."""

# One worker per core: BLAS, which reads this as NumPy is loaded, must not start a thread per core in each of them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


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
