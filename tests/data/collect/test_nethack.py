"""Collecting games: reproducible, resumable, whole."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from nle._pyconverter import Converter

from data.collect.nethack import PART, GameResult, collect, episode_seed
from data.common.cli import UserError
from data.importers.nld import import_nld
from data.store.reader import TrajectoryStore

FRAMES = 400
HERE = Path(__file__).resolve().parents[3]


def recording(folder: Path) -> Path:
    (file,) = folder.glob("nle.*.ttyrec3.bz2")
    return file


def frames(folder: Path) -> tuple[np.ndarray, ...]:
    """Characters, colours, cursors, keys and scores of the first frames of a game's recording."""
    converter = Converter(24, 80, 3)
    converter.load_ttyrec(str(recording(folder)))
    chars = np.zeros((FRAMES, 24, 80), np.uint8)
    colors = np.zeros((FRAMES, 24, 80), np.int8)
    cursors = np.zeros((FRAMES, 2), np.int16)
    keys = np.zeros(FRAMES, np.uint8)
    scores = np.zeros(FRAMES, np.int32)
    left = converter.convert(chars, colors, cursors, np.zeros(FRAMES, np.int64), keys, scores)
    end = FRAMES - left
    # The last frame holds paths and process numbers: NetHack complains that it can't write its records.
    return tuple(part[: end - 1] for part in (chars, colors, cursors, keys, scores))


def same_games(one: Path, other: Path, episodes: int) -> None:
    for index in range(episodes):
        name = f"game-{index:05d}"
        first, second = frames(one / name), frames(other / name)
        assert len(first[0]) > 50
        for left, right in zip(first, second, strict=True):
            np.testing.assert_array_equal(left, right)


