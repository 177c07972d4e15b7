"""Writes a store: new, or more games into one that exists; whole or as it was before.

Shards and a table are written under names that the manifest does not hold yet. Whenever a shard is full, a second
manifest, of the import under way, is put beside the first, so that an import which was interrupted goes on from
there. At the end that manifest replaces the first, in one step.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from data import spec
from data.codec.base import Codec
from data.common.cli import DelayedInterrupt, UserError
from data.common.files import replace_text, sync
from data.games.base import Content
from data.store.reader import (
    CHUNK_STEPS,
    FORMAT,
    MANIFEST,
    VERSION,
    DamagedStore,
    Episode,
    Split,
    checksum_of,
    file_sha256,
    read_manifest,
    read_table,
    shard_name,
    table_name,
    table_number,
    wrong_sizes,
)

SHARD_BYTES = 1 << 29
"""A shard is closed once it holds this much."""

PENDING = "pending.json"
"""The manifest of an import under way."""

_LOCK = ".isoplay.lock"
_OURS = re.compile(r"shard-\d{5,}\.array_record|episodes-\d{5,}\.jsonl|(pending|manifest)\.json|\.isoplay\.lock")
"""Names of the files that a writer makes."""
_WRITE_OPTIONS = "group_size:1,uncompressed"


@dataclass(frozen=True)
class Game:
    """A game ready to be stored: its chunks, compressed, and what the table says about it."""

    id: str
    length: int
    score: float
    source: str
    chunks: tuple[bytes, ...]
    """Records of the codec, CHUNK_STEPS steps each but the last."""
    action_counts: dict[int, int]
    recording: str | None = None
    role: str | None = None
    seed: int | None = None
    turns: int | None = None
    depth: int | None = None
    death: str | None = None


def pack(codec: Codec, pieces: Iterable[spec.Steps], *, score: float, source: str, **facts: Any) -> Game:
    """Compress a game given as pieces of any size, of which no more than a chunk is held.

    The id is a hash of what the codec says tells games apart. `facts` are further fields of `Game`.
    """
    chunks: list[bytes] = []
    actions: list[np.ndarray] = []
    identities: list[tuple[np.ndarray, ...]] = []
    for steps in _rechunked(pieces):
        chunks.append(codec.encode(steps, int(actions[-1][-1]) if actions else None))
        actions.append(steps.action_S.copy())
        identities.append(tuple(column.copy() for column in codec.identity(steps)))
    digest = hashlib.sha256()
    for columns in zip(*identities, strict=True):
        for column in columns:
            digest.update(column.tobytes())
    played = np.concatenate(actions)
    counts = {int(a): int(n) for a, n in zip(*np.unique(played, return_counts=True), strict=True)}
    return Game(digest.hexdigest()[:16], len(played), score, source, tuple(chunks), counts, **facts)


def _rechunked(pieces: Iterable[Any]) -> Iterator[Any]:
    """The same steps in pieces of CHUNK_STEPS, the last as long as it comes."""
    held: list[Any] = []
    count = 0
    for piece in pieces:
        begin, size = 0, len(piece.action_S)
        while count + size - begin >= CHUNK_STEPS:
            end = begin + CHUNK_STEPS - count
            yield _joined([*held, _cut(piece, begin, end)])
            held, count, begin = [], 0, end
        if begin < size:
            held.append(type(piece)(*(column.copy() for column in _cut(piece, begin, size))))
            count += size - begin
    if held:
        yield _joined(held)


def _cut(steps: Any, start: int, stop: int) -> Any:
    return type(steps)(*(column[start:stop] for column in steps))


def _joined(pieces: list[Any]) -> Any:
    if len(pieces) == 1:
        return pieces[0]
    return type(pieces[0])(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def split_of(id: str, dev_fraction: float) -> Split:
    """The side an episode is on: a function of its own id, so adding games never moves one."""
    share = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big") / 2**64
    return "dev" if share < dev_fraction else "train"


class StoreWriter:
    """Adds games to a store, or makes one.

        with StoreWriter(path, content, expert="AutoAscend") as writer:
            writer.add(game)

    Leaving the block without an error commits. After an error, Ctrl-C included, the store is as it was, and the next
    writer goes on with the games that this one had added.
    """

    def __init__(
        self,
        path: str | Path,
        content: Content,
        *,
        expert: str | None = None,
        dev_fraction: float | None = None,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Of a store that exists, `expert` and `dev_fraction` are what they are; of a new one, unknown and 0.1."""
        if dev_fraction is not None and not 0 <= dev_fraction < 1:
            raise UserError(f"dev fraction {dev_fraction} is not in [0, 1): try 0.1")
        self.path, self.content = Path(path), content
        _refuse_what_is_not_ours(self.path)
        self.episodes: list[Episode] = []
        self.imports: list[dict[str, Any]] = []
        """Where the games came from, one entry an import: free-form facts, kept in the manifest."""
        self._asked = {"expert": expert, "dev_fraction": dev_fraction}
        self._expert, self._shard_bytes = expert or "unknown", shard_bytes
        self._dev_fraction = 0.1 if dev_fraction is None else dev_fraction
        self._row_of: dict[str, int] = {}
        self._actions: Counter[int] = Counter()
        self._shards: list[dict[str, Any]] = []
        """Closed ones, as the manifest describes them."""
        self._open: _Shard | None = None
        self._noted = self._committed = 0
        """Episodes in the manifest of the import under way, and in the one that readers see."""
        self._tables = 0
        """Number of the last episode table written."""
        self._made = False
        """Whether the folder is new."""
        self._handle: int | None = None

    def __enter__(self) -> Self:
        try:
            self._made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            self._handle = _lock(self.path)
            try:
                self._begin()
            except BaseException:
                self._leave()
                raise
        except OSError as error:
            raise UserError(f"can't write {self.path}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.commit()
            elif len(self.episodes) > self._noted and not isinstance(error, _CannotWrite):
                with DelayedInterrupt():
                    self._close_shard()
                    self._note()
        finally:
            self._open = None
            self._tidy()
            self._leave()

    @property
    def known(self) -> frozenset[str]:
        """What recordings the store holds, by hash."""
        return frozenset(row.recording for row in self.episodes if row.recording)

    @property
    def added(self) -> int:
        """Episodes that readers don't see yet."""
        return len(self.episodes) - self._committed

    def add(self, game: Game) -> Episode | None:
        """Append a game and return its row; returns None, and keeps nothing, if the store has it already."""
        if game.id in self._row_of:
            return None
        facts = {field.name: getattr(game, field.name) for field in dataclasses.fields(Game)}
        del facts["chunks"], facts["action_counts"]
        side = split_of(game.id, self._dev_fraction)
        with DelayedInterrupt() as interrupt:
            shard, record = self._append(game.chunks)
            self._hold(Episode(**facts, split=side, checksum=_checksum(game.chunks), shard=shard, record=record))
            self._actions.update(game.action_counts)
        interrupt.raise_if_requested()
        return self.episodes[-1]

    def duplicate(self, game: Game) -> Episode:
        """The row of the same game, already in the store."""
        return self.episodes[self._row_of[game.id]]

    def commit(self) -> None:
        """Let readers see what was added. Nothing changes if nothing was."""
        if not self.episodes:
            raise UserError(f"no game to store: {self.path} was not written")
        if not self.added:
            return
        with DelayedInterrupt() as interrupt:
            self._close_shard()
            self._note()
            with self._writing():
                (self.path / PENDING).replace(self.path / MANIFEST)
                sync(self.path)
            self._committed = len(self.episodes)
        interrupt.raise_if_requested()

    def _begin(self) -> None:
        """Take up what the folder holds: a store, an import under way, or nothing."""
        names = {file.name for file in self.path.iterdir()}
        if MANIFEST in names:
            manifest = read_manifest(self.path)
            for fault in wrong_sizes(self.path, manifest):
                raise DamagedStore(self.path, fault)
            self._take_up(manifest)
            self._committed = len(self.episodes)
        if PENDING in names:
            pending = self._pending()
            if pending is None:
                # The power went while it was written: what it would have told is done again.
                (self.path / PENDING).unlink()
            else:
                self._take_up(pending)
        self._tidy()

    def _pending(self) -> dict[str, Any] | None:
        """The manifest of the import under way, if it continues the store and all that it names is there."""
        try:
            pending = read_manifest(self.path, PENDING)
            read_table(self.path, pending)
        except UserError:
            return None
        continues = pending["shards"][: len(self._shards)] == self._shards
        return pending if continues and not any(wrong_sizes(self.path, pending)) else None

    def _tidy(self) -> None:
        """Remove what an unfinished import left and no manifest names."""
        named = {MANIFEST, PENDING, _LOCK}
        for file in (self.path / MANIFEST, self.path / PENDING):
            if file.exists():
                manifest = json.loads(file.read_text())
                named |= {manifest["table"]["name"], *(shard["name"] for shard in manifest["shards"])}
        for file in list(self.path.iterdir()):
            if file.name not in named and _OURS.fullmatch(file.name) and file.is_file():
                file.unlink()

    def _take_up(self, manifest: dict[str, Any]) -> None:
        """Go on with the store of a manifest; refuse it if it is of something else than was asked for."""
        asked = {"game": self.content.game, "codec": self.content.codec.name, "actions": list(self.content.actions)}
        found = manifest | {"dev_fraction": manifest["split"]["dev_fraction"]}
        for key, value in (asked | self._asked).items():
            if value is not None and value != found[key]:
                what = f"{key} {found[key]!r}, not {value!r}" if key != "actions" else "other actions"
                raise UserError(f"{self.path} holds games with {what}: choose another path")
        self._expert, self._dev_fraction = manifest["expert"], found["dev_fraction"]
        self._shards = list(manifest["shards"])
        self.imports = list(manifest["imports"])
        self._actions = Counter(dict(enumerate(manifest["action_counts"])))
        self.episodes, self._row_of = [], {}
        for episode in read_table(self.path, manifest):
            self._hold(episode)
        self._noted = len(self.episodes)
        self._tables = table_number(manifest)

    def _hold(self, episode: Episode) -> None:
        self._row_of[episode.id] = len(self.episodes)
        self.episodes.append(episode)

    def _append(self, chunks: Sequence[bytes]) -> tuple[int, int]:
        """Write an episode's chunks after one another into one shard; its number and the first record."""
        if self._open is not None and self._open.size >= self._shard_bytes:
            self._close_shard()
            self._note()
        with self._writing():
            shard = self._open = self._open or _Shard(self.path / shard_name(len(self._shards)))
            return len(self._shards), shard.append(chunks)

    def _close_shard(self) -> None:
        if self._open is not None:
            with self._writing():
                self._shards.append(self._open.close())
            self._open = None

    def _note(self) -> None:
        """Write the manifest of the import under way."""
        with self._writing():
            table = self.path / table_name(self._tables + 1)
            table.write_text("".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in self.episodes))
            sync(table)
            manifest = self._manifest(table)
            manifest["checksum"] = checksum_of(manifest)
            lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in manifest.items()]
            replace_text(self.path / PENDING, "{\n" + ",\n".join(lines) + "\n}\n")
            sync(self.path / PENDING)
        self._tables += 1
        self._noted = len(self.episodes)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What the disk says against it becomes one line. ArrayRecord reports it as a RuntimeError with text."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            self._open = None
            system = error.strerror if isinstance(error, OSError) else None
            reason = system or str(error).partition(";")[0].removeprefix("write() failed: ")
            raise _CannotWrite(f"can't write {self.path}: {reason}: make room and start again") from error

    def _leave(self) -> None:
        """Let others write; a new folder in which nothing came to be is removed."""
        (self.path / _LOCK).unlink(missing_ok=True)
        if self._made and not any(self.path.iterdir()):
            self.path.rmdir()
        if self._handle is not None:
            os.close(self._handle)

    def _manifest(self, table: Path) -> dict[str, Any]:
        counts = Counter(row.split for row in self.episodes)
        observation = self.content.codec.observation
        return {
            "format": FORMAT,
            "version": VERSION,
            "game": self.content.game,
            "observation": {name: dataclasses.asdict(field) for name, field in observation.items()},
            "actions": list(self.content.actions),
            "expert": self._expert,
            "episodes": len(self.episodes),
            "steps": sum(row.length for row in self.episodes),
            "split": {
                "rule": "dev where the first 8 bytes of sha256(episode id) / 2^64 < dev_fraction",
                "dev_fraction": self._dev_fraction,
                "train": counts["train"],
                "dev": counts["dev"],
            },
            "codec": self.content.codec.name,
            "chunk_steps": CHUNK_STEPS,
            "action_counts": [self._actions[action] for action in range(len(self.content.actions))],
            "imports": self.imports,
            "table": {"name": table.name, "sha256": file_sha256(table)},
            "shards": self._shards,
        }


