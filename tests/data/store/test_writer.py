"""Adding games to a store, interrupted and not."""

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.codec.frames import FRAMES
from data.codec.screens import SCREENS
from data.common.cli import UserError
from data.games.base import Content
from data.games.nethack import SCREENS_ALONE
from data.store.manifest import DamagedStore
from data.store.pack import pack
from data.store.reader import TrajectoryStore
from data.store.verify import verify
from data.store.writer import StoreWriter
from tests.data.codec.test_codec import assert_same, random_steps
from tests.data.store.stores import (
    LENGTHS,
    NETHACK,
    TABLE,
    content,
    game,
    seal,
    shard,
    shorten,
    write,
)


def test_a_game_is_kept_once(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", NETHACK, expert="test") as writer:
        first = writer.add(game(1, 300))
        assert writer.add(game(1, 300)) is None
        assert writer.duplicate(game(1, 300)) == first
    assert len(TrajectoryStore.open(tmp_path / "store").episodes) == 1


def test_the_same_games_make_the_same_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    for name in sorted(file.name for file in one.iterdir()):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_the_checksum_is_of_the_games_not_of_where_they_lay(path: Path, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "other", NETHACK, expert="another", dev_fraction=0.5) as writer:
        for seed, length in enumerate(LENGTHS):
            writer.add(dataclasses.replace(game(seed, length), source=f"elsewhere/{seed}", recording=f"{seed:032x}"))
    one, other = TrajectoryStore.open(path), TrajectoryStore.open(tmp_path / "other")
    assert one.checksum == other.checksum
    split = TrajectoryStore.open(write(tmp_path / "split", dev_fraction=0.9))
    assert split.checksum != one.checksum
    with StoreWriter(path, NETHACK) as writer:
        writer.add(game(17, 9))
    assert TrajectoryStore.open(path).checksum != one.checksum


def test_adding_nothing_new_changes_nothing(path: Path) -> None:
    before = content(path)
    write(path)
    assert content(path) == before


def test_games_are_added_to_a_store(tmp_path: Path) -> None:
    path = write(tmp_path / "store", (5, 6, 700), dev_fraction=0.3)
    old = TrajectoryStore.open(path)
    first = old.episodes
    with StoreWriter(path, NETHACK) as writer:
        assert writer.added == 0
        assert [writer.add(game(seed, 30 + seed)) is not None for seed in range(8)] == [True] * 8
        assert writer.add(game(1, 6)) is None
        assert writer.added == 8
        # Nobody sees them yet.
        assert TrajectoryStore.open(path).episodes == first
    store = TrajectoryStore.open(path)
    assert store.episodes[:3] == first
    assert len(store.episodes) == 11
    assert store.manifest["expert"] == "test"
    assert store.manifest["split"]["dev_fraction"] == 0.3
    assert sum(store.manifest["action_counts"]) == store.manifest["steps"] == 711 + 8 * 30 + 28
    for row, seed, length in [(2, 2, 700), (3, 0, 30), (10, 7, 37)]:
        assert_same(store.read(row, 0, length), random_steps(seed, length))
    assert verify(path) == []
    # Whoever had the store open reads on.
    assert_same(old.read(2, 0, 700), random_steps(2, 700))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"expert": "other"}, "expert 'test', not 'other'"),
        ({"dev_fraction": 0.1}, "dev_fraction 0.5, not 0.1"),
        ({"content": Content("Breakout", FRAMES, ("NOOP",))}, "game 'nethack', not 'Breakout'"),
        ({"content": SCREENS_ALONE}, "other actions"),
    ],
)
def test_a_store_of_something_else_is_left_alone(path: Path, options: dict[str, Any], said: str) -> None:
    before = content(path)
    with pytest.raises(UserError, match=said), StoreWriter(path, **({"content": NETHACK} | options)):  # pyright: ignore[reportArgumentType]
        pass
    assert content(path) == before


