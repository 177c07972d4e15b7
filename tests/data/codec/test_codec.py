import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.codec.base import MAX_STEPS
from data.codec.chunk import CorruptChunk, Span
from data.codec.screens import SCREENS
from data.spec import NO_LABEL, NetHackSteps
from tests.data.codec.records import columns_of, packed, sealed


def random_steps(seed: int, count: int, changes: int = 30) -> NetHackSteps:
    """NetHackSteps whose screens change in a few cells at a time, over the whole range of every dtype."""
    rng = np.random.default_rng(seed)
    screens = np.zeros((2, count, 24 * 80), np.uint8)
    screens[:, 0] = rng.integers(0, 256, (2, 24 * 80))
    for step in range(1, count):
        screens[:, step] = screens[:, step - 1]
        screens[:, step, rng.integers(0, 24 * 80, changes)] = rng.integers(0, 256, (2, changes))
    chars, colors = screens.reshape(2, count, 24, 80)
    limits = np.iinfo(np.int32)
    return NetHackSteps(
        chars,
        colors,
        rng.integers(0, 256, (count, 2)).astype(np.uint8),
        rng.integers(0, 121, count).astype(np.uint8),
        rng.integers(limits.min, limits.max, count, endpoint=True).astype(np.int32),
        rng.integers(-128, 128, count).astype(np.int8) if seed % 2 else np.full(count, NO_LABEL, np.int8),
    )


def assert_same(left: NetHackSteps, right: NetHackSteps) -> None:
    for name, a, b in zip(NetHackSteps._fields, left, right, strict=True):
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)


@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(0, 500))
def test_what_was_encoded_is_decoded(seed: int, count: int, changes: int) -> None:
    steps = random_steps(seed, count, changes)
    assert_same(SCREENS.decode(SCREENS.encode(steps)), steps)


def test_a_record_depends_on_the_steps_alone() -> None:
    steps = random_steps(0, 256)
    copy = NetHackSteps(*(np.asfortranarray(column.copy()) for column in steps))
    assert SCREENS.encode(steps) == SCREENS.encode(copy)


def test_small_changes_make_small_records() -> None:
    assert len(SCREENS.encode(random_steps(0, 256, changes=3))) < 256 * 60


@given(st.data())
def test_any_damage_is_detected(data: st.DataObject) -> None:
    record = SCREENS.encode(random_steps(1, 8, 5))
    place = data.draw(st.integers(0, len(record) - 1))
    flip = data.draw(st.integers(1, 255))
    damaged = bytearray(record)
    damaged[place] ^= flip
    for bad in (bytes(damaged), record[:place], record + record[: place + 1]):
        with pytest.raises(CorruptChunk):
            SCREENS.decode(bad)


@pytest.mark.parametrize("count", [0, 9, 4096, 4097, 2**32 - 1])
def test_a_wrong_count_is_refused_before_memory_is_taken(count: int) -> None:
    record = SCREENS.encode(random_steps(1, 8, 5))
    lying = sealed(record[:8] + count.to_bytes(4, "little") + record[12:])
    with pytest.raises(CorruptChunk, match="claims"):
        SCREENS.decode(lying)


def test_a_column_that_is_not_zstd_is_refused() -> None:
    record = bytearray(SCREENS.encode(random_steps(1, 8, 5)))
    opened = SCREENS._open(bytes(record))
    start = len(record) - len(opened.columns) - len(opened.scores)
    record[start : start + 8] = b"x" * 8
    with pytest.raises(CorruptChunk):
        SCREENS.decode(sealed(bytes(record)))


@pytest.mark.parametrize("count", [0, MAX_STEPS + 1])
def test_a_chunk_of_an_impossible_size_is_not_written(count: int) -> None:
    shape = (count, 24, 80)
    steps = NetHackSteps(
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.uint8),
        np.zeros((count, 2), np.uint8),
        np.zeros(count, np.uint8),
        np.zeros(count, np.int32),
        np.zeros(count, np.int8),
    )
    with pytest.raises(ValueError, match="a chunk holds"):
        SCREENS.encode(steps)


