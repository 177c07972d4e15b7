"""`python -m train bench`."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from train.mesh import listed_peak


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


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v5", 459e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("TPU v6 lite", 918e12),
        ("TPU v4", 275e12),
        ("TPU v4 lite", 138e12),
        ("TPU7x", 1153.5e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA A1000 Laptop GPU", None),
        ("TPU v50", None),
        ("cpu", None),
    ],
)
def test_the_peak_of_a_device_is_that_of_its_longest_name(kind: str, peak: float | None) -> None:
    assert listed_peak(kind) == peak