@pytest.mark.parametrize(
    "names",
    [
        ("thesis.jsonl",),
        (".lock", "notes"),
        ("pending.json", "notes"),
        ("pending.json",),
        ("manifest.json",),
        ("shard-00001.array_record",),
        ("episodes-00001.jsonl",),
    ],
)
def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).write_text("[1]")
    with pytest.raises(UserError, match=r"other files and no store|not a file of a store|another program"):
        write(tmp_path)
    assert content(tmp_path) == dict.fromkeys(names, b"[1]")


def test_a_link_is_not_followed_out_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".isoplay.lock").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="can't write"):
        write(tmp_path / "store")
    assert not (tmp_path / "outside").exists()


def test_interrupting_the_end_of_an_import_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def interrupt(path: Path) -> None:
        seen.append(path)
        if len(seen) == 1:
            signal.raise_signal(signal.SIGINT)

    for module in ("shard", "catalog", "writer"):
        monkeypatch.setattr(f"data.store.{module}.sync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store")
    assert len(seen) > 3
    assert TrajectoryStore.open(tmp_path / "store").lengths.tolist() == list(LENGTHS)
    assert verify(tmp_path / "store") == []


def test_nothing_is_added_to_a_damaged_store(path: Path) -> None:
    shorten(shard(path))
    with pytest.raises(DamagedStore, match="bytes instead of"):
        write(path, (9,), first=50)


def test_an_action_outside_the_table_is_damage(tmp_path: Path) -> None:
    steps = random_steps(0, 20)
    steps.action_S[7] = 200
    with StoreWriter(tmp_path / "store", NETHACK, expert="test") as writer:
        writer.add(pack(SCREENS, [steps], score=0.0, source="a"))
    store = TrajectoryStore.open(tmp_path / "store")
    with pytest.raises(DamagedStore, match="action 200 of 121"):
        store.chunks(np.array([0]), np.array([0]))
    with pytest.raises(DamagedStore, match="action 200 of 121"):
        store.read(0, 0, 20)
    assert any("action 200 of 121" in fault for fault in verify(store.path))


def seal_table(path: Path, **changes: object) -> None:
    """Change the first row of the episode table, and the checksums with it."""
    lines = (path / TABLE).read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | changes)
    (path / TABLE).write_text("\n".join(lines) + "\n")
    seal(path, table={"name": TABLE, "sha256": hashlib.sha256((path / TABLE).read_bytes()).hexdigest()})


