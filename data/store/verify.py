"""Checks every byte of a store."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.codec.chunk import CorruptChunk
from data.common.machine import cores
from data.common.progress import Bar
from data.store.manifest import file_sha256, wrong_sizes
from data.store.reader import TrajectoryStore, read_commit


def verify(store: Path) -> list[str]:
    """List the damage of a store, one line per fault; empty if there is none.

    Compares the checksums of shards and episodes and all counts with the manifest, and decodes every chunk.

    Raises:
        UserError: There is no store, or its manifest or episode table is damaged.
    """
    opened = TrajectoryStore(store, *read_commit(store))
    with ThreadPoolExecutor(cores()) as pool:
        episodes = pool.map(lambda row: _episode(opened, row), range(len(opened.episodes)))
        bar = Bar(episodes, "verify", len(opened.episodes), unit="game")
        found = [fault for faults in bar for fault in faults]
    return [*_counts(opened), *_shards(opened), *found]


def _counts(store: TrajectoryStore) -> Iterator[str]:
    manifest, rows = store.manifest, store.episodes
    actual = {
        "episodes": len(rows),
        "steps": sum(row.length for row in rows),
        "train": sum(row.split == "train" for row in rows),
        "dev": sum(row.split == "dev" for row in rows),
    }
    claimed = {name: (manifest | manifest["split"])[name] for name in actual}
    for name, count in actual.items():
        if count != claimed[name]:
            yield f"manifest.json: {claimed[name]} {name} where the episode table has {count}"
    if manifest["actions"] and sum(manifest["action_counts"]) != actual["steps"]:
        yield "manifest.json: action counts do not add up to the steps"


def _shards(store: TrajectoryStore) -> Iterator[str]:
    wrong = list(wrong_sizes(store.path, store.manifest))
    yield from wrong
    for shard in store.manifest["shards"]:
        path = store.path / shard["name"]
        if not any(str(path) in line for line in wrong) and file_sha256(path) != shard["sha256"]:
            yield f"{path} is damaged: its checksum does not match"


def _episode(store: TrajectoryStore, row: int) -> list[str]:
    episode = store.episodes[row]
    name = f"episode {episode.id} ({episode.source})"
    try:
        records = store.records(row)
    except CorruptChunk as error:
        return [f"{name}: {error}"]
    faults = []
    if hashlib.sha256(b"".join(records)).hexdigest() != episode.checksum:
        faults.append(f"{name}: checksum does not match")
    length = 0
    for number, record in enumerate(records):
        try:
            actions = store.codec.decode(record).action_S
            store.check_actions(actions)
            length += len(actions)
        except CorruptChunk as error:
            faults.append(f"{name}: chunk {number}: {error}")
    if not faults and length != episode.length:
        faults.append(f"{name}: {length} steps instead of {episode.length}")
    return faults
