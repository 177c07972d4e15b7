import bz2
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nle.dataset import Converter

from data.common.cli import UserError
from data.games import nethack
from data.importers import ttyrec
from data.importers.base import ABANDONED, DAMAGED, DUPLICATE, EMPTY, Skipped, Unusable, converted, import_games
from data.importers.nld import FOREIGN, convert, find, import_nld
from data.sampling.stream import dev_batches
from data.spec import NO_SCORE, NetHackSteps
from data.store.pack import PackedEpisode
from data.store.reader import TrajectoryStore
from data.store.verify import verify
from data.view.info import info
from tests.data.importers.recordings import KEYS, frame, play, row, ttyrec3, ttyrec4, write

NAME = "nle.1.0.ttyrec3.bz2"
FOUR_KEYS = ttyrec3(b"hjkl")


def raw(path: Path, version: int = 3) -> tuple[np.ndarray, ...]:
    """What NLE's converter makes of a recording: chars, colors, cursors, keys, scores."""
    size = 100_000
    chars, colors = np.zeros((size, 24, 80), np.uint8), np.zeros((size, 24, 80), np.int8)
    cursors, times = np.zeros((size, 2), np.int16), np.zeros(size, np.int64)
    keys, scores = np.zeros(size, np.uint8), np.zeros(size, np.int32)
    converter = Converter(24, 80, version)
    converter.load_ttyrec(str(path))
    count = size - converter.convert(chars, colors, cursors, times, keys, scores)
    return tuple(column[:count] for column in (chars, colors, cursors, keys, scores))


def assert_as_converted(steps: NetHackSteps, path: Path) -> None:
    chars, colors, cursors, keys, scores = raw(path)
    np.testing.assert_array_equal(steps.chars_Sx24x80, chars)
    np.testing.assert_array_equal(steps.colors_Sx24x80, colors)
    np.testing.assert_array_equal(steps.cursor_Sx2, cursors)
    np.testing.assert_array_equal(np.array(KEYS)[steps.action_S], keys)
    np.testing.assert_array_equal(steps.score_S, scores)


def only(folder: Path) -> Any:
    """What becomes of the one recording of a folder."""
    [recording] = find(folder)
    return converted(convert, recording)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return play(tmp_path_factory.mktemp("played") / "monk", games=4, steps=700)


