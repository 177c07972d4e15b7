"""A game as a film, on a terminal and as a GIF."""

import io
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.codec.screens import SCREENS
from data.common.cli import UserError
from data.games import nethack
from data.games.keys import KEYS, action_of_key, names
from data.spec import NO_LABEL, NetHackSteps
from data.store.pack import pack
from data.store.reader import TrajectoryStore
from data.store.writer import StoreWriter
from data.view.glyphs import LEVELS, glyphs
from data.view.nethack import picture, text
from data.view.play import GIF_STEPS, find, play
from tests.data.codec.test_codec import screens_with_a_menu

HERE = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("play") / "store"
    steps = screens_with_a_menu()
    readable = NetHackSteps(32 + steps.chars_Sx24x80 % 95, *steps[1:])
    with StoreWriter(path, nethack.content(), expert="test", dev_fraction=0.0) as writer:
        writer.add(pack(SCREENS, [readable], score=1.0, source="a"))
        writer.add(pack(SCREENS, [NetHackSteps(*(column[:30] for column in readable))], score=2.0, source="b"))
    return path


def one(chars: np.ndarray, colors: np.ndarray, cursor: np.ndarray) -> NetHackSteps:
    return NetHackSteps(chars, colors, cursor, np.array(0), np.array(0), np.array(NO_LABEL))


def film(store: Path, gif: Path | None, **options: Any) -> str:
    chosen: dict[str, Any] = {"episode": "0", "start": 0, "steps": 5, "speed": 10.0}
    return play(store, **(chosen | options), gif=gif, out=io.StringIO())


def test_a_gif_is_small_unless_asked_and_its_size_is_told_before(store: Path, tmp_path: Path) -> None:
    repeated = tmp_path / "long"
    steps = screens_with_a_menu()
    with StoreWriter(repeated, nethack.content(), expert="test", dev_fraction=0.0) as writer:
        writer.add(pack(SCREENS, [NetHackSteps(32 + steps.chars_Sx24x80 % 95, *steps[1:])] * 3, score=1.0, source="a"))
    said = io.StringIO()
    for steps_asked, count in ((None, GIF_STEPS), (550, 550)):
        gif = tmp_path / "film.gif"
        play(repeated, "0", start=100, steps=steps_asked, speed=10.0, gif=gif, out=said)
        with Image.open(gif) as image:
            assert image.n_frames == count  # pyright: ignore
        line = said.getvalue().splitlines()[-1]
        found = re.fullmatch(r"([\d,]+) steps from step 100(.*); about ([\d.,]+) (kB|MB)", line)
        assert found, line
        assert int(found[1].replace(",", "")) == count
        assert ("of 1,200: --from and --steps choose others" in found[2]) == (steps_asked is None)
        expected = float(found[3].replace(",", "")) * {"kB": 1e3, "MB": 1e6}[found[4]]
        assert expected == pytest.approx(gif.stat().st_size, rel=0.5)


def test_a_gif_has_a_picture_for_every_step(store: Path, tmp_path: Path) -> None:
    said = film(store, tmp_path / "film.gif", start=10, steps=7, speed=20.0)
    assert said.startswith("7 steps of game ")
    with Image.open(tmp_path / "film.gif") as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (7, (640, 400), 50)  # pyright: ignore
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]


def test_a_picture_shows_each_character_in_its_place_and_colour_and_the_cursor_inverse() -> None:
    chars, colors = np.full((24, 80), 32, np.uint8), np.zeros((24, 80), np.uint8)
    chars[3, 7], colors[3, 7] = ord("@"), 9
    cells = (
        picture(one(chars, colors, np.array([3, 8])), "step 1", SCREENS.observation)
        .reshape(25, 16, 80, 8)
        .swapaxes(1, 2)
    )
    np.testing.assert_array_equal(cells[3, 7], 9 * LEVELS + glyphs()[ord("@")])
    assert (cells[3, 8] == LEVELS - 1).all()
    assert not cells[3, 9].any()
    assert glyphs()[ord("@")].max() == LEVELS - 1
    np.testing.assert_array_equal(cells[24, 0], 15 * LEVELS + glyphs()[ord("s")])


def test_lines_are_the_screen_once_colours_are_taken_away() -> None:
    steps = screens_with_a_menu()
    chars = 32 + steps.chars_Sx24x80[9] % 95
    lines = text(one(chars, steps.colors_Sx24x80[9], np.array([0, 5])), "caption", SCREENS.observation).split("\r\n")
    plain = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in lines]
    assert plain == [*(bytes(row).decode("latin-1") for row in chars), "caption"]
    assert "\x1b[7m" in lines[0]
    assert not any("\x1b[7m" in line for line in lines[1:])


def test_keys_are_named_as_one_reads_them() -> None:
    found = [names()[int(action_of_key()[key])] for key in (ord("h"), 27, 32, 4, 0x80 | ord("p"))]
    assert found == ["h (W)", "Esc (ESC)", "Space (SPACE)", "^D (KICK)", "M-p (PRAY)"]
    assert len(names()) == len(KEYS)


def test_a_game_is_found_by_number_and_by_id(store: Path) -> None:
    opened = TrajectoryStore.open(store)
    assert find(opened, "1") == 1
    assert find(opened, opened.episodes[1].id[:9]) == 1
    with pytest.raises(UserError, match="no game 'zz'"):
        find(opened, "zz")
    with pytest.raises(UserError, match="2 games whose id begins with ''"):
        find(opened, "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": 400}, "no step 400 in a game of 400 steps"),
        ({"start": -1}, "no step -1"),
        ({"steps": 0}, "--steps is 0"),
        ({"speed": 0.0}, "--speed"),
        ({}, "give --gif"),
    ],
)
def test_what_cannot_be_shown_is_refused(store: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        film(store, None, **options)


def test_a_folder_that_does_not_exist_is_named_and_nothing_is_written(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder .*nowhere to write film\.gif in"):
        film(store, tmp_path / "nowhere" / "film.gif")
    assert not list(tmp_path.iterdir())


def test_a_terminal_shows_the_game_until_it_is_interrupted_and_gets_its_cursor_back(store: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "data", "play", str(store), "--episode", "0", "--speed", "20"]
    environment = os.environ | {"COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(command, cwd=HERE, stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while b"step 3 of 400" not in shown:
        shown += os.read(ours, 1 << 16)
    process.send_signal(signal.SIGINT)
    while b"\x1b[?25h" not in shown:
        shown += os.read(ours, 1 << 16)  # an OSError once the process has ended
    assert process.wait(timeout=600) == 0
    os.close(ours)
    assert b"\x1b[?25l" in shown
    assert b"\x1b[?25h" in shown
