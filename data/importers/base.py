"""What all importers share. Worker processes convert recordings to episodes, and one process writes them in order.

A recording whose hash is in the store is not converted again, so that repeating an import adds only new recordings.
"""

import hashlib
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, Protocol, TypedDict, Unpack

from data.codec.base import Codec
from data.common.cli import UserError, printable
from data.common.machine import cores
from data.common.progress import Bar, count
from data.common.workers import pool_of, stop_if_asked
from data.games.base import Content
from data.spec import Steps
from data.store.manifest import read_manifest, uneven
from data.store.pack import PackedEpisode, pack
from data.store.writer import StoreWriter

_AHEAD = 4
"""Maximum number of recordings submitted but not written, per process."""

ABANDONED, EMPTY, DAMAGED, DUPLICATE = "abandoned", "empty", "damaged", "a game twice"
HARMLESS = frozenset({ABANDONED, EMPTY, DUPLICATE})
"""Kinds of skipped recordings that do not lose a finished game."""


class Recording(Protocol):
    """A game to import. Picklable: it is sent to a worker process."""

    @property
    def source(self) -> str:
        """Its name: the path of its (first) file inside the imported folder."""
        ...

    def fingerprint(self) -> str:
        """A hash of its content, 32 hex digits, computed without converting it.

        Raises:
            OSError: A file cannot be read.
            Unusable: The recording is damaged.
        """
        ...


@dataclass(frozen=True)
class Skipped:
    """A recording that was not imported: its name, the kind of problem, and the reason."""

    source: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Known:
    """A recording that was in the store already."""

    source: str


class Unusable(Exception):
    """A recording cannot become an episode. `kind` is the kind of problem; the message is the reason."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Report:
    """The result of an import."""

    games: int
    """Number of episodes added."""
    steps: int
    """Number of steps added."""
    known: int
    """Number of recordings that were in the store already."""
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...] = ()
    """What a user should know of the recordings."""

    @property
    def harmed(self) -> int:
        """Number of skipped recordings that hold a finished game, or once held one."""
        return sum(skip.kind not in HARMLESS for skip in self.skipped)

    def __str__(self) -> str:
        lines = [printable(f"  {skip.source}: {skip.kind}: {skip.reason}") for skip in self.skipped]
        if self.skipped:
            kinds = Counter(skip.kind for skip in self.skipped)
            listed = ", ".join(f"{times} {kind}" for kind, times in kinds.most_common())
            lines.insert(0, f"skipped {count(len(self.skipped), 'recording')} ({listed}):")
        lines = [*(f"warning: {warning}" for warning in self.warnings), *lines]
        known = f"; {self.known} were in the store" if self.known else ""
        return "\n".join([*lines, f"imported {count(self.games, 'game')}, {count(self.steps, 'step')}{known}"])


class Options(TypedDict, total=False):
    """Options of every importer."""

    expert: str | None
    """Who played, for the manifest of a new store. Default unknown."""
    dev_fraction: float | None
    """Fraction of the episodes of a new store that is held out in the dev split. Default 0.1."""
    dev_games: int | None
    """Number of episodes of a new store held out in the dev split, instead of a fraction."""
    workers: int | None
    """Number of worker processes. Default one per core."""


def import_games(
    store: str | Path,
    content: Content,
    folder: Path,
    find: Callable[[Path], list[Any]],
    convert: Callable[[Any], PackedEpisode],
    *,
    importer: str,
    facts: Mapping[str, Any] = MappingProxyType({}),
    **options: Unpack[Options],
) -> Report:
    """Convert the recordings in a folder and add them to a store, which is created if necessary.

    The result is a function of the recordings alone, independent of the number of workers.

    Args:
        store: Folder of the store. Not created if there is no episode to import.
        content: Game, codec and action table of the store.
        folder: Folder of the recordings.
        find: Lists the recordings in the folder, each a `Recording`.
        convert: Converts one of them; raises `Unusable` to skip it. Pickled by name for the worker processes.
        importer: Name of the importer, for the manifest.
        facts: What else is known of the recordings, for the manifest.
        **options: See `Options`.

    Raises:
        UserError: An option is out of range, `find` fails, no recording can be imported, or the store cannot be
            written or holds something else.
    """
    workers = options.get("workers")
    processes = cores() if workers is None else workers
    if processes < 1:
        raise UserError(f"{processes} workers cannot convert anything: give at least 1")
    writer = StoreWriter(
        store,
        content,
        expert=options.get("expert"),
        dev_fraction=options.get("dev_fraction"),
        dev_games=options.get("dev_games"),
    )
    steps, known, skipped, recordings = 0, 0, [], find(folder)
    with writer:
        before = len(writer.episodes)
        results = _in_order(convert, recordings, min(processes, len(recordings)), writer.known)
        for result in Bar(results, "import", len(recordings), unit="game"):
            if isinstance(result, Skipped):
                skipped.append(result)
            elif isinstance(result, Known):
                known += 1
            elif writer.add(result) is None:
                same = f"the same game as {writer.duplicate(result).source}"
                skipped.append(Skipped(result.source, DUPLICATE, same))
            else:
                steps += result.length
        if not writer.episodes:
            raise UserError(f"no game to import under {folder}: {_summary(skipped)}")
        games = len(writer.episodes) - before
        if writer.added:
            counts = {"importer": importer, "recordings": len(recordings), "added": writer.added, "known": known}
            writer.imports.append(counts | dict(facts) | {"skipped": [asdict(skip) for skip in skipped]})
    return Report(
        games, steps, known, tuple(skipped), tuple(uneven(read_manifest(writer.path)["split"])) if games else ()
    )


def _summary(skipped: Iterable[Skipped]) -> str:
    """The most frequent reasons with their counts, in one line."""
    reasons = Counter(f"{skip.kind} ({skip.reason})" for skip in skipped)
    return "; ".join(f"{times} {reason}" for reason, times in reasons.most_common(3))


def folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Walk a folder and its subfolders, following links, each real folder once, with the sorted names of their files.

    Raises:
        UserError: There is no such folder, or one cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: give the folder that holds the recordings")
    seen = set()
    try:
        for parent, below, names in os.walk(folder, onerror=_raise, followlinks=True):
            real = os.path.realpath(parent)
            if real in seen:
                below.clear()
                continue
            seen.add(real)
            below.sort()
            # Only regular files: opening a named pipe would block.
            yield Path(parent), sorted(name for name in names if os.path.isfile(os.path.join(parent, name)))
    except OSError as error:
        raise UserError(f"can't read {error.filename}: {error.strerror}") from error


def _raise(error: OSError) -> NoReturn:
    raise error


def converted(convert: Callable[[Any], PackedEpisode], recording: Recording) -> PackedEpisode | Known | Skipped:
    """Convert a recording in a worker process: the episode, or why there is none."""
    stop_if_asked()
    try:
        hash_ = recording.fingerprint()
        if hash_ in _Worker.known:
            return Known(recording.source)
        return replace(convert(recording), recording=hash_)
    except Unusable as error:
        return Skipped(recording.source, error.kind, str(error))
    except OSError as error:
        return Skipped(recording.source, DAMAGED, f"can't be read: {error.strerror or error}")


def packed(codec: Codec, pieces: Iterable[Steps], what: str, **facts: Any) -> PackedEpisode:
    """`data.store.pack.pack`, for recordings that may be empty.

    Raises:
        Unusable: There are no pieces; the reason is "no" and `what`.
    """
    remaining = iter(pieces)
    first = next(remaining, None)
    if first is None:
        raise Unusable(EMPTY, f"no {what}")
    return pack(codec, chain([first], remaining), **facts)


def fingerprint_of(files: Iterable[Path]) -> str:
    """A hash of the content of files, 32 hex digits."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