@pytest.fixture(scope="module")
def store(played: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imported") / "store"
    import_nld(played, path, expert="chance", dev_fraction=0.4, workers=2)
    return path


def test_games_are_stored_as_the_converter_reads_them(played: Path, store: Path) -> None:
    opened = TrajectoryStore.open(store)
    assert sorted(row.source for row in opened.episodes) == sorted(p.name for p in played.glob("*.bz2"))
    for number, episode in enumerate(opened.episodes):
        assert_as_converted(opened.read(number, 0, episode.length), played / episode.source)
        assert (episode.score, episode.turns, episode.depth) == (77.0, 123, 3)
        assert (episode.role, episode.death) == ("mon-hum-neu-mal", "killed by a newt, while praying")
    assert opened.manifest["expert"] == "chance"
    assert verify(store) == []


def test_batches_are_what_the_converter_reads(played: Path, store: Path) -> None:
    opened = TrajectoryStore.open(store)
    cells: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    for batch in dev_batches(opened, 2, 32):
        for lane, t in zip(*np.nonzero(batch.mask), strict=True):
            observation = batch.observation
            cell = observation["chars"][lane, t], observation["colors"][lane, t], batch.action[lane, t]
            cells.setdefault(int(batch.episode[lane, t]), []).append(cell)
    assert sorted(cells) == opened.rows("dev").tolist()
    for number, steps in cells.items():
        chars, colors, _, keys, _ = raw(played / opened.episodes[number].source)
        np.testing.assert_array_equal(np.stack([step[0] for step in steps]), chars)
        np.testing.assert_array_equal(np.stack([step[1] for step in steps]), colors)
        assert [KEYS[step[2]] for step in steps] == keys.tolist()


def test_real_games_are_stored_bit_for_bit(nld: Path, tmp_path: Path) -> None:
    source = nld / "roles" / "any"
    smallest = sorted(source.glob("*.bz2"), key=lambda path: path.stat().st_size)[:2]
    for path in (*smallest, *source.glob("*xlogfile")):
        shutil.copy(path, tmp_path)
    report = import_nld(tmp_path, tmp_path / "store", workers=1)
    assert report.games == 2, report
    opened = TrajectoryStore.open(tmp_path / "store")
    for number, episode in enumerate(opened.episodes):
        assert_as_converted(opened.read(number, 0, episode.length), tmp_path / episode.source)


def test_the_number_of_workers_changes_nothing(played: Path, store: Path, tmp_path: Path) -> None:
    import_nld(played, tmp_path / "store", expert="chance", dev_fraction=0.4, workers=1)
    for path in sorted(store.iterdir()):
        assert path.read_bytes() == (tmp_path / "store" / path.name).read_bytes(), path.name


def test_the_id_is_that_of_the_game_not_of_the_file(tmp_path: Path) -> None:
    one = only(write(tmp_path / "one", {NAME: ttyrec3(b"hjkl")}))
    other = only(write(tmp_path / "two", {"nle.2.7.ttyrec3.bz2": ttyrec3(b"hjkl")}))
    longer = only(write(tmp_path / "three", {NAME: ttyrec3(b"hjklh")}))
    assert isinstance(one, PackedEpisode)
    assert isinstance(other, PackedEpisode)
    assert isinstance(longer, PackedEpisode)
    assert one.id == other.id != longer.id
    assert len(one.id) == 16


def test_screens_scores_and_keys_are_aligned(tmp_path: Path) -> None:
    folder = write(tmp_path / "games", {NAME: ttyrec3(b"hjkl", "before key")})
    import_nld(folder, tmp_path / "store", dev_fraction=0, workers=1)
    steps = TrajectoryStore.open(tmp_path / "store").read(0, 0, 4)
    assert bytes(KEYS[action] for action in steps.action_S) == b"hjkl"
    assert steps.score_S.tolist() == [0, 10, 20, 30]
    for step, chars in enumerate(steps.chars_Sx24x80):
        assert f"before key {step}".encode() in chars.tobytes()
        assert f"before key {step + 1}".encode() not in chars.tobytes()


@pytest.mark.parametrize("name", ["nle.1.0.ttyrec.bz2", "nle.1.0.ttyrec2.bz2", "nle.1.0.ttyrec9.bz2"])
def test_names_do_not_tell_versions(tmp_path: Path, name: str) -> None:
    game = only(write(tmp_path, {name: FOUR_KEYS}))
    assert isinstance(game, PackedEpisode)
    assert game.id == only(write(tmp_path / "three", {NAME: FOUR_KEYS})).id


def test_version_two_holds_no_scores(tmp_path: Path) -> None:
    content = b"".join(frame(0, b"screen") + frame(1, bytes([key])) for key in b"hjkl") + frame(0, b"end")
    folder = write(tmp_path / "games", {"nle.1.0.ttyrec2.bz2": content})
    import_nld(folder, tmp_path / "store", dev_fraction=0, workers=1)
    assert TrajectoryStore.open(tmp_path / "store").read(0, 0, 4).score_S.tolist() == [NO_SCORE] * 4


FIRST_KEY = FOUR_KEYS.index(frame(1, b"h"))


def test_labels_are_stored_counted_and_shown(tmp_path: Path) -> None:
    folder = write(tmp_path / "games", {"nle.1.0.ttyrec4.bz2": ttyrec4(b"hjkl", [7, -1, 11, 11])})
    import_nld(folder, tmp_path / "store", dev_fraction=0, workers=1)
    store = TrajectoryStore.open(tmp_path / "store")
    assert store.read(0, 0, 4).label_S.tolist() == [7, -1, 11, 11]
    assert store.read(0, 1, 3).label_S.tolist() == [-1, 11]
    assert store.manifest["label_counts"] == {"-1": 1, "7": 1, "11": 2}
    assert "cure_disease" in info(tmp_path / "store")
    assert verify(tmp_path / "store") == []
    same = write(tmp_path / "more", {NAME: FOUR_KEYS, "nle.1.1.ttyrec4.bz2": ttyrec4(b"hh", [0, 0])})
    report = import_nld(same, tmp_path / "store", workers=1)
    assert [skip.kind for skip in report.skipped] == [DUPLICATE], "a game is the same without labels"
    assert TrajectoryStore.open(tmp_path / "store").manifest["label_counts"] == {"-1": 1, "0": 2, "7": 1, "11": 2}


def damage_stream(content: bytes) -> bytes:
    packed = bytearray(bz2.compress(content))
    packed[len(packed) // 2] ^= 0x10
    return bytes(packed)


@pytest.mark.parametrize(
    ("name", "packed", "kind", "said"),
    [
        (NAME, b"", EMPTY, "the file is empty"),
        (NAME, bz2.compress(b""), EMPTY, "no key was pressed"),
        (NAME, bz2.compress(ttyrec3(b"")), EMPTY, "no key was pressed"),
        (NAME, b"not bzip2 at all", DAMAGED, "not valid bzip2"),
        (NAME, damage_stream(FOUR_KEYS), DAMAGED, "not valid bzip2"),
        (NAME, bz2.compress(FOUR_KEYS)[:-1], DAMAGED, "cut short"),
        (NAME, bz2.compress(FOUR_KEYS)[:20], DAMAGED, "cut short"),
        (NAME, bz2.compress(FOUR_KEYS)[:1], DAMAGED, "cut short"),
        (NAME, bz2.compress(FOUR_KEYS[:-1]), DAMAGED, "cut short inside a frame"),
        (NAME, bz2.compress(FOUR_KEYS) + b"more", DAMAGED, "4 bytes follow"),
        (NAME, bz2.compress(FOUR_KEYS) * 2, DAMAGED, "bytes follow the end of its bzip2 stream"),
        (NAME, bz2.compress(frame(0, b"")), DAMAGED, "a frame of 0 bytes"),
        (NAME, bz2.compress(struct.pack("<iiiB", 0, 0, -5, 0) + FOUR_KEYS), DAMAGED, "a frame of -5 bytes"),
        (NAME, bz2.compress(struct.pack("<iiiB", 0, 0, 2**31 - 1, 0)), DAMAGED, "a frame of 2147483647"),
        (NAME, bz2.compress(FOUR_KEYS + frame(3, b"x")), DAMAGED, "out of place after 4 key"),
        (NAME, bz2.compress(FOUR_KEYS + frame(2, b"\0" * 4)), DAMAGED, "out of place"),
        (NAME, bz2.compress(frame(1, b"h") + FOUR_KEYS), DAMAGED, "out of place after 0 key"),
        (NAME, bz2.compress(FOUR_KEYS + frame(1, b"hh")), DAMAGED, "out of place"),
        (NAME, bz2.compress(ttyrec3(b"hj\x00k")), FOREIGN, "key 0 at step 2"),
        ("nle.1.0.ttyrec.bz2", bz2.compress(frame(0, b"abc")[:12] + b"abc"), ttyrec.NO_KEYS, "version 1"),
    ],
)
def test_what_cannot_be_imported_is_named(tmp_path: Path, name: str, packed: bytes, kind: str, said: str) -> None:
    write(tmp_path, {name: b""})
    (tmp_path / name).write_bytes(packed)
    skipped = only(tmp_path)
    assert isinstance(skipped, Skipped)
    assert (skipped.source, skipped.kind) == (name, kind)
    assert said in skipped.reason


@pytest.mark.parametrize(
    ("log", "kind", "said"),
    [
        (None, ABANDONED, "no xlogfile"),
        ("", ABANDONED, "no xlogfile"),
        (row("nle.1.1.ttyrec3.bz2"), ABANDONED, "no xlogfile"),
        (row(NAME).replace("ttyrecname", "other"), ABANDONED, "no xlogfile"),
        (row(NAME) * 2, DAMAGED, "2 rows"),
        (row(NAME).replace("points=77", "points="), DAMAGED, "incomplete"),
        (row(NAME).replace("points=77", "points=" + "9" * 400), DAMAGED, "incomplete (number 999"),
        (row(NAME).replace("turns=123", "turns=" + "9" * 5000), DAMAGED, "incomplete (number 999"),
        (row(NAME).replace("points=77\t", ""), DAMAGED, "incomplete ('points')"),
        (row(NAME)[:50], ABANDONED, "no xlogfile"),
        ("\x00\xff garbage\n\n\t=\t=\n" + row(NAME), None, ""),
        (row(NAME).replace("a newt", "a \x85 newt, called = \x1c"), None, ""),
    ],
)
def test_rows_that_do_not_match_are_named(tmp_path: Path, log: str | None, kind: str | None, said: str) -> None:
    write(tmp_path, {NAME: FOUR_KEYS})
    (tmp_path / "nle.1.xlogfile").unlink()
    if log is not None:
        (tmp_path / "nle.1.xlogfile").write_text(log, "latin-1", newline="")
    result = only(tmp_path)
    if kind is None:
        assert isinstance(result, PackedEpisode)
    else:
        assert isinstance(result, Skipped)
        assert result.kind == kind
        assert said in result.reason


PACKED = bz2.compress(ttyrec3(b"hjklyubn" * 40))


def keys_of(path: Path) -> bytes:
    return b"".join(played.key_S.tobytes() for played in ttyrec.steps(path))


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    for size in range(len(PACKED)):
        (tmp_path / NAME).write_bytes(PACKED[:size])
        with pytest.raises(Unusable):
            keys_of(tmp_path / NAME)


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    accepted = 0
    for place in range(0, 8 * len(PACKED), 3):
        flipped = bytearray(PACKED)
        flipped[place // 8] ^= 1 << place % 8
        (tmp_path / NAME).write_bytes(flipped)
        try:
            keys_of(tmp_path / NAME)
        except Unusable:
            continue
        accepted += 1
        assert bz2.decompress(flipped) == bz2.decompress(PACKED)
    assert accepted < len(PACKED) / 10


def test_a_seed_noted_beside_the_game_is_kept(tmp_path: Path) -> None:
    write(tmp_path, {NAME: FOUR_KEYS})
    (tmp_path / "game.json").write_text('{"seed": 123, "score": 4}')
    game = only(tmp_path)
    assert isinstance(game, PackedEpisode)
    assert game.seed == 123
    for note in ('{"seed": ', '{"seed": 1e999}', '{"seed": []}', "[1]", "[" * 100_000, '{"seed": ' + "9" * 300 + "}"):
        (tmp_path / "game.json").write_text(note)
        skipped = only(tmp_path)
        assert isinstance(skipped, Skipped)
        assert "game.json beside it is damaged" in skipped.reason


def test_a_named_pipe_is_passed_by(tmp_path: Path) -> None:
    folder = write(tmp_path / "games", {NAME: FOUR_KEYS})
    os.mkfifo(folder / "nle.1.1.ttyrec3.bz2")
    os.mkfifo(folder / "nle.2.xlogfile")
    assert [recording.source for recording in find(folder)] == [NAME]


def fatal(recording: Any) -> PackedEpisode:
    """Convert, but die of one recording."""
    if recording.source == "nle.1.3.ttyrec3.bz2":
        os._exit(1)
    return convert(recording)


def test_a_recording_that_ends_the_process_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.importers.base._AHEAD", 1)  # two under way, and others left to try afterwards
    names = {f"nle.1.{number}.ttyrec3.bz2": ttyrec3(b"hjkl" * (number + 1)) for number in range(7)}
    folder = write(tmp_path / "games", names)
    report = import_games(tmp_path / "store", nethack.content(), folder, find, fatal, importer="test", workers=2)
    assert report.games == 6
    assert [(skip.source, skip.kind) for skip in report.skipped] == [("nle.1.3.ttyrec3.bz2", DAMAGED)]
    sources = [episode.source for episode in TrajectoryStore.open(tmp_path / "store").episodes]
    assert sources == sorted(set(names) - {"nle.1.3.ttyrec3.bz2"})


def test_frames_may_straddle_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, {NAME: ttyrec3(b"hjkl" * 30)}) / NAME
    monkeypatch.setattr(ttyrec, "_BLOCK", 7)
    assert keys_of(path) == b"hjkl" * 30


def test_a_report_names_and_counts_all_that_was_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "games"
    write(folder / "a", {NAME: ttyrec3(b"hjkl"), "nle.1.1.ttyrec3.bz2": ttyrec3(b"hhhh")})
    write(folder / "b", {NAME: ttyrec3(b"hjkl"), "nle.1.2.ttyrec3.bz2": ttyrec3(b"jjjj")})
    (folder / "a" / "nle.1.5.ttyrec3.bz2").write_bytes(b"")
    (folder / "b" / "nle.1.7.ttyrec3.bz2").write_bytes(bz2.compress(FOUR_KEYS))
    path = folder / "b" / "nle.1.2.ttyrec3.bz2"
    path.write_bytes(path.read_bytes()[:-3])
    report = import_nld(folder, tmp_path / "store", workers=2)
    assert (report.games, report.steps, report.harmed) == (2, 8, 1)
    assert [(skip.source, skip.kind) for skip in report.skipped] == [
        ("a/nle.1.5.ttyrec3.bz2", EMPTY),
        ("b/nle.1.0.ttyrec3.bz2", DUPLICATE),
        ("b/nle.1.2.ttyrec3.bz2", DAMAGED),
        ("b/nle.1.7.ttyrec3.bz2", ABANDONED),
    ]
    assert "skipped 4 recordings" in str(report)
    assert "the same game as a/nle.1.0.ttyrec3.bz2" in str(report)
    manifest = TrajectoryStore.open(tmp_path / "store").manifest
    assert [skip["source"] for skip in manifest["imports"][0]["skipped"]] == [skip.source for skip in report.skipped]


def empty(folder: Path) -> None:
    folder.mkdir()


def worthless(folder: Path) -> None:
    write(folder, {NAME: b"", "nle.1.1.ttyrec3.bz2": FOUR_KEYS[:-1]})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "no folder"),
        (lambda folder: folder.write_text(""), "no folder"),
        (empty, "no recording"),
        (worthless, "no game to import under .*: 1 empty .*; 1 damaged"),
    ],
)
def test_a_folder_without_games_is_an_error(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    make(tmp_path / "games")
    with pytest.raises(UserError, match=said):
        import_nld(tmp_path / "games", tmp_path / "store", workers=1)
    assert not list(tmp_path.glob("store*"))


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_positive(played: Path, tmp_path: Path, workers: int) -> None:
    with pytest.raises(UserError, match="at least 1"):
        import_nld(played, tmp_path / "store", workers=workers)


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path / "real", {NAME: FOUR_KEYS})
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(folder)
    assert [recording.source for recording in find(folder)] == [f"link/{NAME}"]


def test_five_hundred_altered_xlogfiles_are_read_or_named(tmp_path: Path) -> None:
    write(tmp_path, {NAME: FOUR_KEYS})
    log = tmp_path / "nle.1.xlogfile"
    honest = (row("nle.1.7.ttyrec3.bz2") + row(NAME)).encode()
    random, kept = np.random.default_rng(0), 0
    for _ in range(500):
        damaged = bytearray(honest)
        for _ in range(int(random.integers(1, 6))):
            place = int(random.integers(len(damaged)))
            how = random.integers(4)
            if how == 0:
                damaged[place] = random.integers(256)
            elif how == 1:
                del damaged[place : place + int(random.integers(1, 30))]
            elif how == 2:
                damaged[place:place] = random.choice([b"\t", b"\n", b"=", b"9" * 30, b"\x00", b"\xff"])
            else:
                damaged[place:place] = damaged[: int(random.integers(200))]
        log.write_bytes(damaged)
        result = only(tmp_path)
        assert isinstance(result, PackedEpisode | Skipped)
        if isinstance(result, PackedEpisode):
            kept += 1
            assert result.length == 4
            assert abs(result.score) < 2**63
    assert 50 < kept < 450
