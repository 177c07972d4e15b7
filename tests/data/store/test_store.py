import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.codec.chunk import Span
from data.codec.frames import FRAMES
from data.codec.screens import SCREENS
from data.common.cli import UserError
from data.games import nethack
from data.games.base import Content
from data.games.nethack import SCREENS_ALONE
from data.spec import NetHackSteps
from data.store.episodes import split_of
from data.store.manifest import DamagedStore, checksum_of
from data.store.pack import CHUNK_STEPS, PackedEpisode, pack
from data.store.reader import TrajectoryStore
from data.store.verify import verify
from data.store.writer import StoreWriter
from tests.data.codec.test_codec import assert_same, random_steps

NETHACK = nethack.content()
LENGTHS = (1, 2047, 2048, 2049, 4600)


def cut(steps: NetHackSteps, size: int = CHUNK_STEPS) -> list[NetHackSteps]:
    count = len(steps.action_S)
    return [NetHackSteps(*(column[at : at + size] for column in steps)) for at in range(0, count, size)]


def game(seed: int, length: int) -> PackedEpisode:
    return pack(SCREENS, cut(random_steps(seed, length)), score=10.0 * seed, source=f"{seed}.rec", role="mon")


def write(
    path: Path, lengths: tuple[int, ...] = LENGTHS, dev_fraction: float = 0.5, first: int = 0, **options: Any
) -> Path:
    with StoreWriter(path, NETHACK, expert="test", dev_fraction=dev_fraction, **options) as writer:
        for seed, length in enumerate(lengths, first):
            writer.add(game(seed, length))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "store")


def test_what_was_added_is_read(path: Path) -> None:
    store = TrajectoryStore.open(path)
    assert [row.length for row in store.episodes] == list(LENGTHS)
    assert store.lengths.tolist() == list(LENGTHS)
    for row, length in enumerate(LENGTHS):
        assert_same(store.read(row, 0, length), random_steps(row, length))
    assert store.episodes[3].score == 30.0
    assert store.episodes[3].role == "mon"
    assert verify(path) == []


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (2040, 2055), (2048, 4096), (2000, 4200), (4599, 4600), (7, 7)])
def test_any_stretch_of_an_episode_is_read(path: Path, start: int, stop: int) -> None:
    whole = random_steps(4, 4600)
    expected = NetHackSteps(*(column[start:stop] for column in whole))
    assert_same(TrajectoryStore.open(path).read(4, start, stop), expected)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 4), (0, 4601)])
def test_a_stretch_outside_the_episode_is_refused(path: Path, start: int, stop: int) -> None:
    with pytest.raises(IndexError):
        TrajectoryStore.open(path).read(4, start, stop)


def test_many_shards_read_as_one(tmp_path: Path) -> None:
    path = write(tmp_path / "store", shard_bytes=20_000)
    store = TrajectoryStore.open(path)
    assert len(store.manifest["shards"]) > 1
    for row, length in enumerate(LENGTHS):
        assert_same(store.read(row, 0, length), random_steps(row, length))
    assert verify(path) == []


def test_threads_share_a_small_cache(path: Path) -> None:
    store = TrajectoryStore.open(path, cache_bytes=0)
    whole = random_steps(4, 4600)

    def read(start: int) -> np.ndarray:
        number, lo = divmod(start, store.chunk_steps)
        hi = min(lo + 40, store.chunk_steps)
        rows = SCREENS.empty_rows(40)
        spans = [Span(lo, hi, 0), Span(0, 40 - (hi - lo), hi - lo)][: 1 if hi - lo == 40 else 2]
        chunks = store.chunks(np.array([4, 4])[: len(spans)], number + np.arange(len(spans)))
        SCREENS.decode_into(chunks, np.array(spans), rows)
        return rows.observation["chars"]

    starts = [start * 37 % 4560 for start in range(300)]
    with ThreadPoolExecutor(4) as pool:
        for start, chars in zip(starts, pool.map(read, starts), strict=True):
            np.testing.assert_array_equal(chars, whole.chars_Sx24x80[start : start + 40])


