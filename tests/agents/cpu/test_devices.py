"""One device per core, where nothing else says how many devices there are."""

import os
import subprocess
import sys

import pytest

CODE = """
from agents.cpu.devices import spread_over_cores
spread_over_cores({lanes})
import jax
print(jax.device_count())
"""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.parametrize(
    ("lanes", "flags", "devices"),
    [(CORES, "", CORES), (1, "", 1), (CORES, "--xla_force_host_platform_device_count=3", 3)],
)
def test_devices_divide_the_lanes_and_the_environment_wins(lanes: int, flags: str, devices: int) -> None:
    command = [sys.executable, "-c", CODE.format(lanes=lanes)]
    done = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=True)
    assert int(done.stdout) == devices
