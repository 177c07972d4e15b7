import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from data.codec.base import CorruptChunk, Span
from data.codec.generic import GenericCodec, GenericSteps, packed, unpacked
from data.spec import Field

SPEC = {
    "image": Field((3, 5, 3), "uint8"),
    "speed": Field((), "float32"),
    "place": Field((2,), "float64"),
    "wide": Field((600,), "int16"),
}
DTYPES = ("uint8", "float32", "int64")
CODEC = GenericCodec(SPEC)


def fields_of(seed: int, count: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    # Of each field most values stay, as in an environment.
    return {
        name: np.repeat(random.integers(0, 200, (count // 3 + 1, *field.shape)), 3, axis=0)[:count].astype(field.dtype)
        for name, field in SPEC.items()
    }


def steps_of(seed: int, count: int) -> GenericSteps:
    random = np.random.default_rng(seed)
    action, score = random.integers(0, 7, count).astype(np.uint8), random.integers(-99, 99, count).astype(np.int32)
    return GenericSteps(packed(SPEC, fields_of(seed, count)), action, score)


@given(st.data())
def test_any_fields_are_packed_and_unpacked(data: st.DataObject) -> None:
    spec = {
        name: Field(
            data.draw(arrays.array_shapes(max_dims=3, max_side=4)), data.draw(st.sampled_from(["u1", "f4", "i8"]))
        )
        for name in data.draw(st.sets(st.text("abc", min_size=1), min_size=1, max_size=3))
    }
    count = data.draw(st.integers(1, 5))
    fields = {name: data.draw(arrays.arrays(field.dtype, (count, *field.shape))) for name, field in spec.items()}
    found = unpacked(spec, packed(spec, fields))
    for name, array in fields.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize("count", [1, 2, 200, 2048])
def test_a_record_holds_what_was_encoded(count: int) -> None:
    steps = steps_of(count, count)
    for column, other in zip(CODEC.decode(CODEC.encode(steps)), steps, strict=True):
        np.testing.assert_array_equal(column, other)


def test_what_stays_takes_little_room() -> None:
    steps = GenericSteps(np.repeat(steps_of(0, 1).bytes_SxW, 1000, axis=0), *steps_of(0, 1000)[1:])
    assert len(CODEC.encode(steps)) < 0.02 * steps.bytes_SxW.nbytes


@given(st.integers(0, 39), st.integers(1, 40), st.integers(0, 9))
def test_any_span_goes_to_any_rows(start: int, size: int, row: int) -> None:
    stop = min(40, start + size)
    steps, rows = steps_of(3, 40), CODEC.empty_rows(60)
    CODEC.decode_into([CODEC.unpack(CODEC.encode(steps))], np.array([Span(start, stop, row, 5)]), rows)
    place = slice(row, row + stop - start)
    for name, array in unpacked(SPEC, steps.bytes_SxW).items():
        np.testing.assert_array_equal(rows.observation[name][place], array[start:stop])
    np.testing.assert_array_equal(rows.action_N[place], steps.action_S[start:stop])
    assert (rows.episode_N[place] == 5).all()
    assert rows.mask_N.sum() == stop - start


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_damaged_record_is_refused(place: int, change: int) -> None:
    record = bytearray(CODEC.encode(steps_of(1, 50)))
    record[place % len(record)] ^= change
    with pytest.raises(CorruptChunk):
        CODEC.decode(bytes(record))


def test_a_record_of_another_spec_is_refused() -> None:
    other = GenericCodec({"speed": Field((3,), "float32")})
    with pytest.raises(CorruptChunk, match="a column claims"):
        other.decode(CODEC.encode(steps_of(1, 50)))
    with pytest.raises(ValueError, match="speed of shape"):
        packed(other.observation, fields_of(0, 4))