def test_what_is_shared_cannot_be_altered_by_accident(path: Path) -> None:
    [chunk] = TrajectoryStore.open(path).chunks(np.array([4]), np.array([1]))
    assert not any(array.flags.writeable for array in (*chunk.arrays, chunk.action_S))


def test_the_split_is_a_function_of_the_id(tmp_path: Path) -> None:
    few = TrajectoryStore.open(write(tmp_path / "few", (5, 6, 7, 8)))
    many = TrajectoryStore.open(write(tmp_path / "many", (5, 6, 7, 8, 9, 10, 11, 12)))
    sides = {row.id: row.split for row in many.episodes}
    assert all(sides[row.id] == row.split for row in few.episodes)
    assert sorted([*many.rows("train"), *many.rows("dev")]) == list(range(8))
    shares = [split_of(f"{number:016x}", 0.1) for number in range(5000)]
    assert 400 < shares.count("dev") < 600


def test_an_empty_side_names_the_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "store", (3,), dev_fraction=0.0)
    with pytest.raises(UserError, match=r"no dev episode among 1 .*--dev-fraction"):
        TrajectoryStore.open(path).rows("dev")


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


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


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
from tests.data.store.test_store import NETHACK, game, StoreWriter
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
from tests.data.store.test_store import NETHACK, game, StoreWriter
def write():
    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with StoreWriter(sys.argv[1], NETHACK, expert="test") as writer:
        for seed in range(int(sys.argv[3])):
            writer.add(game(seed, 300))
exit_with(lambda: write)
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


TABLE = "episodes-00001.jsonl"


def edit_manifest(path: Path, **changes: object) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | changes))


def seal(path: Path, **changes: object) -> None:
    """Change the manifest, and the checksum with it."""
    manifest = json.loads((path / "manifest.json").read_text()) | changes
    edit_manifest(path, **changes | {"checksum": checksum_of(manifest)})