@pytest.mark.parametrize(
    "changes",
    [
        {"score": "x"}, {"role": 7}, {"length": 3.5}, {"length": 0}, {"split": "both"}, {"score": float("nan")},
        {"turns": 10**400}, {"record": 99}, {"shard": -1}, {"colour": "red"}, {"seed": "1"},
    ],
)  # fmt: skip
def test_an_impossible_row_is_refused(path: Path, changes: dict[str, object]) -> None:
    seal_table(path, **changes)
    with pytest.raises(UserError, match=r"episodes-00001\.jsonl is damaged"):
        TrajectoryStore.open(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("old", [(), (5, 6)])
def test_what_is_interrupted_goes_on_where_it_stopped(
    tmp_path: Path, error: type[BaseException], old: tuple[int, ...]
) -> None:
    path = tmp_path / "store"
    if old:
        write(path, old)

    def fail() -> None:
        with StoreWriter(path, NETHACK, expert="test") as writer:
            writer.add(game(8, 300))
            raise error

    with pytest.raises(error):
        fail()
    if old:
        assert [row.length for row in TrajectoryStore.open(path).episodes] == list(old)
        assert verify(path) == []
    else:
        with pytest.raises(UserError, match="its import was not finished"):
            TrajectoryStore.open(path)
    with StoreWriter(path, NETHACK, expert="test") as writer:
        assert writer.added == 1
        assert writer.add(game(8, 300)) is None
        writer.add(game(9, 30))
    store = TrajectoryStore.open(path)
    assert [row.length for row in store.episodes] == [*old, 300, 30]
    assert_same(store.read(len(old), 0, 300), random_steps(8, 300))
    assert verify(path) == []
    assert not (path / "pending.json").exists()


def test_what_was_noted_only_in_part_is_done_again(tmp_path: Path) -> None:
    path = write(tmp_path / "store", (5, 6))
    before = content(path)
    with contextlib.suppress(InterruptedError), StoreWriter(path, NETHACK) as writer:
        writer.add(game(8, 300))
        raise InterruptedError
    assert (path / "pending.json").exists()
    shorten(path / "shard-00001.array_record")
    with StoreWriter(path, NETHACK) as writer:
        assert writer.added == 0
    assert content(path) == before


def test_a_store_without_games_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no game"):
        write(tmp_path / "store", ())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_an_impossible_split_is_refused(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(UserError, match="dev fraction"):
        write(tmp_path / "store", dev_fraction=fraction)


def test_two_processes_do_not_write_one_store(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", NETHACK, expert="test") as writer:
        writer.add(game(1, 3))
        with pytest.raises(UserError, match="another process is writing"):
            write(tmp_path / "store")
    assert verify(tmp_path / "store") == []


WRITE_FOREVER = """
import sys
from data.store.writer import StoreWriter
from tests.data.store.stores import NETHACK, game
with StoreWriter(sys.argv[1], NETHACK, expert="test", shard_bytes=int(sys.argv[2])) as writer:
    for seed in range(100, 10**9):
        writer.add(game(seed, 300))
        print(seed, flush=True)
"""


def child(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize(("old", "shard_bytes"), [((), 20_000), ((5, 6), 1 << 29), ((5, 6), 20_000)])
def test_a_killed_writer_leaves_the_store_as_it_was(tmp_path: Path, old: tuple[int, ...], shard_bytes: int) -> None:
    path = tmp_path / "store"
    if old:
        write(path, old)
    with child(WRITE_FOREVER, path, shard_bytes) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(6)]
        writer.send_signal(signal.SIGKILL)
    assert lines[-1]
    if old:
        assert [row.length for row in TrajectoryStore.open(path).episodes] == list(old)
        assert verify(path) == []
    else:
        with pytest.raises(UserError, match=r"not finished|no such folder|no manifest"):
            TrajectoryStore.open(path)
    with StoreWriter(path, NETHACK, expert="test") as again:
        # What was in a full shard is kept.
        assert (again.added > 0) == (shard_bytes == 20_000)
        again.add(game(10**6, 40))
    store = TrajectoryStore.open(path)
    assert store.episodes[-1].length == 40
    assert_same(store.read(len(store.episodes) - 1, 0, 40), random_steps(10**6, 40))
    assert verify(path) == []
    named = {"manifest.json", store.manifest["table"]["name"], *(shard["name"] for shard in store.manifest["shards"])}
    assert {file.name for file in path.iterdir()} == named


WRITE_TOO_MUCH = """
import resource, sys
from data.common.cli import exit_with
from data.store.writer import StoreWriter
from tests.data.store.stores import NETHACK, game
def write():
    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with StoreWriter(sys.argv[1], NETHACK, expert="test") as writer:
        for seed in range(int(sys.argv[3])):
            writer.add(game(seed, 300))
exit_with(lambda _: write, [])
"""


@pytest.mark.parametrize(("limit", "games"), [(30_000, 1), (200_000, 500), (2_000, 1), (0, 1)])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, limit: int, games: int) -> None:
    path = tmp_path / "store"
    with child(WRITE_TOO_MUCH, path, limit, games, stderr=subprocess.PIPE) as writer:
        _, said = writer.communicate()
    assert writer.returncode == 2, said
    assert said.startswith(f"error: can't write {path}")
    assert said.count("\n") == 1, said
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't write"):
        write(tmp_path / "file" / "store")
