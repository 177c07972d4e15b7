import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import pytest

from agents.ladder import find
from train.config import TrainConfig
from train.loop import train

AGENT = "nethack/lstm/16"
STEP = find(AGENT).cost(8).train_flops("exact") * 8 * 8
"""FLOPs of a training step of the runs."""


@pytest.fixture(scope="session")
def _trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with budgets of 10 and 60 steps. It is copied, and not changed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with jax.numpy_dtype_promotion("standard"):
        train(TrainConfig(store, folder, AGENT, (10.0 * STEP, 60.0 * STEP), lanes=8, window=8), progress=False)
    return folder


@pytest.fixture(scope="session")
def copy_of_run(_trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a copy of a trained run, of this name, in a folder of its own."""

    def copy(name: str) -> Path:
        folder = tmp_path_factory.mktemp("runs") / name
        shutil.copytree(_trained, folder)
        return folder

    return copy
