import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.common.cli import UserError
from data.sampling.stream import batches, dev_batches
from data.spec import NO_ACTION, Batch, NetHackSteps
from data.store.manifest import DamagedStore
from data.store.reader import TrajectoryStore
from tests.data.codec.test_codec import random_steps
from tests.data.store.stores import flip, shard
from tests.data.store.stores import write as write_store

LENGTHS = (300, 5, 700, 1, 40, 513, 90, 256)
LANES, WINDOW = 4, 16


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrajectoryStore:
    return TrajectoryStore.open(write_store(tmp_path_factory.mktemp("stream") / "store", LENGTHS))


WHOLE = [random_steps(seed, length) for seed, length in enumerate(LENGTHS)]


def take(count: int, store: TrajectoryStore, **options: Any) -> list[Batch]:
    chosen: dict[str, Any] = {"split": "train", "lanes": LANES, "window": WINDOW, "seed": 3}
    return list(itertools.islice(batches(store, **(chosen | options)), count))


def assert_equal(left: Batch, right: Batch) -> None:
    assert left.observation.keys() == right.observation.keys()
    for name in left.observation:
        np.testing.assert_array_equal(left.observation[name], right.observation[name], err_msg=name)
    for name, a, b in list(zip(Batch._fields, left, right, strict=True))[1:]:
        np.testing.assert_array_equal(a, b, err_msg=name)