class _Shard:
    """A shard being written."""

    def __init__(self, path: Path) -> None:
        self._path, self._writer = path, ArrayRecordWriter(str(path), _WRITE_OPTIONS)
        self.size = self._records = 0

    def append(self, chunks: Sequence[bytes]) -> int:
        """Write records; the number of the first."""
        first = self._records
        for chunk in chunks:
            self._writer.write(chunk)
        if not self._writer.ok():
            self._writer.close()  # raises what went wrong
        self.size += sum(map(len, chunks))
        self._records += len(chunks)
        return first

    def close(self) -> dict[str, Any]:
        """Finish it; what the manifest says of it."""
        self._writer.close()
        sync(self._path)
        facts = {"name": self._path.name, "records": self._records, "bytes": self._path.stat().st_size}
        return facts | {"sha256": file_sha256(self._path)}


class _CannotWrite(UserError):
    """The disk refuses: there is no use in writing down how far this came."""


def _checksum(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _refuse_what_is_not_ours(folder: Path) -> None:
    """Only an empty folder, a store, and what an interrupted or killed writer left are written to."""
    try:
        names = {file.name for file in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise UserError(f"can't write {folder}: {error.strerror}") from error
    if MANIFEST in names:
        read_manifest(folder)  # says what is wrong with it
    if PENDING in names and not _is_ours(folder / PENDING):
        raise UserError(f"{folder / PENDING} is no file of a store: choose another path")
    killed = _LOCK in names and all(map(_OURS.fullmatch, names))
    if names and not killed and not names & {MANIFEST, PENDING}:
        raise UserError(f"{folder} holds other things and no store: choose another path")


def _is_ours(manifest: Path) -> bool:
    try:
        content = json.loads(manifest.read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def _lock(folder: Path) -> int:
    """Hold the folder for this process alone. The lock dies with the process, however it ends."""
    while True:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(folder / _LOCK)):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise UserError(f"another process is writing {folder}: wait for it or choose another path") from None
        except FileNotFoundError:
            pass
        os.close(handle)  # whoever held it has left, and took the file along