def screens_with_a_menu() -> NetHackSteps:
    """A menu covers a quarter of the screen again and again, and what was there comes back."""
    steps = random_steps(3, 400, changes=2)
    for step in range(400):
        if step % 7 in (3, 4):
            steps.chars_Sx24x80[step, :, 40:60] = ord("a") + step % 7
            steps.colors_Sx24x80[step, :, 40:60] = 7
    return steps


def test_a_screen_that_comes_back_costs_next_to_nothing() -> None:
    steps = screens_with_a_menu()
    record = SCREENS.encode(steps)
    assert_same(SCREENS.decode(record), steps)
    cells = SCREENS._open(record).sizes[0] // 2
    pages = sum(step % 7 in (3, 4) for step in range(400))
    # Each page is written once; the noise beside it, and one whole screen in every segment, are the rest.
    assert cells < pages * 24 * 20 + 400 * 8 + 7 * 24 * 80


@given(st.data())
def test_any_steps_of_a_chunk_are_decoded_anywhere(data: st.DataObject) -> None:
    steps = screens_with_a_menu()
    chunk = SCREENS.unpack(SCREENS.encode(steps, before=5))
    rows = SCREENS.empty_rows(60)
    rows.observation["chars"][:] = 9
    start = data.draw(st.integers(0, 400))
    stop = data.draw(st.integers(start, min(400, start + 60)))
    row = data.draw(st.integers(0, 60 - (stop - start)))
    SCREENS.decode_into([chunk], np.array([Span(start, stop, row)]), rows)
    there, here = slice(row, row + stop - start), slice(start, stop)
    np.testing.assert_array_equal(rows.observation["chars"][there], steps.chars_Sx24x80[here])
    np.testing.assert_array_equal(rows.observation["colors"][there], steps.colors_Sx24x80[here])
    np.testing.assert_array_equal(rows.observation["cursor"][there], steps.cursor_Sx2[here])
    np.testing.assert_array_equal(rows.action_N[there], steps.action_S[here])
    np.testing.assert_array_equal(rows.observation["prev_action"][there], np.r_[5, steps.action_S][here])
    assert (np.delete(rows.observation["chars"], there, axis=0) == 9).all()


@pytest.mark.parametrize("part", [(-1, 3, 0), (5, 4, 0), (0, 401, 0), (0, 10, 51), (0, 61, 0), (0, 1, -1)])
def test_what_does_not_exist_is_not_decoded(part: tuple[int, int, int]) -> None:
    chunk = SCREENS.unpack(SCREENS.encode(random_steps(0, 400)))
    with pytest.raises(IndexError):
        SCREENS.decode_into([chunk], np.array([Span(*part)]), SCREENS.empty_rows(60))


def test_two_thousand_sealed_lies_are_refused_or_stay_on_the_screen() -> None:
    """With a right checksum, columns may claim anything: no lie writes beside a screen or ends the process."""
    record = SCREENS.encode(screens_with_a_menu())
    honest, columns = SCREENS.decode(record), columns_of(SCREENS, record)
    assert_same(SCREENS.decode(packed(SCREENS, columns)), honest)
    random, refused, altered = np.random.default_rng(0), 0, 0
    for _ in range(2000):
        lies = [bytearray(column) for column in columns]
        lie = lies[random.integers(len(lies))]
        place = int(random.integers(len(lie)))
        how = random.integers(4)
        if how == 0:
            lie[place] = random.integers(256)
        elif how == 1:
            del lie[place : place + int(random.integers(1, 9))]
        elif how == 2:
            lie[place:place] = random.bytes(int(random.integers(1, 9)))
        else:
            lie[place : place + 4] = b"\xff\xff\xff\xff"
        try:
            steps = SCREENS.decode(packed(SCREENS, [bytes(column) for column in lies]))
        except CorruptChunk:
            refused += 1
            continue
        altered += 1
        assert len(steps.action_S) == len(lies[-2])
    assert refused > 400
    assert altered > 400
