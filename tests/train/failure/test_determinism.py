"""`--deterministic` reaches XLA, which knows the flag."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.common.cli import UserError
from train.failure.determinism import FLAG, require_deterministic_kernels, use_deterministic_kernels

ROOT = Path(__file__).resolve().parents[3]


def test_the_flag_is_added_to_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    with pytest.raises(UserError, match="XLA_FLAGS"):
        require_deterministic_kernels()
    use_deterministic_kernels()
    require_deterministic_kernels()
    assert os.environ["XLA_FLAGS"] == f"--xla_force_host_platform_device_count=8 {FLAG}"


@pytest.mark.parametrize(("flag", "known"), [(FLAG, True), (FLAG.replace("ops", "opps"), False)])
def test_xla_knows_the_flag(flag: str, known: bool) -> None:
    environment = {**os.environ, "XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) == known, done.stderr
