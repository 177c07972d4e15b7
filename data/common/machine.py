"""What this process may use of its machine: cores and memory."""

import fcntl
import math
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_GROUPS, _MOUNT, _MEMORY = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"), Path("/proc/meminfo")


def cores() -> int:
    """Number of cores that this process may use; see `allowed`."""
    return len(allowed())


def allowed() -> list[int]:
    """Numbers of the cores that this process may use.

    Fewer than the machine has where the affinity is limited (`taskset`, Slurm), and no more than the CPU time that a
    container may take (the quota of its control group), rounded up.
    """
    count = os.cpu_count() or 1
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(count))
    groups = _GROUPS.read_text() if _GROUPS.exists() else ""
    return mine[: max(1, math.ceil(min(quotas(groups, _MOUNT), default=len(mine))))]


@cache
def take_core() -> int | None:
    """Pin this process to a core that no other one of this machine has taken, for its life; None if there is none left.

    Who takes a core locks a file, whose descriptor is returned.
    """
    for core in allowed():
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


def quotas(groups: str, mount: Path) -> Iterator[float]:
    """Cores that each control group of a process allows, as far as it has a quota; arguments as of `folders`."""
    for folder in folders(groups, mount, "cpu"):
        yield from _quota(folder)


def available() -> int:
    """Bytes of memory that this process can take without swapping: of the machine, and of its control groups."""
    groups = _GROUPS.read_text() if _GROUPS.exists() else ""
    for line in _MEMORY.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return max(0, min([int(line.split()[1]) * 1024, *memory_left(groups, _MOUNT)]))
    raise RuntimeError(f"{_MEMORY} has no MemAvailable")


def memory_left(groups: str, mount: Path) -> Iterator[int]:
    """Bytes that each control group of a process has left, as far as it has a limit; arguments as of `folders`.

    The kernel drops pages of files that were not used lately before it kills, so they count as free.
    """
    for folder in folders(groups, mount, "memory"):
        for limit, usage, dropped in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            try:
                most, used, stat = ((folder / name).read_text() for name in (limit, usage, "memory.stat"))
            except OSError:
                continue
            if most.strip() != "max":
                files = next((int(line.split()[1]) for line in stat.splitlines() if line.split()[0] == dropped), 0)
                yield int(most) - int(used) + files


def folders(groups: str, mount: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups of a process, and of those around them.

    Args:
        groups: The content of /proc/self/cgroup: lines of HIERARCHY:CONTROLLERS:PATH; version 2 has no controllers.
        mount: Where control groups are mounted. A container may see its own group there, whatever PATH says.
        controller: What they limit: cpu, memory.
    """
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = mount / controllers if controllers else mount
        # `cpu` may be a link to `cpu,cpuacct`, or the only name.
        top = top if top.is_dir() else mount / controller
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            yield folder


def _quota(folder: Path) -> Iterator[float]:
    """Microseconds of CPU time in each period over those of the period, in the files of version 2 or 1."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = [word for name in names for word in (folder / name).read_text().split()]
        except OSError:
            continue
        if len(words) == 2 and words[0] not in ("max", "-1"):
            yield int(words[0]) / int(words[1])
