"""Recordings are read as NLE's converter reads them, whatever is in them."""

import bz2
from pathlib import Path

import numpy as np
import pytest
from nle.dataset import Converter

from data.games.strategies import HIHACK
from data.importers import terminal, ttyrec
from data.importers.base import DAMAGED, Unusable
from data.spec import NO_LABEL, NO_SCORE
from tests.data.importers.recordings import frame, play, ttyrec3, ttyrec4

SIZE = ttyrec.CHUNK_STEPS


def converter(path: Path, version: int = 3) -> list[np.ndarray]:
    """All that NLE's converter reads: characters, colours, cursors, keys, scores."""
    reader, columns = Converter(24, 80, version), []
    reader.load_ttyrec(str(path))
    left = 0
    while not left:
        buffers = ttyrec.converter_buffers()
        left = reader.convert(*buffers)
        columns.append([buffers[place][: SIZE - left] for place in (0, 1, 2, 4, 5)])
    return [np.concatenate(column) for column in zip(*columns, strict=True)]


def ours(path: Path) -> list[np.ndarray]:
    pieces = [tuple(column.copy() for column in piece) for piece in ttyrec.steps(path)]
    return [np.concatenate(column) for column in zip(*pieces, strict=True)] if pieces else []


def assert_equal(left: list[np.ndarray], right: list[np.ndarray]) -> None:
    if not right:
        assert not len(left[0])
        return
    *read, labels = right
    assert (labels == NO_LABEL).all()
    for name, a, b in zip(ttyrec.RecordedSteps._fields[:-1], left, read, strict=True):
        np.testing.assert_array_equal(a.astype(np.int64) & 0xFF if "colors" in name else a, b, err_msg=name)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(bz2.compress(content))
    return path


def recording(outputs: list[bytes]) -> bytes:
    """A key press after every output, and a last one that is no step."""
    steps = (frame(0, output) + frame(2, b"\1\2\3\4") + frame(1, b"j") for output in outputs)
    return b"".join(steps) + frame(0, b"the end") + frame(2, bytes(4))


def test_real_recordings_need_no_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = play(tmp_path / "games", games=3, steps=900)
    expected = {path: converter(path) for path in folder.glob("*.bz2")}
    monkeypatch.setattr(ttyrec, "Converter", None)
    assert len(expected) == 3
    assert sum(len(columns[0]) for columns in expected.values()) > 1000
    for path, columns in expected.items():
        assert_equal(columns, ours(path))


