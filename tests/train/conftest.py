"""What several tests of training share."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from data.collect.atari import collect_atari
from tests.train.runs import config
from train.config import TrainConfig
from train.loop import train


@pytest.fixture(autouse=True)
def _optax_promotes() -> Iterator[None]:
    """Optax's bias correction raises a float to an integer power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="session")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A whole run of behavioural cloning, with dropout."""
    done = config(store, tmp_path_factory.mktemp("runs") / "run", dropout=0.1)
    with jax.numpy_dtype_promotion("standard"):
        train(done, progress=False)
    return done


@pytest.fixture(scope="session")
def atari_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few games of random play of Breakout."""
    path = tmp_path_factory.mktemp("breakout") / "store"
    collect_atari(path, game="Breakout", expert="random", episodes=6, workers=2, dev_fraction=0.4)
    return path
