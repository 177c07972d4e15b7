"""Torch-saved files read without torch: numbers and tensors; nothing is run that a hostile file names."""

import io
import random
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data.common.torchfile import Refused, load, load_tensors
from tests.data.common.torchfiles import CODES, EMPTY, altered, archive, mapping, number, sizes, tensor, text, zipped

LARGE = 1 << 20


@pytest.mark.parametrize("order", ["little", "big", None])
def test_tensors_of_every_kind_and_byte_order(order: str | None) -> None:
    prefix = ">" if order == "big" else "<"
    values = {"FloatStorage": 0.375, "DoubleStorage": 0.1, "LongStorage": -(1 << 40)}
    storages = {kind: struct.pack(prefix + 2 * CODES[kind], 0, value) for kind, value in values.items()}
    pickle = mapping({kind: tensor(kind, kind, 2, 1) for kind in values})
    assert load(archive(pickle, storages, order.encode() if order else None)) == values


def test_the_forms_in_which_pickle_writes_small_things() -> None:
    assert load(archive(tensor(), {"0": struct.pack("<f", 2)})) == 2
    assert load(archive(EMPTY)) == {}
    assert load(archive(b"}q\x00" + text("a") + b"q\x01K\x07s")) == {"a": 7}
    long_memo = b"}(" + text("a") + b"r\x00\x01\x00\x00M\x00\x01K\x05j\x00\x01\x00\x00u"
    assert load(archive(long_memo)) == {"a": 256, 5: "a"}
    assert load(archive(tensor().replace(b"\x89", b"\x88"), {"0": struct.pack("<f", 2)})) == 2


@pytest.mark.parametrize("order", ["little", "big"])
def test_tensors_of_any_shape(order: str) -> None:
    kinds = {"FloatStorage": "f4", "DoubleStorage": "f8", "LongStorage": "i8"}
    prefix = ">" if order == "big" else "<"
    numbers = {kind: np.arange(-7, 23).astype(prefix + code) for kind, code in kinds.items()}
    pickle = mapping(
        {
            "vector": tensor("FloatStorage", "FloatStorage", 30, 3, sizes(5), sizes(1)),
            "matrix": tensor("DoubleStorage", "DoubleStorage", 30, 0, sizes(5, 6), sizes(6, 1)),
            "window": tensor("LongStorage", "LongStorage", 30, 6, sizes(2, 3, 2, 2), sizes(12, 4, 2, 1)),
            # The stride of an axis of one number can be anything.
            "thin": tensor("LongStorage", "LongStorage", 30, 6, sizes(1, 2, 3), sizes(1, 3, 1)),
            "none": tensor("FloatStorage", "FloatStorage", 30, 30, sizes(0, 4), sizes(4, 1)),
            "number": tensor("FloatStorage", "FloatStorage", 30, 2),
            "text": text("as before"),
        }
    )
    pickle += b"}(" + text("_metadata") + mapping({"": mapping({"version": number(1)})}) + b"ub"  # of the module
    found = load_tensors(archive(pickle, {kind: raw.tobytes() for kind, raw in numbers.items()}, order.encode()))
    expected = {
        "vector": numbers["FloatStorage"][3:8],
        "matrix": numbers["DoubleStorage"].reshape(5, 6),
        "window": numbers["LongStorage"][6:].reshape(2, 3, 2, 2),
        "thin": numbers["LongStorage"][6:12].reshape(1, 2, 3),
        "none": np.zeros((0, 4), numbers["FloatStorage"].dtype),
        "number": numbers["FloatStorage"][2:3].reshape(()),
    }
    assert found.pop("text") == "as before"
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


HALF = struct.pack("<f", 0.5)


