"""`python -m train compile`, with the compilers that are installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from train.compile.topology import installed

ROOT = Path(__file__).resolve().parents[3]
TPU = installed("libtpu")
GPU = any(installed(f"jax_plugins.xla_cuda{version}") for version in (12, 13))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "train", "compile", "--agent", "nethack/lstm/16", "--lanes", "4", "--window", "8"]
    everything = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([*command, *words], env=everything, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--target", "v9:2x2"), "no target 'v9:2x2'"),
        (("--target", "h100:\u00b2"), "no target"),
        (("--target", "v5e:2x2", "--dump", "nowhere/hlo"), "there is no folder nowhere"),
        pytest.param(("--target", "v5e:2x2"), "isoplay[tpu]", marks=pytest.mark.skipif(TPU, reason="has libtpu")),
        pytest.param(("--target", "h100:1"), "isoplay[cuda]", marks=pytest.mark.skipif(GPU, reason="has CUDA plugin")),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], message: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        pytest.param("v5e:2x2", marks=pytest.mark.skipif(not TPU, reason="needs libtpu")),
        pytest.param("h100:1", marks=pytest.mark.skipif(not GPU, reason="needs JAX's CUDA plugin")),
    ],
)
def test_json_is_one_object(target: str, tmp_path: Path) -> None:
    done = run("--target", target, "--json", "--dump", str(tmp_path / "hlo"))
    assert done.returncode == 0, done.stderr
    reading = json.loads(done.stdout)
    assert reading["fits"]
    # Of a TPU, XLA counts one-hot products too.
    assert reading["flops_exact"] <= 1.3 * reading["flops_xla"]
    assert reading["bytes_accessed"] > 0
    assert (reading["launches"] is None) == target.startswith("v5e")
    assert (reading["network_bytes"] > 0) == target.startswith("v5e")
    assert "ENTRY" in (tmp_path / "hlo").read_text()
    done = run("--target", target, "--json", "--members", "4")
    assert done.returncode == 0, done.stderr
    four = json.loads(done.stdout)
    assert four["samples"] == 4 * reading["samples"]
    assert four["flops_exact"] == 4 * reading["flops_exact"]
    # A device launches each kernel once for all its members; several devices have a member each, and no sums in common.
    if target == "h100:1":
        assert four["launches"] < 2 * reading["launches"]
    else:
        assert four["network_bytes"] < reading["network_bytes"]
