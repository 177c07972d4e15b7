"""A power failure between any two writes, and a reader between two of a commit."""

import os
from pathlib import Path
from typing import Any

import pytest

from data.common.cli import UserError
from data.common.files import replace_text
from data.store import reader
from data.store.reader import TrajectoryStore
from data.store.verify import verify
from data.store.writer import StoreWriter
from tests.data.store.stores import LENGTHS, NETHACK, content, game, write

SCRATCH = ".pending.json.host.17.tmp"


@pytest.mark.parametrize("cut", [b"", b'{\n"format": "isoplay-st', bytes(64)], ids=["empty", "cut", "zeros"])
@pytest.mark.parametrize("store", [True, False], ids=["in a store", "alone"])
def test_a_power_failure_never_locks_a_store(tmp_path: Path, path: Path, store: bool, cut: bytes) -> None:
    folder = path if store else tmp_path / "new"
    folder.mkdir(exist_ok=True)
    (folder / "pending.json").write_bytes(cut)
    for scratch in (SCRATCH, ".pending.json.17.tmp"):
        (folder / scratch).write_bytes(cut)
    with StoreWriter(folder, NETHACK, expert="test") as writer:
        writer.add(game(17, 9))
    assert len(TrajectoryStore.open(folder).episodes) == 1 + store * len(LENGTHS)
    assert verify(folder) == []
    assert all(name.startswith(("manifest", "shard", "episodes")) for name in content(folder))


def test_scratch_alone_is_what_a_writer_left(tmp_path: Path) -> None:
    (tmp_path / SCRATCH).touch()
    write(tmp_path)
    assert SCRATCH not in content(tmp_path)


@pytest.mark.parametrize("names", [("pending.json", "notes"), (SCRATCH, "notes")])
def test_leftovers_beside_other_things_are_left_alone(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="other files and no store"):
        write(tmp_path)
    assert content(tmp_path) == dict.fromkeys(names, b"")


def test_a_reader_that_meets_a_commit_reads_the_new_manifest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, met = reader.read_table, []

    def read_table(store: Path, manifest: dict[str, Any]) -> Any:
        if not met:
            met.append(manifest)
            write(path, (9,), first=50)
        return real(store, manifest)

    monkeypatch.setattr(reader, "read_table", read_table)
    assert len(TrajectoryStore.open(path).episodes) == len(LENGTHS) + 1
    assert not (path / met[0]["table"]["name"]).exists()


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, (tmp_path / "file").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    replace_text(tmp_path / "file", "content")
    assert synced == [((tmp_path / "file").stat().st_ino, False)]
