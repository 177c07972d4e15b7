"""TrajectoryStore: games on disk, as a manifest, an episode table and shards of compressed chunks.

A store is written into `PATH.partial` and renamed when whole, so a folder with a manifest is a whole store.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from data import codec, spec
from data.cache import Cache
from data.command import UserError
from data.files import sync
from data.games import ALL_GAMES, Games

FORMAT, VERSION = "isoplay-store", 2
CHUNK_STEPS = 1024
"""Steps in each chunk of an episode but its last."""

CACHE_BYTES = 1 << 24
"""Default bound on unpacked chunks held in memory; `TrajectoryStore.reserve` raises it."""

SHARD_BYTES = 1 << 29
"""A shard is closed once it holds this much."""

Split = Literal["train", "dev"]

T = TypeVar("T", codec.Chunk, spec.Steps)

_MANIFEST, _TABLE, _LOCK = "manifest.json", "episodes.jsonl", ".lock"
_REQUIRED = {
    "game", "observation", "actions", "expert", "episodes", "steps", "split", "chunk_steps", "action_counts",
    "provenance", "table", "shards",
}  # fmt: skip
_READ_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"
_WRITE_OPTIONS = "group_size:1,uncompressed"


class DamagedStore(UserError):
    """A store that is not as it was written."""

    def __init__(self, store: Path, what: str) -> None:
        super().__init__(f"{what}: the store is damaged, `python -m data verify {store}` names all")


@dataclass(frozen=True)
class Episode:
    """One game: a row of the episode table. What the source does not tell is None."""

    id: str
    """16 hex digits: a function of what was played, not of names or times."""
    split: Split
    length: int
    """Steps."""
    score: float
    """Final score (NetHack) or undiscounted return (Atari)."""
    role: str | None
    """Character by role, race, alignment and gender, for example `mon-hum-neu-mal`."""
    seed: int | None
    """What the game was a function of."""
    source: str
    """Path of the recording inside the imported folder."""
    checksum: str
    """SHA-256 over the episode's records."""
    shard: int
    record: int
    """The first of its records in the shard; the others follow it."""
    turns: int | None = None
    depth: int | None = None
    """Deepest dungeon level reached."""
    death: str | None = None


@dataclass(frozen=True)
class Game:
    """A game ready to be stored: its chunks, compressed, and what the table says about it."""

    id: str
    length: int
    score: float
    source: str
    chunks: tuple[bytes, ...]
    """Records of `codec.encode`, CHUNK_STEPS steps each but the last."""
    action_counts: dict[int, int]
    role: str | None = None
    seed: int | None = None
    turns: int | None = None
    depth: int | None = None
    death: str | None = None


def pack(pieces: Iterable[spec.Steps], *, score: float, source: str, **facts: Any) -> Game:
    """Compress a game given as pieces of CHUNK_STEPS steps (the last may be shorter), taken one at a time.

    The id is a hash of actions, cursors and scores. `facts` are further fields of `Game`.
    """
    chunks: list[bytes] = []
    actions, cursors, scores = [], [], []
    for steps in pieces:
        chunks.append(codec.encode(steps, actions[-1][-1] if actions else spec.NO_ACTION))
        actions.append(steps.action_S.copy())
        cursors.append(steps.cursor_Sx2.copy())
        scores.append(steps.score_S.astype("<i4"))
    digest = hashlib.sha256()
    for column in (*actions, *cursors, *scores):
        digest.update(column.tobytes())
    played = np.concatenate(actions)
    counts = {int(a): int(n) for a, n in zip(*np.unique(played, return_counts=True), strict=True)}
    return Game(digest.hexdigest()[:16], len(played), score, source, tuple(chunks), counts, **facts)


def split_of(id: str, dev_fraction: float) -> Split:
    """The side an episode is on: a function of its own id, so adding games never moves one."""
    share = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big") / 2**64
    return "dev" if share < dev_fraction else "train"


