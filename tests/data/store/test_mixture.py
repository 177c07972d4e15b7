"""Several stores read as one."""

import dataclasses
import itertools
from pathlib import Path

import jax
import numpy as np
import pytest

from data.common.cli import UserError
from data.importers.parquet import import_parquet
from data.sampling.stream import Order, batches, dev_batches, training_sampler
from data.spec import Batch
from data.store.mixture import Mixture, open_stores
from data.store.reader import TrajectoryStore
from tests.data.importers.test_atari import write as write_parquet
from tests.data.sampling.test_stream import assert_equal
from tests.data.store.stores import write
from train.config import TrainConfig
from train.folder import read_run, store_of
from train.loop import train
from train.plan import Plan

ONE, TWO = (300, 5, 700, 40, 513), (90, 256, 33, 800, 120, 64, 20, 444)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrajectoryStore, TrajectoryStore]:
    folder = tmp_path_factory.mktemp("mixture")
    # The second store's games are others: seeds count from 100 on.
    one, two = write(folder / "one", ONE), write(folder / "two", TWO, first=100)
    return TrajectoryStore.open(one), TrajectoryStore.open(two)


def lanes_of(batch: Batch, lanes: slice, episodes: int) -> Batch:
    """Some lanes of a batch, their episodes counted from `episodes` on."""
    observation = {name: array[lanes] for name, array in batch.observation.items()}
    rows = np.where(batch.mask, batch.episode - episodes, -1)
    return Batch(observation, batch.action[lanes], batch.first[lanes], batch.mask[lanes], rows[lanes])


@pytest.mark.parametrize("order", ["lanes", "windows"])
@pytest.mark.parametrize(("weights", "shares"), [((), (4, 4)), ((3, 1), (6, 2)), ((0.2, 0.9), (1, 7))])
def test_each_store_has_lanes_by_weight(
    stores: tuple[TrajectoryStore, TrajectoryStore], order: Order, weights: tuple[float, ...], shares: tuple[int, int]
) -> None:
    mixture = Mixture(stores, weights)
    alone = [batches(store, "train", lanes, 16, 3, order=order) for store, lanes in zip(stores, shares, strict=True)]
    mixed = batches(mixture, "train", 8, 16, 3, order=order)
    for batch, one, two in itertools.islice(zip(mixed, *alone, strict=True), 40):
        assert_equal(lanes_of(batch, slice(shares[0]), 0), one)
        assert_equal(lanes_of(batch, slice(shares[0], 8), len(ONE)), two)


def test_samples_are_those_of_the_batches(stores: tuple[TrajectoryStore, TrajectoryStore]) -> None:
    mixture = Mixture(stores, (1, 3))
    sampler = training_sampler(mixture, mixture.rows("train"), 8, 16, 3, "lanes")
    held = [int(batch.mask.sum()) for batch in itertools.islice(batches(mixture, "train", 8, 16, 3), 60)]
    assert [sampler.samples(step) for step in range(61)] == [0, *np.cumsum(held)]


@pytest.mark.parametrize("order", ["lanes", "windows"])
def test_two_hosts_read_what_one_would(stores: tuple[TrajectoryStore, TrajectoryStore], order: Order) -> None:
    mixture = Mixture(stores, (3, 2))
    whole = batches(mixture, "train", 8, 16, 3, order=order)
    hosts = [batches(mixture, "train", 8, 16, 3, lane_range=block, order=order) for block in (range(4), range(4, 8))]
    for batch, *halves in itertools.islice(zip(whole, *hosts, strict=True), 20):
        for half, block in zip(halves, (slice(4), slice(4, 8)), strict=True):
            assert_equal(lanes_of(batch, block, 0), half)


def test_dev_episodes_are_those_of_all(stores: tuple[TrajectoryStore, TrajectoryStore]) -> None:
    mixture = Mixture(stores)
    seen = np.concatenate([batch.episode[batch.mask] for batch in dev_batches(mixture, 3, 16)])
    rows, counts = np.unique(seen, return_counts=True)
    np.testing.assert_array_equal(rows, mixture.rows("dev"))
    np.testing.assert_array_equal(counts, mixture.lengths[rows])
    assert {bool(row < len(ONE)) for row in rows} == {True, False}


def test_what_cannot_be_mixed_is_named(stores: tuple[TrajectoryStore, TrajectoryStore], tmp_path: Path) -> None:
    one, two = (store.path for store in stores)
    with pytest.raises(UserError, match="3 weights for 2 stores"):
        open_stores([one, two], (1, 2, 3))
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="each must be above 0"):
            open_stores([one, two], (1, weight))
    with pytest.raises(UserError, match="weights are for several stores"):
        open_stores([one], (1,))
    with pytest.raises(UserError, match="mixed with itself"):
        open_stores([one, two, one.parent / "two" / ".." / "one"])
    with pytest.raises(UserError, match=r"8 lanes leave none for .*two"):
        next(batches(open_stores([one, two], (100, 1)), "train", 8, 16, 3))
    import_parquet(write_parquet(tmp_path / "parquet", count=1), tmp_path / "atari", game="Breakout", workers=1)
    with pytest.raises(UserError, match="another game than"):
        open_stores([one, tmp_path / "atari"])


@pytest.mark.slow
def test_a_run_learns_from_several_stores(stores: tuple[TrajectoryStore, TrajectoryStore], tmp_path: Path) -> None:
    one, two = (store.path for store in stores)
    config = TrainConfig(
        one, tmp_path / "run", "nethack/lstm/16", flops=(1e9,), lanes=8, window=8, mix=(two,), weights=(1.0, 3.0)
    )
    assert set(Plan.of(config).sampler.at(0)[:, 2] >= 3) == {True, False}
    with jax.numpy_dtype_promotion("standard"):  # Optax's bias correction asks for it
        train(config, progress=False)
    described = read_run(tmp_path / "run")
    assert described["store"]["paths"] == [str(one), str(two)]
    opened = store_of(tmp_path / "run", described)
    assert isinstance(opened, Mixture)
    assert opened.weights == (1.0, 3.0)
    with pytest.raises(UserError, match="another weights"):
        train(dataclasses.replace(config, weights=(3.0, 1.0)), progress=False)
    with pytest.raises(UserError, match=r"another .*store"):
        train(dataclasses.replace(config, store=two, mix=(one,)), progress=False)
