"""The runs of a sweep as tasks of an existing Ray cluster, whose machines share its folder and store.

Ray chooses the machines, and starts a task again whose machine has died; the run goes on there from its checkpoint.
State stays in files: a task that finds its run claimed, or done, waits or ends.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from data.common.cli import UserError


def run_on_ray(folder: Path, names: list[str], tick: Callable[[], None]) -> None:
    """Run the named runs of a sweep as Ray tasks, until all have ended: on a GPU each if the cluster has any, else on
    a CPU core each.

    Args:
        folder: Folder of the sweep.
        names: Names of its runs, in the order in which they are to be started.
        tick: Called about once a second.

    Raises:
        UserError: Ray is not installed, or no cluster is running.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--executor ray needs Ray: pip install 'isoplay[cluster]'") from None
    try:
        # The cluster of RAY_ADDRESS, or the one that this machine belongs to.
        ray.init(address="auto", log_to_driver=False)
    except ConnectionError:
        raise UserError("no Ray cluster is running: `ray start --head`, or set RAY_ADDRESS") from None
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0) > 0)
        options = {"num_cpus": 1, "num_gpus": gpus, "max_retries": -1, "retry_exceptions": [OSError]}
        remote: Any = ray.remote(**options)
        task = remote(_complete)
        left = [task.remote(str(folder.resolve()), name, pinned=not gpus) for name in names]
        while left:
            ended, left = ray.wait(left, timeout=1)
            ray.get(ended)
            tick()
    finally:
        ray.shutdown()


def _complete(folder: str, name: str, *, pinned: bool) -> None:
    """A task: train and evaluate one run."""
    if pinned:
        _take_core()
    from laws.sweep.work import Worker
    from train.compile.cache import keep_programs

    keep_programs()
    Worker(Path(folder)).work(only=name)


@cache
def _take_core() -> int | None:
    """Pin this process to a core that no other one has taken, for its life; None if there is none left.

    Who takes a core locks a file, whose descriptor is returned.
    """
    for core in sorted(os.sched_getaffinity(0)):
        path = Path(tempfile.gettempdir(), f"isoplay-core-{core}.lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        os.sched_setaffinity(0, {core})
        return lock
    return None