def remove_key(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["steps"]
    (path / "manifest.json").write_text(json.dumps(manifest))


def shard(path: Path) -> Path:
    return path / "shard-00000.array_record"


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: edit_manifest(path, version=99), "store of version 99 .* reads version 4.* again"),
        (lambda path: seal(path, codec="other"), "nethack encoded as other, this program reads cells-zstd-2"),
        (lambda path: edit_manifest(path, format="other"), "by another program"),
        (lambda path: (path / "manifest.json").write_text("[1]"), "by another program"),
        (lambda path: (path / "manifest.json").write_text("{"), "damaged"),
        (lambda path: (path / "manifest.json").write_bytes(b"\xff\xfe"), "damaged"),
        (lambda path: (path / "manifest.json").unlink(), "not a store"),
        (remove_key, "lacks steps"),
        (lambda path: edit_manifest(path, steps=3), "checksum does not match"),
        (lambda path: seal(path, steps="3"), "damaged .steps is not of type int"),
        (lambda path: seal(path, chunk_steps=0), "damaged .chunks of 0 steps"),
        (
            lambda path: seal(path, table={"name": "../table", "sha256": ""}),
            "a file '../table' instead of episodes-00000.jsonl",
        ),
        (
            lambda path: seal(path, shards=[{"name": "/etc/passwd", "sha256": "", "records": 1, "bytes": 1}]),
            "etc/passwd' instead",
        ),
        (lambda path: seal(path, shards=[{"name": "a"}]), "invalid description of a file"),
        (lambda path: (path / TABLE).unlink(), "is missing"),
        (lambda path: shorten(path / TABLE), "checksum does not match"),
        (lambda path: shorten(shard(path)), "bytes instead of"),
        (lambda path: shard(path).unlink(), "is missing"),
    ],
)
def test_what_is_not_a_whole_store_is_named(path: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(path)
    with pytest.raises(UserError, match=said) as caught:
        TrajectoryStore.open(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        TrajectoryStore.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="it is a file"):
        TrajectoryStore.open(tmp_path / "file")


def test_damage_inside_a_shard_is_found_and_named(path: Path) -> None:
    clean = TrajectoryStore.open(path)
    place = shard(path).read_bytes().index(clean.records(4)[2][:64])
    flip(shard(path), place + 500)
    store = TrajectoryStore.open(path)
    assert_same(store.read(4, 0, 4096), NetHackSteps(*(column[:4096] for column in random_steps(4, 4600))))
    with pytest.raises(DamagedStore, match=f"chunk 2 of episode {store.episodes[4].id} in .*verify"):
        store.read(4, 4088, 4108)
    faults = verify(path)
    assert any(f"{shard(path)} is damaged" in fault for fault in faults)
    assert any(store.episodes[4].id in fault for fault in faults)
    assert len(faults) == 2
    flip(shard(path), place + 500)
    assert_same(store.read(4, 4088, 4108), NetHackSteps(*(column[4088:4108] for column in random_steps(4, 4600))))


@pytest.mark.parametrize("damage", [shorten, Path.unlink])
def test_verify_names_every_part_of_a_missing_shard(path: Path, damage: Callable[[Path], None]) -> None:
    damage(shard(path))
    faults = verify(path)
    assert any(str(shard(path)) in fault for fault in faults)


def test_verify_compares_counts(path: Path) -> None:
    seal(path, steps=7, action_counts=[0] * 121)
    faults = verify(path)
    assert any("7 steps where the episode table has" in fault for fault in faults)
    assert any("action counts" in fault for fault in faults)


def test_a_thousand_damaged_stores_are_refused_or_read_as_they_were(tmp_path: Path) -> None:
    """One named error, or what was stored; never other data, never the end of the process."""
    lengths = (5, 300, 40)
    path = write(tmp_path / "store", lengths)
    whole = content(path)
    random, said = np.random.default_rng(0), []
    names = sorted(whole)
    for _ in range(1000):
        name = names[int(random.integers(len(names)))]
        damaged = bytearray(whole[name])
        for _ in range(int(random.integers(1, 4))):
            # The records lie at the beginning of a shard, its index at the end.
            place = int(random.integers(len(damaged)) if random.random() < 0.5 else random.integers(300))
            how = random.integers(4)
            if how == 0:
                damaged[place] ^= 1 << int(random.integers(8))
            elif how == 1:
                damaged[place : place + 8] = random.bytes(8)
            elif how == 2:
                del damaged[place : place + int(random.integers(1, 60))]
            else:
                damaged[place:place] = random.bytes(int(random.integers(1, 60)))
        (path / name).write_bytes(damaged)
        try:
            store = TrajectoryStore.open(path)
            read = [store.read(row, 0, row_.length) for row, row_ in enumerate(store.episodes)]
        except UserError as error:
            said.append(str(error))
        else:
            for row, steps in enumerate(read):
                assert_same(steps, random_steps(row, lengths[row]))
        (path / name).write_bytes(whole[name])
    assert 600 < len(said) < 1000
    assert all(str(path) in line and "\n" not in line for line in said)


def test_sealed_manifests_never_lead_astray(path: Path) -> None:
    """Whoever seals a manifest may write what he likes: what does not fit is refused in one line."""
    random, said = np.random.default_rng(0), []
    whole = json.loads((path / "manifest.json").read_text())
    games = [random_steps(row, length) for row, length in enumerate(LENGTHS)]
    values: list[Any] = [None, -1, 0, 2**70, 1.5, float("nan"), "", "../x", [], {}, [{}], True, "\x00", ["a"] * 3]
    for _ in range(150):
        lie = json.loads(json.dumps(whole))
        places = [lie, lie["split"], lie["table"], lie["shards"][0]]
        where = places[int(random.integers(4))]
        where[list(where)[int(random.integers(len(where)))]] = values[int(random.integers(len(values)))]
        seal(path, **lie)
        try:
            store = TrajectoryStore.open(path)
            for row, length in enumerate(LENGTHS):
                assert_same(store.read(row, 0, length), games[row])
            verify(path)
        except UserError as error:
            said.append(str(error))
    assert len(said) > 75
    assert all(str(path) in line and "\n" not in line for line in said)