def far() -> bytes:
    """An archive whose directory places its entry, by a zip64 field, at byte 1 << 63."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        entry = zipfile.ZipInfo("a/data.pkl")
        entry.extra = struct.pack("<HHQ", 1, 8, 1 << 63)
        file.writestr(entry, b"}.")
    content = bytearray(whole.getvalue())
    place = content.index(b"PK\x01\x02") + 42
    content[place : place + 4] = b"\xff" * 4
    return bytes(content)


SYSTEM = b"cposix\nsystem\n" + text("touch mark") + b"\x85R"
HOSTILE = {
    "a call": (archive(SYSTEM), "GLOBAL 'posix system'"),
    "a call by name on the stack": (archive(text("posix") + text("system") + b"\x93)R"), "STACK_GLOBAL"),
    "an object's state": (archive(EMPTY + b"}b"), "opcode BUILD"),
    "an object": (archive(b"(iposix\nsystem\n"), "opcode INST"),
    "an extension": (archive(b"\x82\x01"), "opcode EXT1"),
    "another torch function": (archive(b"ctorch._utils\n_rebuild_parameter\n)R"), "_rebuild_parameter"),
    "a list": (archive(b"](K\x01K\x02e"), "opcode EMPTY_LIST"),
    "a storage called": (archive(b"ctorch\nFloatStorage\n)R"), "builds an object"),
    "a defaultdict of another factory": (archive(b"ccollections\ndefaultdict\nctorch\nFloatStorage\n\x85R"), "builds"),
    "another kind of storage": (archive(tensor(kind="HalfStorage"), {"0": HALF}), "HalfStorage"),
    "a storage that is too short": (archive(tensor(count=2), {"0": HALF}), "length"),
    "an enormous storage": (archive(tensor(count=(1 << 60)), {"0": HALF}), "length"),
    "no storage": (archive(tensor("7"), {"0": HALF}), "damaged"),
    "a storage elsewhere": (archive(tensor("../../x"), {"0": HALF}), "damaged"),
    "a tensor beyond its storage": (archive(tensor(offset=1), {"0": HALF}), "builds"),
    "a tensor before its storage": (archive(tensor(offset=-1), {"0": HALF}), "builds"),
    "an enormous tensor": (archive(tensor(size=number(1 << 40) + b"\x85"), {"0": HALF}), "builds"),
    "an unknown byte order": (archive(tensor(), {"0": HALF}, b"middle"), "damaged"),
    "keys that take forever to hash": (archive(b")q\x00" + b"(h\x00h\x00tq\x00" * 90 + b"}h\x00K\x01s"), "damaged"),
    "an item for a number": (archive(b"K\x01K\x02K\x03s"), "damaged"),
    "a key without a value": (archive(b"}(K\x01u"), "damaged"),
    "nothing on the stack": (archive(b"\x85"), "damaged"),
    "no mark": (archive(b"t"), "damaged"),
    "a memo never made": (archive(b"h\x05"), "damaged"),
    "no end": (zipped({"archive/data.pkl": b"\x80\x02}"}), "damaged"),
    "no pickle": (zipped({"archive/version": b"3\n"}), "damaged"),
    "an empty archive": (zipped({}), "one folder"),
    "a path that leaves": (zipped({"archive/data.pkl": b"}.", "archive/../../x": b""}), "one folder"),
    "an absolute path": (zipped({"/archive/data.pkl": b"}."}), "one folder"),
    "a name twice": (
        zipped({"archive/data.pkl": b"}.", "archive/data.pkX": b")."}).replace(b"pkX", b"pkl"),
        "have one name",
    ),
    "two folders": (zipped({"a/data.pkl": b"}.", "b/data.pkl": b"}."}), "one folder"),
    "a zip bomb": (zipped({"archive/data.pkl": b"}." + bytes(1 << 24)}, zipfile.ZIP_DEFLATED), "claim more bytes"),
    "an entry beyond all files": (far(), "damaged"),
    "a compressed archive": (zipped({"a/data.pkl": b"}."}, zipfile.ZIP_DEFLATED), "compressed"),
    "text": (b"version https://git-lfs.github.com/spec/v1\n", "damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_and_nothing_of_them_is_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, why = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match=why):
        load(content)
    with pytest.raises(Refused):
        load_tensors(content)
    assert not list(tmp_path.iterdir())


def shaped(shape: bytes, strides: bytes, offset: int = 0) -> bytes:
    return archive(tensor(count=6, offset=offset, size=shape, strides=strides), {"0": 6 * HALF})


MISSHAPEN = {
    "more numbers than the storage has": shaped(sizes(7), sizes(1)),
    "beyond the storage": shaped(sizes(2, 3), sizes(3, 1), 1),
    "before the storage": shaped(sizes(2, 3), sizes(3, 1), -1),
    "other strides": shaped(sizes(3, 2), sizes(1, 3)),
    "a stride of nothing, for numbers without end": shaped(sizes(1 << 40), sizes(0)),
    "negative sizes": shaped(sizes(-2, -3), sizes(-3, 1)),
    "fewer strides than axes": shaped(sizes(2, 3), sizes(1)),
    "a text for a size": shaped(text("a"), text("a")),
    "a fraction for a size": shaped(number(2.0) + b"\x85", sizes(1)),
    "axes without end": shaped(b"(" + 999 * number(1) + b"t", b"(" + 999 * number(1) + b"t"),
    "a state that is more than told of": archive(b"}}(" + text("_metadata") + b"}" + text("x") + b"K\x01ub"),
    "a state for a number": archive(b"K\x01}(" + text("_metadata") + b"}ub"),
    "too few for a pair": archive(b"K\x01\x86"),
}


@pytest.mark.parametrize("name", MISSHAPEN)
def test_tensors_that_do_not_lie_in_their_storage_are_refused(name: str) -> None:
    with pytest.raises(Refused):
        load_tensors(MISSHAPEN[name])


def test_numbers_alone_means_no_tensors() -> None:
    with pytest.raises(Refused, match="a tensor of one number"):
        load(shaped(sizes(1), sizes(1)))
    with pytest.raises(Refused, match="opcode TUPLE2"):
        load(shaped(sizes(2, 3), sizes(3, 1)))


def refused(content: bytes) -> bool:
    try:
        load(content)
        load_tensors(content)
    except Refused:
        return True
    return False


def test_damage_gives_a_reason_and_no_other_error() -> None:
    chance = random.Random(7)
    cells = mapping({725: tensor("0"), 80: tensor("1")})
    whole = archive(mapping({"1e13": cells, "2e14": mapping({725: tensor("2")})}, EMPTY), dict.fromkeys("012", HALF))
    assert sum(refused(altered(whole, chance)) for _ in range(1500)) > 1000
    # Inside a sound archive, where no checksum tells.
    pickle = b"}" + b"(" + text("a") + tensor() + text("b") + number(1 << 40) + text("c") + number(0.5) + b"u"
    assert not refused(archive(pickle, {"0": HALF}))
    assert sum(refused(archive(altered(pickle, chance), {"0": HALF})) for _ in range(1500)) > 1000


def test_a_large_hostile_pickle_takes_no_time() -> None:
    start = time.process_time()  # other load on the machine does not count
    assert not refused(archive(b"}" * (LARGE // 2)))
    assert refused(archive(b")q\x00" + b"(h\x00h\x00tq\x00" * 50_000 + b"}h\x00K\x01s"))
    assert time.process_time() - start < 30
