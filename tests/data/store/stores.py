"""Small stores for tests, and what damages them."""

import json
from pathlib import Path
from typing import Any

from data.codec.screens import SCREENS
from data.games import nethack
from data.spec import NetHackSteps
from data.store.manifest import checksum_of
from data.store.pack import CHUNK_STEPS, PackedEpisode, pack
from data.store.writer import StoreWriter
from tests.data.codec.test_codec import random_steps

NETHACK = nethack.content()


LENGTHS = (1, 2047, 2048, 2049, 4600)


def cut(steps: NetHackSteps, size: int = CHUNK_STEPS) -> list[NetHackSteps]:
    count = len(steps.action_S)
    return [NetHackSteps(*(column[at : at + size] for column in steps)) for at in range(0, count, size)]


def game(seed: int, length: int) -> PackedEpisode:
    return pack(SCREENS, cut(random_steps(seed, length)), score=10.0 * seed, source=f"{seed}.rec", role="mon")


def write(
    path: Path, lengths: tuple[int, ...] = LENGTHS, dev_fraction: float | None = 0.5, first: int = 0, **options: Any
) -> Path:
    with StoreWriter(path, NETHACK, expert="test", dev_fraction=dev_fraction, **options) as writer:
        for seed, length in enumerate(lengths, first):
            writer.add(game(seed, length))
    return path


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


TABLE = "episodes-00001.jsonl"


def edit_manifest(path: Path, **changes: object) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | changes))


def seal(path: Path, **changes: object) -> None:
    """Change the manifest, and the checksum with it."""
    manifest = json.loads((path / "manifest.json").read_text()) | changes
    edit_manifest(path, **changes | {"checksum": checksum_of(manifest)})


def shard(path: Path) -> Path:
    return path / "shard-00000.array_record"


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