def epoch_steps(store: TrajectoryStore, lanes: int = LANES, window: int = WINDOW) -> int:
    return -(-int(np.ceil(store.lengths[store.rows("train")].sum() / lanes)) // window)


def assert_lanes_replay_episodes(stream: list[Batch], whole: list[NetHackSteps]) -> dict[int, int]:
    """Every unmasked cell is the step that follows its lane's last; returns the steps seen by episode."""
    place: dict[int, tuple[int, int]] = {}
    seen: dict[int, int] = {}
    for batch in stream:
        for lane, t in zip(*np.nonzero(batch.mask), strict=True):
            row = int(batch.episode[lane, t])
            chars = batch.observation["chars"][lane, t]
            if lane in place and place[lane][0] == row:
                step = place[lane][1] + 1
                if step == len(whole[row].action_S):
                    step = 0
            else:
                step = int(np.flatnonzero((whole[row].chars_Sx24x80 == chars).all(axis=(1, 2)))[0])
            fresh = lane not in place or step == 0
            steps = whole[row]
            assert batch.first[lane, t] == fresh
            np.testing.assert_array_equal(chars, steps.chars_Sx24x80[step])
            np.testing.assert_array_equal(batch.observation["colors"][lane, t], steps.colors_Sx24x80[step])
            np.testing.assert_array_equal(batch.observation["cursor"][lane, t], steps.cursor_Sx2[step])
            assert batch.action[lane, t] == steps.action_S[step]
            before = steps.action_S[step - 1] if step else NO_ACTION
            assert batch.observation["prev_action"][lane, t] == before
            place[lane] = row, step
            seen[row] = seen.get(row, 0) + 1
    return seen


def test_an_epoch_replays_every_episode(store: TrajectoryStore) -> None:
    seen = assert_lanes_replay_episodes(take(epoch_steps(store), store), WHOLE)
    assert seen == {row: LENGTHS[row] for row in store.rows("train")}


def test_dev_batches_replay_every_episode_as_often_as_asked(store: TrajectoryStore) -> None:
    dev = dev_batches(store, 2, WINDOW)
    once, again = list(dev), list(dev)
    assert len(dev) == len(once)
    seen = assert_lanes_replay_episodes(once, WHOLE)
    assert seen == {row: LENGTHS[row] for row in store.rows("dev")}
    for left, right in zip(once, again, strict=True):
        assert_equal(left, right)
    starts = sum(int(batch.first.sum()) for batch in once)
    assert starts == len(seen), "an episode was cut"


def test_arrays_are_as_the_contract_says(store: TrajectoryStore) -> None:
    [batch] = take(1, store)
    assert {name: (array.dtype.name, array.shape) for name, array in batch.observation.items()} == {
        "chars": ("uint8", (LANES, WINDOW, 24, 80)),
        "colors": ("uint8", (LANES, WINDOW, 24, 80)),
        "cursor": ("uint8", (LANES, WINDOW, 2)),
        "prev_action": ("uint8", (LANES, WINDOW)),
    }
    rest = [(array.dtype.name, array.shape) for array in batch[1:]]
    assert rest == [(name, (LANES, WINDOW)) for name in ("int32", "bool", "bool", "int32")]


def test_padding_is_zero(store: TrajectoryStore) -> None:
    padded = [batch for batch in dev_batches(store, 3, 50) if not batch.mask.all()]
    assert padded
    for batch in padded:
        for array in (*batch.observation.values(), batch.action, batch.first):
            assert not array[~batch.mask].any()
        assert (batch.episode[~batch.mask] == -1).all()


@settings(max_examples=10, deadline=None)
@given(start=st.integers(0, 200), threads=st.integers(1, 3), prefetch=st.integers(1, 5))
def test_resuming_is_continuing(store: TrajectoryStore, start: int, threads: int, prefetch: int) -> None:
    straight = take(start + 6, store)[start:]
    resumed = take(6, store, start=start, threads=threads, prefetch=prefetch)
    for left, right in zip(straight, resumed, strict=True):
        assert_equal(left, right)


def test_two_hosts_read_what_one_would(store: TrajectoryStore) -> None:
    count = 2 * epoch_steps(store, 8)
    one = take(count, store, lanes=8)
    left = take(count, store, lanes=8, lane_range=range(4))
    right = take(count, store, lanes=8, lane_range=range(4, 8))
    for whole, *parts in zip(one, left, right, strict=True):
        joined = {name: np.concatenate([part.observation[name] for part in parts]) for name in whole.observation}
        columns = [np.concatenate(column) for column in zip(*(part[1:] for part in parts), strict=True)]
        assert_equal(whole, Batch(joined, *columns))


@pytest.mark.parametrize("block", [range(4, 9), range(0), range(-1, 3), range(0, 8, 2)])
def test_an_impossible_block_of_lanes_is_refused(store: TrajectoryStore, block: range) -> None:
    with pytest.raises(ValueError, match="block"):
        take(1, store, lanes=8, lane_range=block)


def test_an_empty_side_is_refused_before_the_first_batch(tmp_path: Path) -> None:
    store = TrajectoryStore.open(write_store(tmp_path / "store", (30,), dev_fraction=0.0))
    with pytest.raises(UserError, match="no dev episode"):
        dev_batches(store, LANES, WINDOW)


def test_shuffled_windows_are_pieces_of_episodes(store: TrajectoryStore) -> None:
    rows = store.rows("train")
    steps = sum(-(-int(length) // WINDOW) for length in store.lengths[rows])
    seen = 0
    for batch in take(-(-steps // LANES), store, order="windows"):
        for lane in np.flatnonzero(batch.mask.any(axis=1)):
            count, row = int(batch.mask[lane].sum()), int(batch.episode[lane, 0])
            whole = WHOLE[row]
            [start] = [
                at
                for at in range(0, len(whole.action_S), WINDOW)
                if np.array_equal(whole.action_S[at : at + count], batch.action[lane, :count])
                and np.array_equal(whole.cursor_Sx2[at : at + count], batch.observation["cursor"][lane, :count])
            ]
            np.testing.assert_array_equal(
                batch.observation["chars"][lane, :count], whole.chars_Sx24x80[start : start + count]
            )
            before = whole.action_S[start - 1] if start else NO_ACTION
            assert batch.observation["prev_action"][lane, 0] == before
            assert batch.first[lane].tolist() == [True] + [False] * (WINDOW - 1)
            seen += count
    assert seen == store.lengths[rows].sum()


def test_damage_reaches_whoever_reads_the_stream(tmp_path: Path) -> None:
    path = write_store(tmp_path / "store", (2400,), dev_fraction=0.0)
    flip(shard(path), shard(path).read_bytes().index(TrajectoryStore.open(path).records(0)[1][:64]) + 100)
    with pytest.raises(DamagedStore, match="chunk 1 of episode"):
        take(10, TrajectoryStore.open(path), lanes=1, window=2400)