def test_games_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    one = collect(tmp_path / "one", episodes=3, workers=1, max_steps=200)
    two = collect(tmp_path / "two", episodes=3, workers=2, max_steps=200)
    assert one == two
    assert [result.seed for result in one] == [episode_seed(0, index) for index in range(3)]
    same_games(tmp_path / "one", tmp_path / "two", 3)


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """A library that moves the clock of processes which load it first."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for a library that moves the clock")
    library = tmp_path / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def test_a_game_is_the_same_in_any_year_and_time_zone(tmp_path: Path, clock: Path) -> None:
    """To its end: a tombstone shows the year."""
    checksums = set()
    for shift, zone in ((0, "UTC"), (94_608_000, "Asia/Tokyo"), (-630_000_000, "NLE+11:30")):
        games, store = tmp_path / f"games{shift}", tmp_path / f"store{shift}"
        elsewhere = os.environ | {"LD_PRELOAD": str(clock), "CLOCK_SHIFT": str(shift), "TZ": zone}
        command = [sys.executable, "-m", "data", "collect", "nethack", games]
        options = ["--episodes", "1", "--seed", "6", "--workers", "1"]
        subprocess.run([*command, *options], env=elsewhere, cwd=HERE, check=True, capture_output=True)
        assert import_nld(games, store, dev_fraction=0, workers=1).games == 1
        opened = TrajectoryStore.open(store)
        last = opened.read(0, opened.episodes[0].length - 10, opened.episodes[0].length)
        assert any(b" 2026 " in screen.tobytes() for screen in last.chars_Sx24x80)
        checksums.add(opened.checksum)
    assert len(checksums) == 1


def test_results_agree_with_the_recordings(tmp_path: Path) -> None:
    (result,) = collect(tmp_path / "out", episodes=1, workers=1, max_steps=150)
    chars, _, _, keys, scores = frames(tmp_path / "out" / "game-00000")
    assert result.steps == 150
    assert result.steps <= len(keys) <= result.steps + 20
    assert result.end == "quit"
    assert result.score == scores.max() > 0
    assert bytes(chars[0]).startswith(b"Hello Agent, welcome to NetHack!")
    (xlog,) = (tmp_path / "out" / "game-00000").glob("*xlogfile")
    assert f"ttyrecname={recording(xlog.parent).name}" in xlog.read_text()
    assert f"points={result.score}\t" in xlog.read_text()


def test_going_on_keeps_finished_games_and_replays_the_rest(tmp_path: Path) -> None:
    whole = collect(tmp_path / "whole", episodes=4, workers=1, max_steps=120)
    out = tmp_path / "out"
    collect(out, episodes=2, workers=1, max_steps=120)
    kept = {file: file.stat().st_mtime_ns for file in out.glob("game-*/*")}
    half_written = out / f"game-00002{PART}"
    half_written.mkdir()
    (half_written / "nle.1.0.ttyrec3.bz2").write_bytes(b"BZh9 and then the power went")
    assert collect(out, episodes=4, workers=1, max_steps=120) == whole
    assert kept.items() <= {file: file.stat().st_mtime_ns for file in out.glob("game-*/*")}.items()
    assert not list(out.glob("*" + PART))
    same_games(tmp_path / "whole", out, 4)


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_collection_goes_on(tmp_path: Path, blow: signal.Signals) -> None:
    out = tmp_path / "out"
    code = (
        "from pathlib import Path; from data.collect.nethack import collect\n"
        "if __name__ == '__main__':\n"
        f"    collect(Path({str(out)!r}), episodes=5000, workers=2, max_steps=100)"
    )
    script = tmp_path / "play.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    process = subprocess.Popen(
        [sys.executable, script], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 600
    while len(list(out.glob("game-*[0-9]"))) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(blow)
    assert process.wait(timeout=600) != 0
    finished = len(list(out.glob("game-*[0-9]")))
    assert finished < 5000
    results = collect(out, episodes=finished + 2, workers=1, max_steps=100)
    assert results == collect(tmp_path / "again", episodes=finished + 2, workers=1, max_steps=100)


def test_random_keys_can_be_recorded_too(tmp_path: Path) -> None:
    (result,) = collect(tmp_path / "out", episodes=1, workers=1, max_steps=100, player="random")
    assert isinstance(result, GameResult)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"player": "me"}, "unknown expert 'me'"),
        ({"episodes": 0}, "--episodes is 0"),
        ({"workers": 0}, "--workers is 0"),
        ({"max_steps": 0}, "--max-steps is 0"),
        ({"seed": -1}, "--seed is -1"),
        ({"character": "sam-elf-neu-mal"}, "NetHack would play sam-hum-law-mal"),
        ({"character": "wizard"}, "NetHack would play"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, options: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        collect(**{"out": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_a_folder_made_otherwise_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    collect(out, episodes=1, workers=1, max_steps=20)
    for options in ({"seed": 1}, {"character": "@"}, {"max_steps": 21}, {"player": "random"}):
        with pytest.raises(UserError, match=f"made with {next(iter(options))}"):
            collect(out, **{"episodes": 1, "workers": 1, "max_steps": 20, **options})


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds other things"):
        collect(tmp_path, episodes=1)
    with pytest.raises(UserError, match="is a file"):
        collect(tmp_path / "thesis.tex", episodes=1)


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    collect(tmp_path, episodes=1, workers=1, max_steps=20)
    (tmp_path / "game-00000" / "game.json").write_text('{"seed": 1}')
    with pytest.raises(UserError, match=r"game-00000/game\.json is damaged"):
        collect(tmp_path, episodes=1, workers=1, max_steps=20)


def test_settings_cut_short_before_the_first_game_are_absent(tmp_path: Path) -> None:
    (tmp_path / "collect.json").touch()
    (tmp_path / ".collect.json.0123456789abcdef").touch()
    collect(tmp_path, episodes=1, workers=1, max_steps=20)
    assert json.loads((tmp_path / "collect.json").read_text())["max_steps"] == 20
    (tmp_path / "collect.json").write_text("")
    with pytest.raises(UserError, match=r"collect\.json is damaged: record into another folder"):
        collect(tmp_path, episodes=1, workers=1, max_steps=20)


def test_the_settings_are_written_beside_the_games(tmp_path: Path) -> None:
    collect(tmp_path / "out", episodes=1, workers=1, seed=7, max_steps=20)
    assert json.loads((tmp_path / "out" / "collect.json").read_text()) == {
        "game": "nethack",
        "character": "mon-hum-neu-mal",
        "seed": 7,
        "max_steps": 20,
        "player": "expert",
    }