@pytest.mark.slow
def test_recordings_of_an_expert_need_no_converter(nld: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sorted((nld / "roles" / "any").glob("*.bz2"), key=lambda path: path.stat().st_size)[2:8]
    expected = {path: converter(path) for path in whole}
    monkeypatch.setattr(ttyrec, "Converter", None)
    for path, columns in expected.items():
        assert_equal(columns, ours(path))


KNOWN = [
    b"plain text", b"\x1b[5;70Hbeyond the edge of the line", b"\x1b[24;70Hbeyond the end of the screen",
    b"\r\n\n\x08\x07x", b"\x1b[24;1H\n\n", b"\x1b[H", b"\x1b[;7H1", b"\x1b[99;999H2", b"\x1b[3d" b"\x1b[0;0H3",
    b"\x1b[10;10H\x1b[K", b"\x1b[2K", b"\x1b[J", b"\x1b[2J", b"\x1b[5;5H\x1b[A4\x1b[2B5\x1b[3C6\x1b[2D7",
    b"\x1b[1;31mred\x1b[0mplain\x1b[22mthin\x1b[7minverse \x1b[27mnot\x1b[m",
    b"\x1b[1;33;7m8 \x1b[K\x1b[0;30m9\x1b[39m",
    b"\x1b[7;1m \x1b[0m", b"\x1b[31;1mbold by a number above 20\x1b[0m", b"\x1b[0;1;34;7mall \x1b[0m", b"\x08\x08",
]  # fmt: skip
"""Control sequences that NLE writes, and their edges."""

STRANGE = [
    b"\x1b[1K", b"\x1b[1J", b"\x1b[2;2H\x1b[9A", b"\x1b[9D", b"\tafter a tab", b"\x1b7\x1b[9;9H\x1b8", b"\x1bc",
    b"\x1b[L", b"\x1b[3M", b"\x1b[4P", b"\x1b[2@", b"\x1b[3X", b"\x1b[5G", b"\x1b[2S\x1b[1T", b"x\x1b[4b", b"\x1b[?25l",
    b"\x0elqqk\x0f", b"\x1b(0lqqk\x1b(B", b"\xb3\xc4\xff\x80", b"\x7f", b"\x00", b"\x1b[4;5;44mlines", b"\x1b]0;title",
    b"\x1b[1;2;3;4;5;6;7;8;9m", b"\x1b[123456H", b"unfinished \x1b", b"unfinished \x1b[", b"unfinished \x1b[3",
]  # fmt: skip
"""What NLE's terminal writer never writes, but its converter reads."""


def test_every_known_sequence_is_read_as_the_converter_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = [before + after for before in KNOWN for after in KNOWN]
    path = write(tmp_path / "known", recording(outputs))
    expected = converter(path)
    strange = [output for output in KNOWN if b"\x1b[3d" in output]
    assert len(strange) == 1
    assert_equal(expected, ours(path))
    path = write(tmp_path / "known", recording([output for output in outputs if b"\x1b[3d" not in output]))
    expected = converter(path)
    monkeypatch.setattr(ttyrec, "Converter", None)
    assert_equal(expected, ours(path))


@pytest.mark.parametrize("output", STRANGE)
@pytest.mark.parametrize("before", [0, 3, SIZE, 2 * SIZE + 5])
def test_a_strange_sequence_is_left_to_the_converter(tmp_path: Path, output: bytes, before: int) -> None:
    plain = [KNOWN[number % 5] for number in range(before)]
    path = write(tmp_path / "strange", recording([*plain, output, *KNOWN[:7]]))
    assert_equal(converter(path), ours(path))


def test_a_thousand_altered_outputs_are_read_as_the_converter_does(tmp_path: Path) -> None:
    random, by_converter = np.random.default_rng(0), 0
    pieces = [*KNOWN, *STRANGE]
    for _ in range(1000):
        outputs = []
        for _ in range(12):
            # Mostly what NLE writes; a byte of it altered now and then.
            piece = bytearray(pieces[random.integers(len(KNOWN) if random.random() < 0.95 else len(pieces))])
            if random.random() < 0.1:
                piece[random.integers(len(piece))] = random.integers(256)
            outputs.append(bytes(piece))
        content = recording(outputs)
        path = write(tmp_path / "altered", content)
        screen = terminal.new_terminal()
        known = (terminal._write(np.frombuffer(output, np.uint8), 0, len(output), *screen) for output in outputs)
        by_converter += not all(known)
        assert_equal(converter(path), ours(path))
    assert 300 < by_converter < 900


def test_two_thousand_damaged_recordings_are_refused_or_read_as_the_converter_does(tmp_path: Path) -> None:
    """Bytes altered, left out, put in, before and after packing: nothing ends the process, nothing is made up."""
    random = np.random.default_rng(1)
    content = ttyrec3(b"hjklyubn" * 12)
    packed = bz2.compress(content)
    refused = accepted = 0
    path = tmp_path / "damaged"
    for number in range(2000):
        inside = number % 2 == 0
        damaged = bytearray(content if inside else packed)
        for _ in range(int(random.integers(1, 4))):
            place = int(random.integers(len(damaged)))
            how = random.integers(5)
            if how == 0:
                damaged[place] ^= 1 << int(random.integers(8))
            elif how == 1:
                damaged[place] = random.integers(256)
            elif how == 2:
                del damaged[place : place + int(random.integers(1, 40))]
            elif how == 3:
                damaged[place:place] = random.bytes(int(random.integers(1, 40)))
            else:
                damaged[place : place + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(bz2.compress(damaged) if inside else damaged)
        try:
            read = ours(path)
        except Unusable:
            refused += 1
            continue
        accepted += 1
        if not inside:
            assert bz2.decompress(damaged) == content
        assert_equal(converter(path), read)
    assert refused > 1200
    assert accepted > 200


@pytest.mark.parametrize(
    "outputs",
    [
        [b"x\x1b[999999999999b"],
        [b"x\x1b[999999999999999;1b"],
        [b"x\x1b[300000000", b"b"],
        [b"x\x1b[3", b"000", b"00?0", b";;1b"],
        [b"x\x1b[99999\x1b[b"],
        [b"x\x1b[99999\x1b", b"[9b"],
    ],
)
def test_a_character_repeated_for_hours_is_refused(tmp_path: Path, outputs: list[bytes]) -> None:
    path = write(tmp_path / "trap", recording(outputs))
    with pytest.raises(Unusable, match="repeats a character for hours") as caught:
        list(ttyrec.steps(path))
    assert caught.value.kind == DAMAGED
    path = write(tmp_path / "trap", b"".join(frame(0, output)[:12] + output for output in outputs))
    with pytest.raises(Unusable, match="repeats a character for hours"):
        list(ttyrec.screens([path]))


def test_what_looks_like_a_trap_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "text", recording([b"\t12345b 99999b", b"x\x1b[70b", b"\x1b[99999Hb"]))
    assert_equal(converter(path), ours(path))


def test_version_one_is_a_step_a_frame(tmp_path: Path) -> None:
    content = b"".join(frame(0, output)[:12] + output for output in KNOWN * 40)
    paths = [write(tmp_path / name, content) for name in ("one", "two")]
    pieces = [tuple(column.copy() for column in piece) for piece in ttyrec.screens(paths)]
    chars, _, cursor, _, scores, _ = (np.concatenate(column) for column in zip(*pieces, strict=True))
    reader = Converter(24, 80, 1)
    for path, start in zip(paths, (0, len(chars) // 2), strict=True):
        reader.load_ttyrec(str(path))
        buffers = ttyrec.converter_buffers()
        reader.convert(*buffers)
        count = len(chars) // 2
        np.testing.assert_array_equal(chars[start : start + count], buffers[0][:count])
        np.testing.assert_array_equal(cursor[start : start + count], buffers[2][:count])
    assert len(chars) in range(2 * 40 * len(KNOWN) - 2, 2 * 40 * len(KNOWN) + 1)
    assert (scores == NO_SCORE).all()


@pytest.mark.parametrize("content", [b"\0" * 12, frame(0, b"whole")[:12] + b"hol", frame(0, b"whole")[:7]])
def test_a_damaged_recording_of_version_one_is_refused(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "damaged", content)
    with pytest.raises(Unusable):
        list(ttyrec.screens([path]))


LABELS = (-1, 7, 7, 0, 11, 1) * 900


def version(content: bytes) -> int:
    return ttyrec.version_of(np.frombuffer(content, np.uint8))


def test_versions_are_told_by_content() -> None:
    keys = b"hjkl"
    screens = [b"\x1b[2Jscreen %d" % number for number in range(9)]
    assert version(b"".join(frame(0, screen)[:12] + screen for screen in screens)) == 1
    assert version(b"".join(frame(0, b"screen") + frame(1, bytes([key])) for key in keys)) == 2
    assert version(ttyrec3(keys)) == 3
    assert version(ttyrec4(keys, LABELS)) == 4
    assert version(ttyrec3(b"")) == version(b"") == version(b"short") == 3
    # An output of one byte begins as a channel would.
    assert version(b"".join(frame(0, screen)[:12] + screen for screen in (b"\x01", b"\x00", b"\x02\x02"))) == 1


@pytest.mark.parametrize("unknown", [b"", b"\x1b[?1049h"])
def test_labels_are_those_of_the_keys(tmp_path: Path, unknown: bytes) -> None:
    """With and without a control sequence that only NLE's converter knows."""
    keys = b"hjklyubn" * 675
    whole = ttyrec4(keys, LABELS)
    path = write(tmp_path / "labelled", frame(0, unknown or b" ") + whole)
    plain = write(tmp_path / "plain", frame(0, unknown or b" ") + ttyrec3(keys))
    *columns, labels = ours(path)
    assert labels.tolist() == list(LABELS)
    assert_equal(converter(plain), [*columns, np.full(len(labels), NO_LABEL, np.int8)])


@pytest.mark.parametrize("misplaced", [frame(3, bytes(4)) * 2, frame(3, b"\x80\0\0\0"), frame(3, bytes(3))])
def test_a_label_out_of_place_is_damage(tmp_path: Path, misplaced: bytes) -> None:
    path = write(tmp_path / "damaged", ttyrec4(b"hj", LABELS) + frame(1, b"k") + misplaced)
    with pytest.raises(Unusable, match="out of place after 3 key"):
        list(ttyrec.steps(path))


def test_hihack_games_are_read_with_their_labels(cases: Path) -> None:
    for path in sorted((cases / "nle" / "ttyrec4").rglob("*.bz2")):
        *_, keys, scores, labels = ours(path)
        content, at, expected = bz2.decompress(path.read_bytes()), 0, []
        while at < len(content):
            size, channel = int.from_bytes(content[at + 8 : at + 12], "little"), content[at + 12]
            if channel == terminal.LABEL:
                expected.append(int.from_bytes(content[at + 13 : at + 17], "little", signed=True))
            at += 13 + size
        assert labels.tolist() == expected
        assert len(keys) == len(scores) == len(labels) > 700
        assert {0, 1, 7} <= set(expected) <= set(HIHACK)


def test_recordings_by_early_nle_have_keys(cases: Path) -> None:
    [path] = (cases / "nle" / "nle07").glob("*.bz2")
    assert path.name.endswith(".ttyrec.bz2")
    expected, read = converter(path, 2), ours(path)
    assert len(read[3]) == 1500
    # The converter omits a key press at the very end of a file.
    assert_equal(expected, [column[:1499] for column in read])
