"""Damaged stores are refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.common.cli import UserError
from data.spec import NetHackSteps
from data.store.manifest import DamagedStore
from data.store.reader import TrajectoryStore
from data.store.verify import verify
from tests.data.codec.test_codec import assert_same, random_steps
from tests.data.store.stores import LENGTHS, TABLE, content, edit_manifest, flip, seal, shard, shorten, write


def remove_key(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["steps"]
    (path / "manifest.json").write_text(json.dumps(manifest))


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
