"""Encodes one episode as the records that a store keeps."""

import dataclasses
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.codec.base import Codec
from data.common.files import replacing
from data.spec import NO_LABEL, Steps

CHUNK_STEPS = 2048
"""Steps in each chunk of an episode but the last."""


@dataclass(frozen=True)
class PackedEpisode:
    """An encoded episode, ready to be added to a store. See `Episode` for the fields that the two share."""

    id: str
    length: int
    score: float
    source: str
    chunks: tuple[bytes, ...]
    """Records of CHUNK_STEPS steps each; the last may have fewer."""
    action_counts: dict[int, int]
    """How often each action occurs, by action index."""
    label_counts: dict[int, int] = dataclasses.field(default_factory=dict)
    """How often each label occurs; empty without labels."""
    recording: str | None = None
    role: str | None = None
    seed: int | None = None
    turns: int | None = None
    depth: int | None = None
    death: str | None = None

    @property
    def checksum(self) -> str:
        """SHA-256 of the records, concatenated."""
        digest = hashlib.sha256()
        for chunk in self.chunks:
            digest.update(chunk)
        return digest.hexdigest()


def pack(codec: Codec, pieces: Iterable[Steps], *, score: float, source: str, **facts: Any) -> PackedEpisode:
    """Encode an episode.

    Args:
        codec: Encodes the steps. Its `identity` of them is hashed to the episode's id.
        pieces: The steps in pieces of any size. At most about a chunk of them is held in memory.
        score: Final score or return.
        source: Name of the recording.
        **facts: Further fields of `PackedEpisode`.

    Raises:
        ValueError: There are no steps.
    """
    chunks: list[bytes] = []
    actions: list[np.ndarray] = []
    identities: list[tuple[np.ndarray, ...]] = []
    labels: Counter[int] = Counter()
    for steps in _rechunked(pieces):
        chunks.append(codec.encode(steps, int(actions[-1][-1]) if actions else None))
        actions.append(steps.action_S.copy())
        identities.append(tuple(column.copy() for column in codec.identity(steps)))
        if (label_S := codec.labels(steps)) is not None:
            labels.update(_counts(label_S[label_S != NO_LABEL]))
    digest = hashlib.sha256()
    for columns in zip(*identities, strict=True):
        for column in columns:
            digest.update(column.tobytes())
    all_actions = np.concatenate(actions)
    id, counts = digest.hexdigest()[:16], _counts(all_actions)
    return PackedEpisode(id, len(all_actions), score, source, tuple(chunks), counts, dict(labels), **facts)


def write_episode(path: Path, episode: PackedEpisode) -> None:
    """Write an episode to a file of its own, atomically."""
    facts = dataclasses.asdict(episode)
    chunks = [np.frombuffer(chunk, np.uint8) for chunk in facts.pop("chunks")]
    # JSON has no numbers as keys.
    facts |= {name: sorted(facts[name].items()) for name in ("action_counts", "label_counts")}
    data = io.BytesIO()
    np.savez(data, *chunks, facts=np.array(json.dumps(facts)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch:
        scratch.write_bytes(data.getvalue())


def read_episode(path: Path) -> PackedEpisode:
    """Read what `write_episode` wrote."""
    with np.load(path) as data:
        chunks = tuple(data[f"arr_{number}"].tobytes() for number in range(len(data.files) - 1))
        facts = json.loads(str(data["facts"]))
        facts |= {name: dict(facts[name]) for name in ("action_counts", "label_counts")}
        return PackedEpisode(**facts, chunks=chunks)


def _counts(values: np.ndarray) -> dict[int, int]:
    """How often each value occurs."""
    return {int(value): int(count) for value, count in zip(*np.unique(values, return_counts=True), strict=True)}


def _rechunked(pieces: Iterable[Any]) -> Iterator[Any]:
    """The same steps in pieces of CHUNK_STEPS; the last may have fewer."""
    held: list[Any] = []
    count = 0
    for piece in pieces:
        begin, size = 0, len(piece.action_S)
        while count + size - begin >= CHUNK_STEPS:
            end = begin + CHUNK_STEPS - count
            yield _concatenated([*held, _sliced(piece, begin, end)])
            held, count, begin = [], 0, end
        if begin < size:
            # Copied, since an importer may overwrite a piece's arrays with the next piece.
            held.append(type(piece)(*(column.copy() for column in _sliced(piece, begin, size))))
            count += size - begin
    if held:
        yield _concatenated(held)


def _sliced(steps: Any, start: int, stop: int) -> Any:
    return type(steps)(*(column[start:stop] for column in steps))


def _concatenated(pieces: list[Any]) -> Any:
    if len(pieces) == 1:
        return pieces[0]
    return type(pieces[0])(*(np.concatenate(column) for column in zip(*pieces, strict=True)))
