"""Writes a store, or adds episodes to one, atomically.

Shards and episode tables are written under names that the manifest does not hold. Whenever a shard is full, the
manifest of the import in progress is written beside that of the store, so that an interrupted import can resume from
it. At the end it replaces the manifest of the store, in one atomic rename.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from data.common.cli import DelayedInterrupt, UserError
from data.common.files import sync
from data.games.base import Content
from data.store.catalog import Catalog
from data.store.episodes import Episode, split_of
from data.store.folder import FolderLock, check_folder, read_pending, remove_leftovers
from data.store.manifest import MANIFEST, PENDING, DamagedStore, read_manifest, shard_name, wrong_sizes
from data.store.pack import PackedEpisode
from data.store.shard import SHARD_BYTES, ShardWriter


class StoreWriteError(UserError):
    """Writing failed, for example because the disk is full. What was added since the last full shard is lost."""


class StoreWriter:
    """Creates a store, or adds episodes to one. A context manager:

        with StoreWriter(path, content, expert="AutoAscend") as writer:
            writer.add(pack(content.codec, pieces, score=1.0, source="game 1"))

    Leaving the block normally commits. After an exception, Ctrl-C included, readers see the store as it was, and the
    next writer resumes with the episodes that this one had added.

    Args:
        path: Folder of the store.
        content: Game, codec and action table.
        expert: Who played. Default for a new store: unknown. An existing store must have the same.
        dev_fraction: Fraction of the episodes in the dev split, chosen by hashes. Default for a new store: 0.1.
        dev_games: Instead, number of the episodes of the first commit in the dev split; see `stratified`. An existing
            store must have the same.
        shard_bytes: A shard is closed once it has this many bytes.

    Raises:
        UserError: `dev_fraction` or `dev_games` is out of range, or `path` holds other files. On entering the block:
            the store holds something else, is damaged, cannot be written to, or is being written by another process.
    """

    def __init__(
        self,
        path: str | Path,
        content: Content,
        *,
        expert: str | None = None,
        dev_fraction: float | None = None,
        dev_games: int | None = None,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        if dev_fraction is not None and not 0 <= dev_fraction < 1:
            raise UserError(f"dev fraction {dev_fraction} is not in [0, 1): try 0.1")
        if dev_games is not None and (dev_games < 1 or dev_fraction is not None):
            raise UserError(f"--dev-games {dev_games}: give at least 1, and no --dev-fraction")
        self.path = Path(path)
        check_folder(self.path)
        self._catalog = Catalog(content, expert, dev_fraction, dev_games)
        self._shard_bytes = shard_bytes
        self._shard: ShardWriter | None = None
        self._noted = self._committed = 0
        """Number of episodes in the pending manifest, and in the one that readers see."""
        self._lock: FolderLock | None = None

    def __enter__(self) -> Self:
        try:
            self._lock = FolderLock(self.path)
            try:
                self._resume()
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            raise UserError(f"can't write {self.path}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._lock is not None, "entered"
        try:
            if kind is None:
                self.commit()
            elif len(self.episodes) > self._noted and not isinstance(error, StoreWriteError):
                with DelayedInterrupt():
                    self._close_shard()
                    self._note()
        finally:
            self._shard = None
            remove_leftovers(self.path)
            self._lock.release()

    @property
    def episodes(self) -> list[Episode]:
        """The episodes of the store, including those that are not committed."""
        return self._catalog.episodes

    @property
    def imports(self) -> list[dict[str, Any]]:
        """Provenance of the episodes: one entry per import, free-form, kept in the manifest. Append to it."""
        return self._catalog.imports

    @property
    def known(self) -> frozenset[str]:
        """Hashes of the recordings that the store holds."""
        return frozenset(row.recording for row in self.episodes if row.recording)

    @property
    def added(self) -> int:
        """Number of episodes that are not committed."""
        return len(self.episodes) - self._committed

    def add(self, episode: PackedEpisode) -> Episode | None:
        """Append an episode.

        Returns:
            Its row of the episode table; None if the store has an episode with this id already.

        Raises:
            StoreWriteError: Writing failed.
        """
        if self._catalog.find(episode.id) is not None:
            return None
        facts = {field.name: getattr(episode, field.name) for field in dataclasses.fields(PackedEpisode)}
        del facts["chunks"], facts["action_counts"], facts["label_counts"]
        split = split_of(episode.id, self._catalog.dev_fraction)
        with DelayedInterrupt():
            shard, record = self._append(episode.chunks)
            row = Episode(**facts, split=split, checksum=episode.checksum, shard=shard, record=record)
            self._catalog.add(row, episode.action_counts, episode.label_counts)
        return row

    def duplicate(self, episode: PackedEpisode) -> Episode:
        """The row of the episode with the same id.

        Raises:
            KeyError: There is none.
        """
        found = self._catalog.find(episode.id)
        if found is None:
            raise KeyError(episode.id)
        return found

    def commit(self) -> None:
        """Make the added episodes visible to readers.

        Raises:
            UserError: The store would have no episodes.
            StoreWriteError: Writing failed.
        """
        if not self.episodes:
            raise UserError(f"no game to store: {self.path} was not written")
        if not self.added:
            return
        if not self._committed:
            self._catalog.split()
        with DelayedInterrupt():
            self._close_shard()
            self._note()
            with self._writing():
                (self.path / PENDING).replace(self.path / MANIFEST)
                sync(self.path)
            self._committed = len(self.episodes)

    def _resume(self) -> None:
        """Load the store and the import in progress that the folder holds, if any."""
        names = {file.name for file in self.path.iterdir()}
        if MANIFEST in names:
            manifest = read_manifest(self.path)
            for fault in wrong_sizes(self.path, manifest):
                raise DamagedStore(self.path, fault)
            self._load(manifest)
            self._committed = len(self.episodes)
        if PENDING in names:
            pending = read_pending(self.path, self._catalog.shards)
            if pending is None:
                # Damaged, for example by a power failure while it was written: its episodes are imported again.
                (self.path / PENDING).unlink()
            else:
                self._load(pending)
        remove_leftovers(self.path)

    def _load(self, manifest: dict[str, Any]) -> None:
        self._catalog.load(self.path, manifest)
        self._noted = len(self.episodes)

    def _append(self, chunks: Sequence[bytes]) -> tuple[int, int]:
        """Write the records of an episode into one shard; returns the shard's number and the first record's index."""
        if self._shard is not None and self._shard.size >= self._shard_bytes:
            self._close_shard()
            self._note()
        number = len(self._catalog.shards)
        with self._writing():
            self._shard = self._shard or ShardWriter(self.path / shard_name(number))
            return number, self._shard.append(chunks)

    def _close_shard(self) -> None:
        if self._shard is not None:
            with self._writing():
                self._catalog.shards.append(self._shard.close())
            self._shard = None

    def _note(self) -> None:
        """Write the pending manifest."""
        with self._writing():
            self._catalog.write_pending(self.path)
        self._noted = len(self.episodes)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Convert errors of the disk to `StoreWriteError`. ArrayRecord reports them as RuntimeError."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            self._shard = None
            system = error.strerror if isinstance(error, OSError) else None
            reason = system or str(error).partition(";")[0].removeprefix("write() failed: ")
            raise StoreWriteError(f"can't write {self.path}: {reason}: free space and start again") from error
