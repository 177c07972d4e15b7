"""AutoAscend is driven through a stand-in with its interface: it is not part of this package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.collect.nethack import SeededChallenge, collect
from data.common.cli import UserError
from data.experts.nethack import autoascend
from data.importers.nld import import_nld
from data.store.reader import TrajectoryStore

HERE = Path(__file__).resolve()
ROOT, STANDIN = HERE.parents[3], HERE.with_name("standin")


def collected(out: Path, habit: str = "", **options: object) -> str:
    """Collect games with the stand-in."""
    elsewhere = os.environ | {"HABIT": habit, "PYTHONPATH": str(STANDIN)}
    asked = {"episodes": 2, "max-steps": 120, "workers": 1, "expert": "autoascend"} | options
    words = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "data", "collect", "nethack", str(out), *words]
    return subprocess.run(command, env=elsewhere, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_games_are_recorded_by_nle_and_functions_of_their_seed(tmp_path: Path) -> None:
    out = collected(tmp_path / "one")
    assert "2 games, 240 steps" in out
    assert "quit, since" not in out
    collected(tmp_path / "two", workers=2)
    for name in ("one", "two"):
        assert import_nld(tmp_path / name, tmp_path / f"store-{name}", dev_fraction=0, workers=1).games == 2
    one, two = (TrajectoryStore.open(tmp_path / f"store-{name}") for name in ("one", "two"))
    assert one.checksum == two.checksum
    assert min(episode.length for episode in one.episodes) >= 120
    assert {episode.death for episode in one.episodes} == {"quit"}


@pytest.mark.parametrize(("habit", "stalled"), [("fails", 2), ("leaves", 2), ("never notices the end", 0)])
def test_every_game_ends_and_what_was_quit_is_counted(tmp_path: Path, habit: str, stalled: int) -> None:
    out = collected(tmp_path / "games", habit)
    assert ("2 of them were quit, since autoascend stalled or failed" in out) == bool(stalled)
    assert import_nld(tmp_path / "games", tmp_path / "store", workers=1).games == 2


def test_a_bot_that_presses_no_key_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HABIT", "waits forever")
    monkeypatch.syspath_prepend(STANDIN)
    env = SeededChallenge(
        character="mon-hum-neu-mal",
        observation_keys=autoascend.KEYS,
        save_ttyrec_every=1,
        savedir=str(tmp_path / "game"),
    )
    try:
        assert autoascend.play(env, 3, stalled_seconds=0.5) == (40, True)
    finally:
        env.close()
        for name in [name for name in sys.modules if name.startswith("autoascend")]:
            del sys.modules[name]
    assert import_nld(tmp_path / "game", tmp_path / "store", workers=1).games == 1


def test_without_the_bot_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"autoascend is not installed: git clone .*PYTHONPATH"):
        collect(tmp_path / "games", player="autoascend")
    package = tmp_path / "autoascend"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "agent.py").write_text("import toolz_of_the_bot\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="autoascend needs toolz_of_the_bot: pip install opencv-python-headless"):
        collect(tmp_path / "games", player="autoascend")
    assert not (tmp_path / "games").exists()