def _in_order(
    convert: Callable[[Any], PackedEpisode], recordings: list[Any], workers: int, known: frozenset[str]
) -> Iterator[PackedEpisode | Known | Skipped]:
    """Convert recordings in parallel and yield the results in their order.

    If a process dies, the recordings that were submitted are tried again, each in a process of its own.
    """
    left = deque(recordings)
    while left:
        waiting: deque[tuple[Any, Future[PackedEpisode | Known | Skipped]]] = deque()
        with pool_of(workers, _know, known) as pool:
            try:
                while left or waiting:
                    while left and len(waiting) < _AHEAD * workers:
                        with _sigint_blocked():
                            waiting.append((left[0], pool.submit(converted, convert, left[0])))
                        left.popleft()
                    result = waiting[0][1].result()
                    waiting.popleft()
                    yield result
            except BrokenProcessPool:
                suspects = [recording for recording, _ in waiting]
            else:
                return
        for recording in suspects:
            yield _alone(convert, recording, known)


def _alone(
    convert: Callable[[Any], PackedEpisode], recording: Recording, known: frozenset[str]
) -> PackedEpisode | Known | Skipped:
    """Convert a recording in a process of its own, which it may crash."""
    with pool_of(1, _know, known) as pool:
        try:
            with _sigint_blocked():
                result = pool.submit(converted, convert, recording)
            return result.result()
        except BrokenProcessPool:
            return Skipped(recording.source, DAMAGED, "converting it crashed the process: out of memory?")


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Processes started in this block inherit a blocked SIGINT: Ctrl-C is handled by the parent."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """State of a worker process, set when it starts."""

    known: frozenset[str] = frozenset()


def _know(known: frozenset[str]) -> None:
    """In a worker process: fingerprints of the recordings that the store has."""
    _Worker.known = known
