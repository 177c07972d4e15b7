"""What was added is read."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from data.codec.chunk import Span
from data.codec.screens import SCREENS
from data.common.cli import UserError
from data.spec import NetHackSteps
from data.store.episodes import split_of
from data.store.reader import TrajectoryStore
from data.store.verify import verify
from tests.data.codec.test_codec import assert_same, random_steps
from tests.data.store.stores import LENGTHS, write


def test_what_was_added_is_read(path: Path) -> None:
    store = TrajectoryStore.open(path)
    assert [row.length for row in store.episodes] == list(LENGTHS)
    assert store.lengths.tolist() == list(LENGTHS)
    for row, length in enumerate(LENGTHS):
        assert_same(store.read(row, 0, length), random_steps(row, length))
    assert store.episodes[3].score == 30.0
    assert store.episodes[3].role == "mon"
    assert verify(path) == []


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (2040, 2055), (2048, 4096), (2000, 4200), (4599, 4600), (7, 7)])
def test_any_stretch_of_an_episode_is_read(path: Path, start: int, stop: int) -> None:
    whole = random_steps(4, 4600)
    expected = NetHackSteps(*(column[start:stop] for column in whole))
    assert_same(TrajectoryStore.open(path).read(4, start, stop), expected)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 4), (0, 4601)])
def test_a_stretch_outside_the_episode_is_refused(path: Path, start: int, stop: int) -> None:
    with pytest.raises(IndexError):
        TrajectoryStore.open(path).read(4, start, stop)


def test_many_shards_read_as_one(tmp_path: Path) -> None:
    path = write(tmp_path / "store", shard_bytes=20_000)
    store = TrajectoryStore.open(path)
    assert len(store.manifest["shards"]) > 1
    for row, length in enumerate(LENGTHS):
        assert_same(store.read(row, 0, length), random_steps(row, length))
    assert verify(path) == []


def test_threads_share_a_small_cache(path: Path) -> None:
    store = TrajectoryStore.open(path, cache_bytes=0)
    whole = random_steps(4, 4600)

    def read(start: int) -> np.ndarray:
        number, lo = divmod(start, store.chunk_steps)
        hi = min(lo + 40, store.chunk_steps)
        rows = SCREENS.empty_rows(40)
        spans = [Span(lo, hi, 0), Span(0, 40 - (hi - lo), hi - lo)][: 1 if hi - lo == 40 else 2]
        chunks = store.chunks(np.array([4, 4])[: len(spans)], number + np.arange(len(spans)))
        SCREENS.decode_into(chunks, np.array(spans), rows)
        return rows.observation["chars"]

    starts = [start * 37 % 4560 for start in range(300)]
    with ThreadPoolExecutor(4) as pool:
        for start, chars in zip(starts, pool.map(read, starts), strict=True):
            np.testing.assert_array_equal(chars, whole.chars_Sx24x80[start : start + 40])


def test_what_is_shared_cannot_be_altered_by_accident(path: Path) -> None:
    [chunk] = TrajectoryStore.open(path).chunks(np.array([4]), np.array([1]))
    assert not any(array.flags.writeable for array in (*chunk.arrays, chunk.action_S))


def test_the_split_is_a_function_of_the_id(tmp_path: Path) -> None:
    few = TrajectoryStore.open(write(tmp_path / "few", (5, 6, 7, 8)))
    many = TrajectoryStore.open(write(tmp_path / "many", (5, 6, 7, 8, 9, 10, 11, 12)))
    sides = {row.id: row.split for row in many.episodes}
    assert all(sides[row.id] == row.split for row in few.episodes)
    assert sorted([*many.rows("train"), *many.rows("dev")]) == list(range(8))
    shares = [split_of(f"{number:016x}", 0.1) for number in range(5000)]
    assert 400 < shares.count("dev") < 600


def test_an_empty_side_names_the_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "store", (3,), dev_fraction=0.0)
    with pytest.raises(UserError, match=r"no dev episode among 1 .*--dev-games"):
        TrajectoryStore.open(path).rows("dev")
