"""`python -m train`: mistakes are one line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.train.runs import AGENT, STEP

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["bc", "--learning-rate", "1"], "learning-rate"),
        (["bc", "--store", "nowhere", "--agent", AGENT, "--flops", "1e9", "--run", "new"], "nowhere"),
        (["rl", "--run", "new"], "game"),
        (["rl", "--game", "Brekout", "--run", "new"], "did you mean Breakout"),
        (["rl", "--game", "Breakout", "--run", "new", "--minibatches", "7"], "minibatches"),
    ],
)
def test_the_command_names_what_is_wrong_and_exits_with_2(words: list[str], named: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "train", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert named in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_nothing_half_written(store: Path, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("600k")
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    options = ["--store", str(store), "--agent", "nethack/lstm/96", "--flops", str(STEP * 400.0)]
    command = [sys.executable, "-m", "train", "bc", *options, "--run", str(disk / "run"), "--lanes", "8"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "no space left" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(disk.glob("run/budgets/*/budget.json"))
