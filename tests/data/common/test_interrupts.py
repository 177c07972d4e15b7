"""An interrupt gets through wherever it arrives."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

DROPPED = """
import gc, os, signal, sys, time
from data.common.cli import exit_with

left = [int(sys.argv[1])]

def in_callback(phase, info):
    if left:
        os.kill(os.getpid(), left.pop())
        time.sleep(0)  # Python looks for signals: here the handler raises

def work():
    gc.callbacks.append(in_callback)
    gc.collect()
    print("dropped", flush=True)
    for _ in range(60_000):
        gc.collect()
        time.sleep(0.01)

exit_with(lambda words: work, [])
"""
"""A command that is sent a signal in a callback of the garbage collector, whose exceptions Python drops."""


def ran(program: str, number: int) -> subprocess.CompletedProcess[str]:
    command, environment = [sys.executable, "-c", program, str(number)], {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_callback_ends_the_command(number: int) -> None:
    done = ran(DROPPED, int(number))
    assert done.stdout == "dropped\n"
    assert done.stderr == "interrupted: start the same command again to go on\n"
    assert done.returncode == 128 + number


def test_other_exceptions_in_a_callback_are_reported() -> None:
    program = DROPPED.replace("os.kill(os.getpid(), left.pop())", "left.pop(); 1 / 0").replace("60_000", "1")
    done = ran(program, 0)
    assert done.returncode == 0
    assert "ZeroDivisionError" in done.stderr