class StoreWriter:
    """Writes a store, whole or not at all.

        with StoreWriter(path, expert="AutoAscend") as writer:
            writer.add(game)

    Leaving the block without an error commits; any exception, Ctrl-C included, removes what was written.
    """

    def __init__(
        self, path: str | Path, *, expert: str, dev_fraction: float = 0.1, shard_bytes: int = SHARD_BYTES
    ) -> None:
        if not 0 <= dev_fraction < 1:
            raise UserError(f"dev fraction {dev_fraction} is not in [0, 1): try 0.1")
        self.path = Path(path)
        if self.path.exists():
            raise UserError(f"{self.path} exists already: choose another path or remove it first")
        self.episodes: list[Episode] = []
        self.provenance: dict[str, Any] = {}
        """Free-form facts about where the games came from, kept in the manifest."""
        self._expert, self._dev_fraction, self._shard_bytes = expert, dev_fraction, shard_bytes
        self._scratch = Path(f"{self.path}.partial")
        self._row_of: dict[str, int] = {}
        self._actions: Counter[int] = Counter()
        self._shard: ArrayRecordWriter | None = None
        self._shard_sizes: list[int] = []
        self._shard_records: list[int] = []
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self._scratch.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self._scratch)
        except OSError as error:
            raise UserError(f"can't write {self._scratch}: {error.strerror}") from error
        _empty(self._scratch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._shard = None
            if self._scratch.exists():  # it has its final name after a commit
                shutil.rmtree(self._scratch)
            if self._lock is not None:
                os.close(self._lock)

    def add(self, game: Game) -> Episode | None:
        """Append a game and return its row; returns None, and keeps nothing, if the store has it already."""
        if game.id in self._row_of:
            return None
        try:
            shard, record = self._append(game.chunks)
        except OSError as error:
            raise self._cannot_write(error) from error
        facts = {field.name: getattr(game, field.name) for field in dataclasses.fields(Game)}
        del facts["chunks"], facts["action_counts"]
        episode = Episode(
            **facts,
            split=split_of(game.id, self._dev_fraction),
            checksum=_checksum(game.chunks),
            shard=shard,
            record=record,
        )
        self._row_of[game.id] = len(self.episodes)
        self.episodes.append(episode)
        self._actions.update(game.action_counts)
        return episode

    def twin(self, game: Game) -> Episode:
        """The row of the same game, already in the store."""
        return self.episodes[self._row_of[game.id]]

    def _append(self, chunks: Sequence[bytes]) -> tuple[int, int]:
        """Write an episode's chunks after one another into one shard; its number and the first record."""
        if self._shard is not None and self._shard_sizes[-1] >= self._shard_bytes:
            self._close_shard()
        shard = self._shard or self._open_shard()
        first = self._shard_records[-1]
        with _write_errors():
            for chunk in chunks:
                shard.write(chunk)
            if not shard.ok():
                shard.close()  # raises what went wrong
        self._shard_sizes[-1] += sum(map(len, chunks))
        self._shard_records[-1] += len(chunks)
        return len(self._shard_sizes) - 1, first

    def _open_shard(self) -> ArrayRecordWriter:
        path = self._scratch / _shard_name(len(self._shard_sizes))
        with _write_errors():
            self._shard = ArrayRecordWriter(str(path), _WRITE_OPTIONS)
        self._shard_sizes.append(0)
        self._shard_records.append(0)
        return self._shard

    def _close_shard(self) -> None:
        if self._shard is not None:
            shard, self._shard = self._shard, None
            with _write_errors():
                shard.close()

    def _commit(self) -> None:
        if not self.episodes:
            raise UserError(f"no game to store: {self.path} was not written")
        try:
            self._close_shard()
            table = "".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in self.episodes)
            _write(self._scratch / _TABLE, table)
            lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self._manifest().items()]
            _write(self._scratch / _MANIFEST, "{\n" + ",\n".join(lines) + "\n}\n")
            (self._scratch / _LOCK).unlink()
            sync(self._scratch)
            self._scratch.rename(self.path)
            sync(self.path.parent)
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> UserError:
        reason = error.strerror or str(error)
        return UserError(f"can't write {self.path}: {reason}: nothing was kept; make room or choose another disk")

    def _manifest(self) -> dict[str, Any]:
        counts = Counter(row.split for row in self.episodes)
        shards = []
        for number, records in enumerate(self._shard_records):
            path = self._scratch / _shard_name(number)
            sync(path)
            facts = {"name": path.name, "records": records, "bytes": path.stat().st_size}
            shards.append(facts | {"sha256": file_sha256(path)})
        return {
            "format": FORMAT,
            "version": VERSION,
            "game": "nethack",
            "observation": {name: dataclasses.asdict(field) for name, field in spec.NETHACK.items()},
            "actions": list(spec.KEYS),
            "expert": self._expert,
            "episodes": len(self.episodes),
            "steps": sum(row.length for row in self.episodes),
            "split": {
                "rule": "dev where the first 8 bytes of sha256(episode id) / 2^64 < dev_fraction",
                "dev_fraction": self._dev_fraction,
                "train": counts["train"],
                "dev": counts["dev"],
            },
            "codec": codec.CODEC,
            "chunk_steps": CHUNK_STEPS,
            "action_counts": [self._actions[action] for action in range(len(spec.KEYS))],
            "provenance": self.provenance,
            "table": {"name": _TABLE, "sha256": file_sha256(self._scratch / _TABLE)},
            "shards": shards,
        }


