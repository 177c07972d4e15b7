"""Several processes collect the same games together, and one that is killed loses nothing."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data.collect.base import folder_of
from data.collect.nethack import collect
from data.common.cli import UserError
from data.importers.nld import import_nld
from data.store.pack import PackedEpisode, read_episode, write_episode
from data.store.reader import TrajectoryStore

ROOT = Path(__file__).resolve().parents[3]


def start(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "data", "collect", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(folder: Path, pattern: str, count: int, *processes: subprocess.Popen[str]) -> None:
    """Wait until so many files match, or all processes have ended."""
    while len(list(folder.glob(pattern))) < count and any(process.poll() is None for process in processes):
        time.sleep(0.02)


def played(folder: Path) -> tuple[list[str], str]:
    """Results of all games, and the checksum of a store of their recordings, which hold their times besides."""
    store = folder.with_name(f"{folder.name}-store")
    import_nld(folder, store, workers=1)
    results = [path.read_text() for path in sorted(folder.glob("game-*/game.json"))]
    return results, TrajectoryStore.open(store).checksum


@pytest.mark.slow
def test_three_share_the_games_of_a_folder_and_one_is_killed(tmp_path: Path) -> None:
    options = ["--episodes", "12", "--max-steps", "300", "--workers", "1"]
    folder = tmp_path / "shared"
    first = start("nethack", folder, *options, "--work")
    wait_for(folder, "game-*.part", 1, first)
    # A command that does not share is refused, and the folder is not touched.
    with pytest.raises(UserError, match="another collect is writing"):
        collect(folder, episodes=12, max_steps=300)
    others = [start("nethack", folder, *options, "--work") for _ in range(2)]
    wait_for(folder, "game-*/game.json", 3, first)
    first.kill()
    first.communicate()
    for process in others:
        said, errors = process.communicate(timeout=1200)
        assert process.returncode == 0, errors
        assert said.startswith("12 games")
    collect(tmp_path / "alone", episodes=12, max_steps=300)
    assert played(folder) == played(tmp_path / "alone")
    assert len(list(folder.glob("game-*/game.json"))) == 12
    assert not list(folder.glob("*.part"))


def test_ctrl_c_ends_it_before_all_games_are_played(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    process = start("nethack", folder, "--episodes", "3000", "--max-steps", "100", "--workers", "1", "--work")
    wait_for(folder, "game-*/game.json", 1, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=1200)
    assert process.returncode == 130, errors
    assert "start the same command again to go on" in errors
    assert len(list(folder.glob("game-*/game.json"))) < 3000


@pytest.mark.slow
def test_two_share_a_store_and_one_is_killed(tmp_path: Path) -> None:
    options = ["--env", "CartPole-v1", "--episodes", "30", "--workers", "1"]
    store = tmp_path / "shared"
    first = start("gym", store, *options, "--work")
    wait_for(folder_of(store), "*.npz", 3, first)
    other = start("gym", store, *options, "--work")
    first.kill()
    first.communicate()
    _, errors = other.communicate(timeout=1200)
    assert other.returncode == 0, errors
    alone = start("gym", tmp_path / "alone", *options)
    alone.communicate(timeout=1200)
    assert TrajectoryStore.open(store).checksum == TrajectoryStore.open(tmp_path / "alone").checksum
    assert not folder_of(store).exists()
    # Again it finds all of them there.
    again = start("gym", store, *options, "--work")
    said, errors = again.communicate(timeout=1200)
    assert again.returncode == 0, errors
    assert "imported 0 games" in said
    assert "30 were in the store" in said


def test_an_episode_in_a_file_is_the_same(tmp_path: Path) -> None:
    chunks = (np.random.default_rng(0).bytes(1000), b"", b"\0")
    episode = PackedEpisode("id", 3, 1.5, "game", chunks, {0: 2, 7: 1}, recording="r", seed=4)
    write_episode(tmp_path / "folder" / "episode.npz", episode)
    assert read_episode(tmp_path / "folder" / "episode.npz") == episode
    assert json.dumps([path.name for path in (tmp_path / "folder").iterdir()]) == '["episode.npz"]'
