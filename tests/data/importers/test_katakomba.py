"""Katakomba's files, made of recordings as its own script makes them."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nle.nethack import ACTIONS

from data.common.cli import UserError
from data.importers.base import DAMAGED
from data.importers.katakomba import import_katakomba
from data.importers.nld import import_nld, read_log
from data.importers.ttyrec import steps
from data.store.reader import TrajectoryStore
from data.store.verify import verify
from tests.data.importers.recordings import play, ttyrec3, write
from tests.data.importers.test_nld import assert_as_converted
from tests.data.test_command import run

NAMES = ["points", "deathlev", "maxlvl", "turns", "role", "race", "gender", "align", "gender0", "align0", "death"]
"""Some of the 27 attributes of a game."""


def arrays_of(recording: Path) -> dict[str, np.ndarray]:
    """The datasets of a game: the last of two keys of one action, and increases of the score."""
    last = np.zeros(256, np.int16)
    for index, action in enumerate(ACTIONS):
        last[action.value] = index
    pieces = [[column.copy() for column in piece] for piece in steps(recording)]
    chars, colors, cursor, keys, scores, _ = (np.concatenate(column) for column in zip(*pieces, strict=True))
    rewards = np.clip(np.diff(scores, append=scores[-1]), 0, None)
    rewards[-1] = rewards[-2]
    done = np.zeros(len(keys), bool)
    done[-1] = True
    return {
        "tty_chars": chars,
        "tty_colors": colors.astype(np.int8),
        "tty_cursor": cursor.astype(np.int16),
        "actions": last[keys],
        "rewards": rewards.astype(np.int32),
        "dones": done,
    }


def katakomba(file: Path, folder: Path, **changes: Mapping[str, Any]) -> Path:
    """A file of the games of a folder in NLE's layout; `changes` replace attributes and datasets of games."""
    with h5py.File(file, "w", track_order=True) as made:
        rows = {row["ttyrecname"]: row for log in folder.glob("*xlogfile") for row in read_log(log) if len(row) > 1}
        for number, recording in enumerate(sorted(folder.glob("*.bz2")), 9):
            group = made.create_group(str(number))
            other = changes.get(f"game{number}", {})
            arrays = arrays_of(recording) | {name: x for name, x in other.items() if name not in NAMES}
            for name, array in arrays.items():
                if array is not None:
                    group.create_dataset(name, data=array, compression="gzip")
            row = rows[recording.name] | {name: x for name, x in other.items() if name in NAMES}
            for name in NAMES:
                value = row[name]
                group.attrs[name] = int(value) if value.isdecimal() else value
            group.attrs["death"] = row["death"] + (f", while {row['while']}" if "while" in row else "")
    return file


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return play(tmp_path_factory.mktemp("katakomba") / "games", games=3, steps=700)


def test_the_same_games_are_the_same_steps(played: Path, tmp_path: Path) -> None:
    file = katakomba(tmp_path / "data-mon-hum-neu-any.hdf5", played)
    import_nld(played, tmp_path / "ttyrec", dev_fraction=0.0)
    code, out, _ = run("import", "katakomba", file, tmp_path / "hdf5", "--dev-fraction", "0", "--workers", "2")
    assert (code, "imported 3 games" in out) == (0, True)
    one, other = (TrajectoryStore.open(tmp_path / name) for name in ("ttyrec", "hdf5"))
    assert verify(other.path) == []
    names = [episode.source.partition("/")[2] for episode in other.episodes]
    assert names == ["9", "10", "11"], "in the order of numbers"
    for row, (left, right) in enumerate(zip(one.episodes, other.episodes, strict=True)):
        expected, found = one.read(row, 0, left.length), other.read(row, 0, right.length)
        assert_as_converted(found, played / left.source)
        for name, a, b in zip(found._fields, expected, found, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
        facts = {"source", "recording", "shard", "record"}
        assert {k: v for k, v in vars(left).items() if k not in facts} == {
            k: v for k, v in vars(right).items() if k not in facts
        }
    assert one.checksum == other.checksum
    assert import_katakomba([tmp_path], tmp_path / "hdf5", workers=1).known == 3


def test_keys_that_nle_lists_twice_are_one_action(tmp_path: Path) -> None:
    folder = write(tmp_path / "games", {"nle.1.0.ttyrec3.bz2": ttyrec3(b'j"$+k')})
    file = katakomba(tmp_path / "data.hdf5", folder)
    with h5py.File(file) as made:
        assert np.array(made["9/actions"]).tolist()[1:4] == [109, 120, 105]
    import_katakomba([file], tmp_path / "store", dev_fraction=0.0, workers=1)
    found = TrajectoryStore.open(tmp_path / "store").read(0, 0, 5).action_S
    assert [ACTIONS[action].value for action in found] == list(b'j"$+k')
    import_nld(folder, tmp_path / "same", dev_fraction=0.0, workers=1)
    assert TrajectoryStore.open(tmp_path / "same").checksum == TrajectoryStore.open(tmp_path / "store").checksum


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"actions": None}, "no actions: it is no game of Katakomba"),
        ({"tty_chars": np.zeros((4, 80, 24), np.uint8)}, r"tty_chars is \[4, 80, 24\], not \[4, 24, 80\]"),
        ({"rewards": np.zeros(3, np.int32)}, r"rewards is \[3\], not \[4\]"),
        ({"actions": np.array([0, 1, 2, 121])}, "actions from 0 to 121"),
        ({"tty_cursor": np.full((4, 2), -1)}, "tty_cursor from -1 to -1"),
        ({"dones": np.array([True, False, False, True])}, "it ends before its last step"),
        ({"points": "many"}, "xlogfile row is incomplete"),
    ],
)
def test_a_damaged_game_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    games = {"nle.1.0.ttyrec3.bz2": ttyrec3(b"hjkl"), "nle.1.1.ttyrec3.bz2": ttyrec3(b"ll")}
    folder = write(tmp_path / "games", games)
    report = import_katakomba([katakomba(tmp_path / "a.hdf5", folder, game9=change)], tmp_path / "store", workers=1)
    [skipped] = report.skipped
    assert (report.games, skipped.kind, skipped.source) == (1, DAMAGED, "a.hdf5/9")
    assert re.search(said, skipped.reason)


def test_what_is_no_file_of_games_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.hdf5").write_text("text")
    for path, said in ((tmp_path / "gone", "no file"), (tmp_path / "text.hdf5", "can't read .* as HDF5")):
        with pytest.raises(UserError, match=said):
            import_katakomba([path], tmp_path / "store")
    (tmp_path / "text.hdf5").unlink()
    with pytest.raises(UserError, match="no game in"):
        import_katakomba([tmp_path], tmp_path / "store")
    assert run("import", "katakomba", tmp_path / "store")[0] == 2
    assert not (tmp_path / "store").exists()


def test_real_games_have_the_same_ids(nld: Path, tmp_path: Path) -> None:
    """To the farewell, after which NLE's score is 0."""
    folder = tmp_path / "games"
    folder.mkdir()
    for path in sorted((nld / "roles" / "any").glob("*.bz2"), key=lambda path: path.stat().st_size)[1:3]:
        shutil.copy(path, folder)
    for path in (nld / "roles" / "any").glob("*xlogfile"):
        shutil.copy(path, folder)
    import_nld(folder, tmp_path / "ttyrec", dev_fraction=0.0)
    import_katakomba([katakomba(tmp_path / "data.hdf5", folder)], tmp_path / "hdf5", dev_fraction=0.0)
    one, other = (TrajectoryStore.open(tmp_path / name).checksum for name in ("ttyrec", "hdf5"))
    assert one == other