class TrajectoryStore:
    """A store opened for reading; any number of threads may read at once. Make one with `open`."""

    def __init__(
        self,
        path: Path,
        manifest: dict[str, Any],
        episodes: list[Episode],
        cache_bytes: int = CACHE_BYTES,
        games: Games = ALL_GAMES,
    ) -> None:
        self.path, self.manifest, self.episodes, self.games = path, manifest, episodes, games
        self.chunk_steps: int = manifest["chunk_steps"]
        self._readers: dict[int, ArrayRecordReader] = {}
        self._lock = threading.Lock()
        self._chunks = Cache[codec.Chunk](cache_bytes, lambda chunk: chunk.nbytes)

    @classmethod
    def open(cls, path: str | Path, cache_bytes: int = CACHE_BYTES, games: Games = ALL_GAMES) -> "TrajectoryStore":
        """Open the store at `path`; unpacked chunks held for reuse stay below `cache_bytes`; `rows` are of `games`.

        Sizes of shards are checked here and their content when it is read. `data.verify` checks all at once.
        """
        path = Path(path)
        manifest = read_manifest(path)
        for fault in wrong_sizes(path, manifest):
            raise DamagedStore(path, fault)
        return cls(path, manifest, read_table(path, manifest), cache_bytes, games)

    def reserve(self, cache_bytes: int) -> None:
        """Let unpacked chunks take up to `cache_bytes`, if that is more than they may already."""
        self._chunks.allow(cache_bytes)

    @property
    def lengths(self) -> np.ndarray:
        """int64 [episodes], the steps of each episode, by row."""
        return np.array([row.length for row in self.episodes], np.int64)

    def rows(self, split: Split) -> np.ndarray:
        """int64, rows of the chosen episodes on one side of the split, in table order."""
        mine = [i for i, row in enumerate(self.episodes) if row.split == split]
        if not mine:
            fraction = self.manifest["split"]["dev_fraction"]
            raise UserError(
                f"{self.path} has no {split} episode among {len(self.episodes)} (dev fraction {fraction}): "
                "import more games, or import again with another --dev-fraction"
            )
        rows = [i for i in mine if self.games.keep(self.episodes[i])]
        if not rows:
            raise UserError(f"none of the {len(mine)} {split} episodes of {self.path} is among {self.games}")
        return np.array(rows, np.int64)

    def chunk(self, row: int, number: int) -> codec.Chunk:
        """Steps [number · chunk_steps, (number + 1) · chunk_steps) of an episode, unpacked, from the cache or disk."""
        return self._chunks.get((row, number), self._load, codec.unpack, row, number)

    def read(self, row: int, start: int, stop: int) -> spec.Steps:
        """Steps [start, stop) of the episode in `row`, with their scores, as new arrays."""
        size = self.chunk_steps
        if not 0 <= start <= stop <= self.episodes[row].length:
            raise IndexError(f"steps [{start}, {stop}) of an episode of {self.episodes[row].length}")
        first, last = start // size, max(start, stop - 1) // size
        whole = [self._load(codec.decode, row, number) for number in range(first, last + 1)]
        columns = (np.concatenate(column) for column in zip(*whole, strict=True))
        return spec.Steps(*(column[start - first * size : stop - first * size] for column in columns))

    def records(self, row: int) -> list[bytes]:
        """The compressed chunks of an episode, unchecked."""
        episode = self.episodes[row]
        count = -(-episode.length // self.chunk_steps)
        return self._read_records(episode.shard, range(episode.record, episode.record + count))

    def _load(self, read: Callable[[bytes], T], row: int, chunk: int) -> T:
        """A chunk, read from disk by `codec.unpack` or `codec.decode`."""
        episode, size = self.episodes[row], self.chunk_steps
        try:
            [record] = self._read_records(episode.shard, [episode.record + chunk])
            steps = read(record)
            expected = min(size, episode.length - chunk * size)
            count = steps.steps if isinstance(steps, codec.Chunk) else len(steps.action_S)
            if count != expected:
                raise codec.CorruptChunk(f"{count} steps instead of {expected}")
        except codec.CorruptChunk as error:
            name = f"chunk {chunk} of episode {episode.id} in {self.path / _shard_name(episode.shard)}"
            raise DamagedStore(self.path, f"{name}: {error}") from error
        return steps

    def _read_records(self, shard: int, records: Sequence[int]) -> list[bytes]:
        try:
            with self._lock:
                reader = self._readers.get(shard)
                if reader is None:
                    path = self.path / _shard_name(shard)
                    reader = self._readers[shard] = ArrayRecordReader(str(path), _READ_OPTIONS)
            return reader.read(list(records))
        except RuntimeError as error:
            raise codec.CorruptChunk(str(error).partition(" (")[0]) from error


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the store at `path`; a `UserError` says what else is there instead."""
    if not path.is_dir():
        what = "it is a file" if path.exists() else "no such folder; `python -m data import` makes one"
        raise UserError(f"no store at {path}: {what}")
    if path.name.endswith(".partial"):
        raise UserError(f"{path} is an unfinished store: import it again")
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
    except FileNotFoundError:
        raise UserError(f"{path} is not a store: it has no {_MANIFEST}") from None
    except ValueError as error:
        raise UserError(f"{path / _MANIFEST} is damaged ({error}): import the store again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{path} is not a store: its {_MANIFEST} is of another program")
    if manifest.get("version") != VERSION or manifest.get("codec") != codec.CODEC:
        found = f"version {manifest.get('version')} ({manifest.get('codec')})"
        raise UserError(
            f"{path} is a store of {found}, this program reads version {VERSION} ({codec.CODEC}): "
            "import the recordings again"
        )
    if missing := _REQUIRED - manifest.keys():
        raise UserError(f"{path / _MANIFEST} lacks {', '.join(sorted(missing))}: import the store again")
    return manifest


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_sizes(path: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """Shards that are missing, cut short or too long, one line each."""
    for shard in manifest["shards"]:
        file = path / shard["name"]
        if not file.is_file():
            yield f"{file} is missing"
        elif file.stat().st_size != shard["bytes"]:
            yield f"{file} has {file.stat().st_size} bytes instead of {shard['bytes']}"


def read_table(path: Path, manifest: dict[str, Any]) -> list[Episode]:
    """The episode table, after checking that it is the one the manifest was written for."""
    try:
        table = (path / _TABLE).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path / _TABLE} is missing: import the store again") from None
    if hashlib.sha256(table).hexdigest() != manifest["table"]["sha256"]:
        raise UserError(f"{path / _TABLE} is damaged, its checksum does not match: import the store again")
    return [Episode(**json.loads(line)) for line in table.splitlines()]


def _checksum(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _shard_name(number: int) -> str:
    return f"shard-{number:05d}.array_record"


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    sync(path)


@contextmanager
def _write_errors() -> Iterator[None]:
    """ArrayRecord reports what the system said as a RuntimeError with text."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition(";")[0].removeprefix("write() failed: ")
        raise OSError(None, reason) from error


def _lock(folder: Path) -> int:
    """Hold the folder for this process alone. The lock dies with the process, however it ends."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(f"another process is writing {folder}: wait for it or choose another path") from None
    return handle


def _empty(folder: Path) -> None:
    """Remove what a killed process left behind."""
    for path in folder.iterdir():
        if path.name != _LOCK:
            path.unlink()
