from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.sampling.sampler import LaneSampler, SequentialSampler, Slice, WindowSampler

lengths_of = st.lists(st.integers(1, 60), min_size=1, max_size=12)
lanes_of = st.integers(1, 9)
windows_of = st.integers(1, 17)
seeds_of = st.integers(0, 2**32)


def at(sampler: LaneSampler | WindowSampler | SequentialSampler, step: int, lanes: range | None = None) -> list[Slice]:
    return [Slice(*row) for row in sampler.at(step, lanes).tolist()]


def steps_in(slices: list[Slice]) -> list[tuple[int, int]]:
    return [(piece.row, step) for piece in slices for step in range(piece.start, piece.stop)]


def assert_packed(slices: list[Slice], window: int) -> None:
    """Slices fill their lane from the left, without gap or overlap, and end inside the window."""
    filled = Counter()
    for piece in slices:
        assert piece.start < piece.stop
        assert piece.offset == filled[piece.lane]
        filled[piece.lane] += piece.stop - piece.start
    assert all(count <= window for count in filled.values())


@given(lengths_of, lanes_of, windows_of, seeds_of, st.integers(0, 3))
def test_an_epoch_holds_every_step_once(lengths: list[int], lanes: int, window: int, seed: int, epoch: int) -> None:
    sampler = LaneSampler(lengths, lanes, window, seed)
    batches = [at(sampler, epoch * sampler.steps_per_epoch + step) for step in range(sampler.steps_per_epoch)]
    for slices in batches:
        assert_packed(slices, window)
    seen = Counter(step for slices in batches for step in steps_in(slices))
    assert seen == Counter((row, step) for row, length in enumerate(lengths) for step in range(length))
    assert all(len(steps_in(slices)) == lanes * window for slices in batches[:-1]), "padding before the end"


@given(lengths_of, lanes_of, windows_of, seeds_of)
def test_lanes_read_on_where_they_stopped(lengths: list[int], lanes: int, window: int, seed: int) -> None:
    sampler = LaneSampler(lengths, lanes, window, seed)
    last: dict[int, tuple[int, int]] = {}
    read = Counter()
    for step in range(sampler.steps_per_epoch):
        for piece in at(sampler, step):
            starts_lane = piece.lane not in last
            assert piece.first == (piece.start == 0 or starts_lane)
            if not starts_lane and piece.start:
                assert last[piece.lane] == (piece.row, piece.start)
            last[piece.lane] = piece.row, piece.stop
            read[piece.lane] += piece.stop - piece.start
    counts = [read[lane] for lane in range(lanes)]
    assert max(counts) - min(counts) <= 1


@given(lengths_of, windows_of, seeds_of)
def test_two_hosts_read_what_one_would(lengths: list[int], window: int, seed: int) -> None:
    sampler = LaneSampler(lengths, 8, window, seed)
    for step in range(2 * sampler.steps_per_epoch):
        assert at(sampler, step) == at(sampler, step, range(4)) + at(sampler, step, range(4, 8))


@given(lengths_of, lanes_of, windows_of, seeds_of, st.integers(0, 500))
def test_a_batch_depends_on_its_step_alone(lengths: list[int], lanes: int, window: int, seed: int, start: int) -> None:
    continuing, resuming = LaneSampler(lengths, lanes, window, seed), LaneSampler(lengths, lanes, window, seed)
    before = [at(continuing, step) for step in range(start, start + 5)]
    after = [at(resuming, step) for step in reversed(range(start, start + 5))]
    assert before == after[::-1]


def test_each_epoch_and_each_seed_has_its_own_order() -> None:
    lengths = [10] * 50
    orders = set()
    for seed in range(3):
        sampler = LaneSampler(lengths, 1, 500, seed)
        orders |= {tuple(piece.row for piece in at(sampler, epoch)) for epoch in range(3)}
    assert len(orders) == 9


def test_the_order_of_a_seed_never_changes() -> None:
    # If this fails, runs that stopped before a change can't be resumed after it: restore the order.
    rows = [piece.row for piece in at(LaneSampler([1] * 10, 1, 10, seed=7), 0)]
    assert rows == [8, 4, 3, 6, 2, 1, 0, 5, 9, 7]


