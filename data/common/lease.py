"""The lease of a run's folder: one process holds it, and renews it as long as it lives.

`lock/N` names the holder; the file's time is that of the last renewal. The largest N counts. A released lease is empty.
Whoever takes over creates N + 1, which succeeds for one, and then removes the older ones. The newest is never removed,
so that a process that was suspended half-way finds a larger number and gives up. It works without flock, on NFS and in
buckets.
"""

import contextlib
import errno
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from data.common.cli import UserError
from data.common.files import create
from data.common.paths import changed, touch

T = TypeVar("T")
FOLDER = "lock"
SECONDS = 60.0
"""How long a lease lasts from its last renewal; it is renewed four times as often."""
STALE_SECONDS = 0.1
"""Between looks at a folder whose listing is older than its files."""
POLL_SECONDS = 1.0
"""Between looks at what others hold."""


@dataclass(frozen=True)
class Holder:
    """A process on a machine."""

    host: str
    machine: str
    """Identity of the running system and of its process numbers: boot id and PID namespace of Linux."""
    pid: int
    started: str
    """When the process started, in clock ticks since the machine did."""

    @staticmethod
    def me() -> "Holder":
        """This process."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        machine = f"{boot} {os.readlink('/proc/self/ns/pid')}"
        return Holder(socket.gethostname(), machine, os.getpid(), _started(os.getpid()))

    @property
    def local(self) -> bool:
        """Whether the process is, or was, on this machine."""
        return self.machine == Holder.me().machine

    @property
    def lives(self) -> bool:
        """Whether the process, on this machine, runs."""
        return _started(self.pid) == self.started


class Held(UserError):
    """Another process holds the lease."""


@contextlib.contextmanager
def held(run: Path) -> Iterator[None]:
    """Hold the lease of a run's folder, which is made. Should another process take it over, this one exits with 1.

    Raises: Held: another process holds it.
    """
    text = json.dumps(asdict(Holder.me()))
    mine, done = _acquire(run, text), threading.Event()
    renewal = threading.Thread(target=_renew, args=(run, mine, text, done), daemon=True)
    renewal.start()
    try:
        yield
    finally:
        done.set()
        renewal.join()
        if mine.exists():
            mine.write_text("")


def in_turn(
    items: Sequence[T],
    claim: Callable[[T], Path],
    do: Callable[[T], object],
    done: Callable[[T], bool] = lambda item: False,
) -> None:
    """Do each of several things that other processes do, too: those that another holds are looked at again later.

    Args:
        items: The things, in the order in which they are claimed.
        claim: The folder whose lease is held meanwhile.
        do: Does one; it may find that another process has done it just before.
        done: Whether one is done, so that it needs no lease.
    """
    left = list(items)
    while left:
        busy = []
        for item in left:
            if done(item):
                continue
            try:
                with held(claim(item)):
                    do(item)
            except Held:
                busy.append(item)
        if busy and len(busy) == len(left):
            time.sleep(POLL_SECONDS)
        left = busy


def holder_of(run: Path) -> tuple[Holder, float] | None:
    """Who holds the lease of a run, and for how many seconds unless it is renewed; None if no process does."""
    return _look(run)[1]


def refuse_if_held(run: Path) -> int:
    """Check that no process holds the lease of a run, and return the number of the newest lease, 0 if there is none.

    Raises: Held: one does; the message names it.
    """
    newest, found = _look(run)
    if found is None:
        return newest
    holder, left = found
    by = f"{run} is being trained by process {holder.pid} on {holder.host}"
    if holder.local:
        raise Held(f"{by}: stop that one first, or choose another --run")
    raise Held(f"{by}: stop that one first; if that host is gone, start again in {left:.0f} s")


def _look(run: Path) -> tuple[int, tuple[Holder, float] | None]:
    """The number of the newest lease, 0 if there is none; and who holds it, and how long it lasts."""
    began = time.monotonic()
    while True:
        newest = _newest(run / FOLDER)
        path = run / FOLDER / str(newest)
        try:
            text, age = (path.read_text(), time.time() - changed(path)) if newest else ("", 0.0)
            break
        except OSError as error:
            # There is a newer one now; NFS may list the older one for a while.
            if error.errno not in (errno.ENOENT, errno.ESTALE) or time.monotonic() > began + SECONDS:
                raise
            time.sleep(STALE_SECONDS)
    if not text:
        return newest, None
    holder, left = Holder(**json.loads(text)), SECONDS - age
    lives = holder.lives if holder.local else left > 0
    return newest, (holder, left) if lives else None


def _acquire(run: Path, text: str) -> Path:
    folder = run / FOLDER
    while True:
        mine = folder / str(refuse_if_held(run) + 1)
        folder.mkdir(parents=True, exist_ok=True)
        if not create(mine, text):
            continue
        newest = _newest(folder)
        for path in _leases(folder):
            if int(path.name) < newest:
                path.unlink(missing_ok=True)
        if newest == int(mine.name):
            return mine


def _leases(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.isdecimal()] if folder.exists() else []


def _newest(folder: Path) -> int:
    """The number of the newest lease, 0 if there is none."""
    return max((int(path.name) for path in _leases(folder)), default=0)


def _renew(run: Path, mine: Path, text: str, done: threading.Event) -> None:
    """Renew the lease until `done`; exit the process once another may hold it."""
    renewed = time.monotonic()
    while not done.wait(SECONDS / 4):
        try:
            if _newest(run / FOLDER) != int(mine.name):
                _exit(f"{run} was taken over by another process while this one was suspended")
            touch(mine, text)
            renewed = time.monotonic()
        except OSError as error:
            if time.monotonic() - renewed > SECONDS:
                _exit(f"the lease of {run} can't be renewed: {error}")


def _exit(why: str) -> None:
    print(f"error: {why}", file=sys.stderr, flush=True)
    os._exit(1)


def _started(pid: int) -> str:
    """When a process of this machine started, in clock ticks; empty if it is dead."""
    try:
        # After the name, in parentheses: the state is field 3, the start field 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
