"""Trainings by several real processes on this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.train.runs import AGENT, LANES, STEP, WINDOW

ROOT = Path(__file__).resolve().parents[3]
STEPS = 100

MAIN = """
import itertools, os, signal, sys, time
from pathlib import Path

import jax

from data.common.cli import UserError
from train.__main__ import main
from train.hosts.agree import Agreement

event, step, process, *sys.argv[1:] = sys.argv[1:]
decide, steps = Agreement.decide, itertools.count(1)

def interrupt_after_waiting():
    Path("reached").touch()
    while not Path("go").exists():
        time.sleep(0.05)
    signal.raise_signal(signal.SIGINT)

def refuse():
    raise UserError("no")

EVENTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "refuse": refuse,
    "interrupt after waiting": interrupt_after_waiting,
}

def decide_after_event(self, **votes):
    if next(steps) == int(step) and jax.process_index() == int(process):
        EVENTS[event]()
    return decide(self, **votes)

Agreement.decide = decide_after_event
main()
"""
"""`python -m train`, in which something happens after a step of this start in one of the processes."""


@dataclass(frozen=True)
class Done:
    """How a process ended."""

    code: int
    said: str


def options(store: Path, run: Path, *more: str) -> list[str]:
    sizes = ["--lanes", str(LANES), "--window", str(WINDOW), "--flops", str(float(STEP * STEPS)), "--log-every", "1"]
    # A higher learning rate amplifies differences of rounding.
    return ["bc", "--store", str(store), "--run", str(run), "--agent", AGENT, "--lr", "3e-3", *sizes, *more]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def launch(
    words: list[str],
    folder: Path,
    processes: int,
    event: tuple[str, int, int] = ("none", 0, 0),
    more: Sequence[list[str]] = (),
) -> list[subprocess.Popen[str]]:
    """Start `processes` processes in `folder`, each with one CPU device; `more` are further options of each."""
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}
    joined = ["--coordinator", f"localhost:{free_port()}", "--processes", str(processes), "--process-id"]
    if processes == 1:
        environment["JAX_NUM_CPU_DEVICES"] = "1"
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-c", MAIN, *map(str, event), *words),
                *([*joined, str(process)] if processes > 1 else []),
                *(more[process] if more else []),
            ],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process in range(processes)
    ]


def wait(started: list[subprocess.Popen[str]]) -> list[Done]:
    """Wait until all have ended."""
    return [Done(process.wait(), said) for process in started for said, _ in [process.communicate()]]