@given(lengths_of, lanes_of, windows_of)
def test_the_fixed_order_holds_every_episode_whole_in_one_lane(lengths: list[int], lanes: int, window: int) -> None:
    sampler = SequentialSampler(lengths, lanes, window)
    batches = [at(sampler, step) for step in range(sampler.steps)]
    for slices in batches:
        assert_packed(slices, window)
    seen = Counter(step for slices in batches for step in steps_in(slices))
    assert seen == Counter((row, step) for row, length in enumerate(lengths) for step in range(length))
    lane_of: dict[int, int] = {}
    reached = Counter()
    for slices in batches:
        for piece in slices:
            assert lane_of.setdefault(piece.row, piece.lane) == piece.lane
            assert piece.start == reached[piece.row]
            assert piece.first == (piece.start == 0)
            reached[piece.row] = piece.stop
    assert sampler.steps >= -(-max(lengths) // window)
    assert sampler.steps * window < sum(lengths) / lanes + max(lengths) + window


def test_the_fixed_order_is_split_between_hosts() -> None:
    sampler = SequentialSampler([5, 9, 1, 30, 2], 4, 4)
    for step in range(sampler.steps):
        assert at(sampler, step) == at(sampler, step, range(3)) + at(sampler, step, range(3, 4))


@pytest.mark.parametrize(
    ("lengths", "lanes", "window"), [([], 1, 1), ([0], 1, 1), ([3, 0], 1, 1), ([3], 0, 1), ([3], 1, 0)]
)
def test_impossible_samplers_are_refused(lengths: list[int], lanes: int, window: int) -> None:
    with pytest.raises(ValueError, match=r"must be positive|at least one step"):
        LaneSampler(lengths, lanes, window, 0)
    with pytest.raises(ValueError, match=r"must be positive|at least one step"):
        SequentialSampler(np.array(lengths, np.int64), lanes, window)


def window_sampler(
    lengths: list[int], lanes: int, window: int, seed: int, chunk: int = 24, pool: int = 3
) -> WindowSampler:
    return WindowSampler(lengths, lanes, window, seed, chunk, pool)


@given(lengths_of, lanes_of, windows_of, seeds_of, st.integers(0, 3), st.integers(1, 90), st.integers(1, 9))
def test_an_epoch_of_windows_holds_every_step_once(
    lengths: list[int], lanes: int, window: int, seed: int, epoch: int, chunk: int, pool: int
) -> None:
    sampler = window_sampler(lengths, lanes, window, seed, chunk, pool)
    batches = [at(sampler, epoch * sampler.steps_per_epoch + step) for step in range(sampler.steps_per_epoch)]
    seen = Counter(step for slices in batches for step in steps_in(slices))
    assert seen == Counter((row, step) for row, length in enumerate(lengths) for step in range(length))
    for slices in batches:
        assert_packed(slices, window)
        assert [piece.lane for piece in slices] == list(range(len(slices)))
        assert all(piece.first and piece.start % window == 0 for piece in slices)
    assert all(len(slices) == lanes for slices in batches[:-1]), "padding before the end"


@given(lengths_of, windows_of, seeds_of)
def test_two_hosts_read_the_windows_that_one_would(lengths: list[int], window: int, seed: int) -> None:
    sampler = window_sampler(lengths, 8, window, seed)
    for step in range(2 * sampler.steps_per_epoch):
        assert at(sampler, step) == at(sampler, step, range(4)) + at(sampler, step, range(4, 8))


@given(lengths_of, lanes_of, windows_of, seeds_of, st.integers(0, 500))
def test_windows_depend_on_their_step_alone(lengths: list[int], lanes: int, window: int, seed: int, start: int) -> None:
    continuing, resuming = (window_sampler(lengths, lanes, window, seed) for _ in range(2))
    before = [at(continuing, step) for step in range(start, start + 5)]
    assert before == [at(resuming, step) for step in reversed(range(start, start + 5))][::-1]


@given(lengths_of, lanes_of, windows_of, seeds_of, st.integers(0, 60))
def test_samples_of_windows_are_counted(lengths: list[int], lanes: int, window: int, seed: int, steps: int) -> None:
    sampler = window_sampler(lengths, lanes, window, seed)
    assert sampler.samples(steps) == sum(len(steps_in(at(sampler, step))) for step in range(steps))


def test_windows_are_mixed_over_episodes_and_epochs_differ() -> None:
    sampler = window_sampler([240] * 40, 16, 8, seed=1, chunk=24, pool=20)
    rows = [len({piece.row for piece in at(sampler, step)}) for step in range(sampler.steps_per_epoch)]
    assert np.mean(rows) > 8
    assert at(sampler, 0) != at(sampler, sampler.steps_per_epoch)
