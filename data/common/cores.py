"""The cores of this machine."""

import os


def cores() -> int:
    """Number of cores that this process may use: fewer than the machine has, where its affinity is limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
