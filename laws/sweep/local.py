"""The workers of a sweep on this machine: a process for each core or accelerator, replaced when it dies."""

import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from data.common.cli import Signalled, UserError, raise_interrupts
from data.common.machine import allowed, available
from data.common.workers import SPAWN, follow_parent

MOST_DEATHS = 5
"""Deaths of workers in a row, for each place and without progress in between, after which the sweep stops."""
GOOGLE = "0x1ae0"
"""PCI vendor of TPUs."""
CHIP = {"TPU_PROCESS_BOUNDS": "1,1,1", "TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1"}
"""What tells libtpu that a process has one chip, and no others beside it."""
MEMORY = 1.5 * 2**30
"""Bytes of memory that a worker on a CPU is given at least."""


@dataclass(frozen=True)
class Slot:
    """A place for a worker: the cores it may use, and what its environment says of devices."""

    cores: frozenset[int]
    environment: Mapping[str, str]


def slots(workers: int | None) -> list[Slot]:
    """Places for workers: one for each GPU or TPU chip of the machine, else one for each core that has enough memory.

    Args:
        workers: Number of workers; None is as many as the machine has places for.
    """
    mine = allowed()
    devices = [{"CUDA_VISIBLE_DEVICES": name} for name in _gpus()]
    devices += [CHIP | {"TPU_VISIBLE_CHIPS": name} for name in tpus(Path("/"))]
    if devices:
        count = workers or len(devices)
        return [Slot(frozenset(mine), devices[number % len(devices)]) for number in range(count)]
    count = workers or max(1, min(len(mine), int(available() / MEMORY)))
    shares = [frozenset(mine[number::count]) or frozenset(mine[number % len(mine) :][:1]) for number in range(count)]
    return [Slot(share, {}) for share in shares]


def _gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them; without starting any of them."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name for name in told.split(",") if name and name != "-1"]
    return [str(number) for number in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))]


def tpus(root: Path) -> list[str]:
    """Numbers of the TPU chips of this host, as TPU_VISIBLE_CHIPS has them; without starting any of them.

    Their drivers make /dev/accelN or, of later kinds, /dev/vfio/N. None where libtpu is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        return []
    told = os.environ.get("TPU_VISIBLE_CHIPS")
    if told is not None:
        return [name for name in told.split(",") if name]
    vendors = root.glob("sys/bus/pci/devices/*/vendor")
    is_google = any(path.read_text().strip() == GOOGLE for path in vendors)
    found = [*root.glob("dev/accel[0-9]*"), *(root.glob("dev/vfio/[0-9]*") if is_google else ())]
    return [str(number) for number in range(len(found))]


def run_workers(folder: Path, places: list[Slot], progress: Callable[[], int], tick: Callable[[], None]) -> None:
    """Run a worker in every place until there is no run left for them.

    A worker that dies is replaced. An interrupt stops them all, which save what they have.

    Args:
        folder: Folder of the sweep.
        places: Where to run workers.
        progress: A number that changes when there is progress.
        tick: Called about once a second.

    Raises:
        UserError: A worker was refused something that the user can mend, or workers die and nothing gets done.
    """
    workers: dict[int, BaseProcess] = {}
    waiting, deaths, before = list(range(len(places))), 0, progress()
    try:
        while workers or waiting:
            while waiting:
                number = waiting.pop()
                workers[number] = _start(folder, number, places[number])
            ended = wait([worker.sentinel for worker in workers.values()], timeout=1)
            tick()
            for number, worker in list(workers.items()):
                if worker.sentinel not in ended:
                    continue
                worker.join()
                del workers[number]
                if worker.exitcode == 2:
                    raise UserError(f"a worker stopped: see the end of {_log(folder, number)}")
                if worker.exitcode:
                    last, before = before, progress()
                    deaths = deaths + 1 if before == last else 1
                    if deaths >= MOST_DEATHS * len(places):
                        raise UserError(
                            f"workers died {deaths} times, the last with exit code {worker.exitcode}, and nothing got"
                            f" done: see the end of {_log(folder, number)}"
                        )
                    waiting.append(number)
    finally:
        for worker in workers.values():
            worker.terminate()
        for worker in workers.values():
            worker.join()


def _log(folder: Path, number: int) -> Path:
    return folder / "logs" / f"{socket.gethostname()}-{number}.log"


def _start(folder: Path, number: int, slot: Slot) -> BaseProcess:
    """Start a worker, which inherits cores and environment."""
    worker = SPAWN.Process(target=_work, args=(folder, _log(folder, number)), name=f"worker {number}")
    mine, before = os.sched_getaffinity(0), {name: os.environ.get(name) for name in slot.environment}
    try:
        os.sched_setaffinity(0, slot.cores)
        os.environ.update(slot.environment)
        worker.start()
    finally:
        os.sched_setaffinity(0, mine)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
    return worker


def _work(folder: Path, log: Path) -> None:
    """The main function of a worker process."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    follow_parent()
    raise_interrupts()
    try:
        from laws.sweep.work import Worker
        from train.compile.cache import keep_programs

        keep_programs()
        Worker(folder).work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except Signalled as error:
        sys.exit(128 + error.args[0])
