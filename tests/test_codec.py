import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import codec
from data.spec import Steps


def random_steps(seed: int, count: int, changes: int = 30) -> Steps:
    """Steps whose screens change in a few cells at a time, over the whole range of every dtype."""
    rng = np.random.default_rng(seed)
    screens = np.zeros((2, count, 24 * 80), np.uint8)
    screens[:, 0] = rng.integers(0, 256, (2, 24 * 80))
    for step in range(1, count):
        screens[:, step] = screens[:, step - 1]
        screens[:, step, rng.integers(0, 24 * 80, changes)] = rng.integers(0, 256, (2, changes))
    chars, colors = screens.reshape(2, count, 24, 80)
    limits = np.iinfo(np.int32)
    return Steps(
        chars,
        colors,
        rng.integers(0, 256, (count, 2)).astype(np.uint8),
        rng.integers(0, 121, count).astype(np.uint8),
        rng.integers(limits.min, limits.max, count, endpoint=True).astype(np.int32),
    )


def assert_same(left: Steps, right: Steps) -> None:
    for name, a, b in zip(Steps._fields, left, right, strict=True):
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 500))
def test_what_was_encoded_is_decoded(seed: int, count: int, changes: int) -> None:
    steps = random_steps(seed, count, changes)
    assert_same(codec.decode(codec.encode(steps)), steps)


def test_a_record_depends_on_the_steps_alone() -> None:
    steps = random_steps(0, 256)
    copy = Steps(*(np.asfortranarray(column.copy()) for column in steps))
    assert codec.encode(steps) == codec.encode(copy)


def test_small_changes_make_small_records() -> None:
    assert len(codec.encode(random_steps(0, 256, changes=3))) < 256 * 60


@given(st.data())
def test_any_damage_is_detected(data: st.DataObject) -> None:
    record = codec.encode(random_steps(1, 8, 5))
    place = data.draw(st.integers(0, len(record) - 1))
    flip = data.draw(st.integers(1, 255))
    damaged = bytearray(record)
    damaged[place] ^= flip
    for bad in (bytes(damaged), record[:place], record + record[: place + 1]):
        with pytest.raises(codec.CorruptChunk):
            codec.decode(bad)


def sealed(record: bytes) -> bytes:
    """A record with the checksum that belongs to its content."""
    return record[:4] + zlib.crc32(record[8:]).to_bytes(4, "little") + record[8:]


@pytest.mark.parametrize("count", [0, 9, 4096, 4097, 2**32 - 1])
def test_a_wrong_count_is_refused_before_memory_is_taken(count: int) -> None:
    record = codec.encode(random_steps(1, 8, 5))
    lying = sealed(record[:8] + count.to_bytes(4, "little") + record[12:])
    with pytest.raises(codec.CorruptChunk, match="claims"):
        codec.decode(lying)


def test_a_column_that_is_not_zstd_is_refused() -> None:
    record = bytearray(codec.encode(random_steps(1, 8, 5)))
    record[codec._HEADER.size + 8 : codec._HEADER.size + 40] = b"x" * 32
    with pytest.raises(codec.CorruptChunk):
        codec.decode(sealed(bytes(record)))


@pytest.mark.parametrize("count", [0, codec.MAX_STEPS + 1])
def test_a_chunk_of_an_impossible_size_is_not_written(count: int) -> None:
    shape = (count, 24, 80)
    steps = Steps(
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.uint8),
        np.zeros((count, 2), np.uint8),
        np.zeros(count, np.uint8),
        np.zeros(count, np.int32),
    )
    with pytest.raises(ValueError, match="a chunk holds"):
        codec.encode(steps)
