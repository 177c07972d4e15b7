"""Calls as tasks of an existing Ray cluster, whose machines share the files that the calls read and write.

Ray chooses the machines, and starts a task again whose machine has died. State stays in files: a task that finds its
work claimed waits, and one that finds it done ends.
"""

from collections.abc import Callable, Sequence
from typing import Any

from data.common.cli import UserError
from data.common.machine import take_core


def run_tasks(calls: Sequence[Callable[[], None]], tick: Callable[[], None], *, gpus: bool) -> None:
    """Run calls as Ray tasks until all have ended.

    Args:
        calls: What to run, in the order in which they are to be started; picklable.
        tick: Called about once a second.
        gpus: Whether a task takes a GPU if the cluster has any; else it takes a CPU core, to which it is pinned.

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
        number = int(gpus and ray.cluster_resources().get("GPU", 0) > 0)
        options = {"num_cpus": 1, "num_gpus": number, "max_retries": -1, "retry_exceptions": [OSError]}
        remote: Any = ray.remote(**options)
        task = remote(_call)
        left = [task.remote(call, pinned=not number) for call in calls]
        while left:
            ended, left = ray.wait(left, timeout=1)
            ray.get(ended)
            tick()
    finally:
        ray.shutdown()


def _call(call: Callable[[], None], *, pinned: bool) -> None:
    """A task."""
    if pinned:
        take_core()
    call()
