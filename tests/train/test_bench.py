"""`python -m train bench`."""

import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.ladder import find
from data.sampling.stream import batches
from data.store.reader import TrajectoryStore
from train.mesh import listed_peak


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "train", "bench", "--rounds", "1", "--seconds", "0.05", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"XLA_FLAGS": ""})


@pytest.mark.slow
def test_training_is_measured_beside_pytorch(atari_store: Path) -> None:
    pytest.importorskip("torch")
    done = bench("--agents", "atari/cnn/1", "--batch", "16", "--store", str(atari_store))
    assert done.returncode == 0, done.stderr
    _, *lines = done.stdout.splitlines()
    assert [line.split(",")[0] for line in lines] == ["atari/cnn/1"]
    for line in lines:
        *_, ours, theirs, _, ratio, _, goal = line.replace(",", "").split()
        assert float(ratio) == pytest.approx(float(ours) / float(theirs), rel=0.02)
        assert goal == "1"


@pytest.mark.slow
def test_a_population_is_measured_beside_one_run(atari_store: Path) -> None:
    done = bench("--agents", "atari/cnn/1", "--batch", "16", "--members", "2", "--store", str(atari_store))
    assert done.returncode == 0, done.stderr
    _, line = done.stdout.splitlines()
    *_, ours, theirs, _, _, _, _ = line.replace(",", "").split()
    assert min(float(ours), float(theirs)) > 0


@pytest.mark.slow
def test_training_for_nethack_is_measured_beside_pytorch(store: Path) -> None:
    pytest.importorskip("torch")
    agents = ("nethack/lstm/16", "nethack/transformer/32")
    done = bench("--game", "nethack", "--agents", *agents, "--batch", "64", "--store", str(store))
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[0] for line in done.stdout.splitlines()[1:]] == list(agents)


def test_what_cannot_be_measured_is_one_line(atari_store: Path) -> None:
    found = importlib.util.find_spec("torch") is not None
    for words, said in (
        (("--batch", "12"), "multiple of 8"),
        (("--game", "nethack", "--batch", "40"), "multiple of 32"),
        (("--game", "Pong", "--store", str(atari_store)), "holds games of Breakout" if found else "pip install"),
        (("--agents", "atari/impala/1", "--store", str(atari_store)), "begin with atari/cnn" if found else "pip"),
    ):
        done = bench(*words)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


SLOW = pytest.param("nethack/paper/190k", marks=pytest.mark.slow)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nethack/lstm/16", "nethack/transformer/64x2", SLOW])
def test_pytorch_trains_the_same_network(name: str, store: Path) -> None:
    """Logits of two windows, of which the second goes on from the memory of the first."""
    torch = pytest.importorskip("torch")
    from train.bench import torchnethack

    agent: Any = find(name)
    # Biases and scales that begin as 0 and 1 are made to count.
    noise = np.random.default_rng(0)
    params = jax.jit(agent.init)(jax.random.key(0))
    params = jax.tree.map(lambda x: np.asarray(x) + noise.normal(0, 0.05, x.shape).astype(np.float32), params)
    network, carry, theirs = torchnethack.module_of(agent, params), agent.initial_carry(2), None
    apply = jax.jit(agent.apply)
    for batch in itertools.islice(batches(TrajectoryStore.open(store), "train", 2, 8, 0, order="windows"), 2):
        batch = batch._replace(first=np.zeros_like(batch.first))
        observation = jax.tree.map(jnp.asarray, batch.observation)
        inputs = torchnethack.inputs_of(agent, batch)
        if agent.prompts:
            # Of the memory of prompts PyTorch is given what it is at the start of each window.
            carry = carry[0], agent.initial_carry(2)[1]
        logits, carry = apply(params, observation, jnp.asarray(batch.first), carry)
        with torch.no_grad():
            found, theirs = network(inputs, theirs)
        np.testing.assert_allclose(found.numpy(), np.asarray(logits), atol=1e-4)


def test_pytorch_trains_the_same_network_for_atari(atari_store: Path) -> None:
    torch = pytest.importorskip("torch")
    from train.bench import torchatari

    opened = TrajectoryStore.open(atari_store)
    agent: Any = find("atari/cnn/3", len(opened.manifest["actions"]))
    params = jax.jit(agent.init)(jax.random.key(0))
    batch = next(batches(opened, "train", 2, 8, 0, order="windows"))
    logits, _ = jax.jit(agent.apply)(params, jax.tree.map(jnp.asarray, batch.observation), jnp.asarray(batch.first), ())
    with torch.no_grad():
        found, _ = torchatari.module_of(agent, params)(torchatari.inputs_of(agent, batch), None)
    np.testing.assert_allclose(found.numpy(), np.asarray(logits), atol=1e-4)


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
