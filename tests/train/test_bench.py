"""`python -m train bench`."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "train", "bench", "--rounds", "1", "--seconds", "0.05", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"XLA_FLAGS": ""})


def test_training_is_measured_beside_pytorch(atari_store: Path) -> None:
    pytest.importorskip("torch")
    done = bench("--widths", "1", "--batch", "16", "--store", str(atari_store))
    assert done.returncode == 0, done.stderr
    _, *lines = done.stdout.splitlines()
    assert [line.split(",")[1].strip() for line in lines] == ["w = 1"]
    for line in lines:
        *_, ours, theirs, _, ratio, _, goal = line.replace(",", "").split()
        assert float(ratio) == pytest.approx(float(ours) / float(theirs), rel=0.02)
        assert goal == "1"


def test_what_cannot_be_measured_is_one_line(atari_store: Path) -> None:
    found = importlib.util.find_spec("torch") is not None
    for words, said in (
        (("--batch", "12"), "multiple of 8"),
        (("--game", "Pong", "--store", str(atari_store)), "holds games of Breakout" if found else "pip install"),
        (("--game", "nethack"), "unknown Atari game" if found else "pip install"),
    ):
        done = bench(*words)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
