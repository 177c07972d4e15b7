"""Recordings to a store: what every importer shares. Workers convert, one process writes, in order.

A recording that the store holds already is told by the hash of its bytes and left alone, so that running an import
again adds only what is new.
"""

import hashlib
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypedDict, Unpack

from tqdm import tqdm

from data.codec.base import Codec
from data.common.cli import UserError, printable
from data.common.workers import SPAWN, follow_parent
from data.games.base import Content
from data.spec import Steps
from data.store.writer import Game, StoreWriter, pack

_AHEAD = 4
"""Recordings under way or waiting for their turn, for each process."""

ABANDONED, EMPTY, DAMAGED, DUPLICATE = "abandoned", "empty", "damaged", "a game twice"
HARMLESS = frozenset({ABANDONED, EMPTY, DUPLICATE})
"""Kinds of skipped recordings that happen in any healthy folder: nothing of a finished game is lost."""


class Recording(Protocol):
    """A game to import. Goes to another process and back."""

    @property
    def source(self) -> str:
        """Its name: the path of the (first) file inside the imported folder."""
        ...

    def fingerprint(self) -> str:
        """What tells its content from all others, without converting it: 32 hex digits."""
        ...


@dataclass(frozen=True)
class Skipped:
    """A recording that was not imported, and why."""

    source: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Known:
    """A recording that the store held before."""

    source: str


class Unusable(Exception):
    """A recording can't become an episode: its kind and the reason."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Report:
    """What an import did."""

    games: int
    """Added."""
    steps: int
    known: int
    """Games that were in the store before."""
    skipped: tuple[Skipped, ...]

    @property
    def harmed(self) -> int:
        """Skipped recordings that hold a game, or held one."""
        return sum(skip.kind not in HARMLESS for skip in self.skipped)

    def __str__(self) -> str:
        lines = [printable(f"  {skip.source}: {skip.kind}: {skip.reason}") for skip in self.skipped]
        if self.skipped:
            kinds = Counter(skip.kind for skip in self.skipped)
            listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            lines.insert(0, f"skipped {len(self.skipped)} recordings ({listed}):")
        before = f"; {self.known} were in the store" if self.known else ""
        return "\n".join([*lines, f"imported {self.games} games, {self.steps:,} steps{before}"])


class Options(TypedDict, total=False):
    """What one can choose of any import."""

    expert: str | None
    """Who played, for the manifest of a new store; default unknown."""
    dev_fraction: float | None
    """Share of the episodes of a new store that is held out; default 0.1."""
    workers: int | None
    """Processes that convert; default one per core."""


def import_games(
    store: str | Path,
    content: Content,
    folder: Path,
    find: Callable[[Path], list[Any]],
    convert: Callable[[Any], Game],
    *,
    importer: str,
    **options: Unpack[Options],
) -> Report:
    """Convert the recordings that `find` finds in a folder and add them to a store, new or not.

    Processes convert; what is added is a function of the recordings alone, however many there are. `convert` raises
    `Unusable` for a recording to skip; it is called by name in another process. Nothing is left at `store` if there
    is no game.
    """
    workers = options.get("workers")
    processes = len(os.sched_getaffinity(0)) if workers is None else workers
    if processes < 1:
        raise UserError(f"{processes} workers can't convert: give at least 1")
    writer = StoreWriter(store, content, expert=options.get("expert"), dev_fraction=options.get("dev_fraction"))
    steps, known, skipped, recordings = 0, 0, [], find(folder)
    with writer:
        before = len(writer.episodes)
        results = _in_order(convert, recordings, min(processes, len(recordings)), writer.known)
        for result in tqdm(results, "import", len(recordings), unit="game", disable=None):
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
            facts = {"importer": importer, "recordings": len(recordings), "added": writer.added, "known": known}
            writer.imports.append(facts | {"skipped": [asdict(skip) for skip in skipped]})
    return Report(games, steps, known, tuple(skipped))


def _summary(skipped: Iterable[Skipped]) -> str:
    """One line for many: the reasons with their counts."""
    reasons = Counter(f"{skip.kind} ({skip.reason})" for skip in skipped)
    return "; ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))


def folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and all below it, links included, each once, with the names of its files."""
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
            # A named pipe would be waited for, and a folder can have any name.
            yield Path(parent), sorted(name for name in names if os.path.isfile(os.path.join(parent, name)))
    except OSError as error:
        raise UserError(f"can't read {error.filename}: {error.strerror}") from error


def _raise(error: OSError) -> NoReturn:
    raise error


def converted(convert: Callable[[Any], Game], recording: Recording) -> Game | Known | Skipped:
    """A recording as a game for the store, or why it is none."""
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


def packed(codec: Codec, pieces: Iterable[Steps], what: str, **facts: Any) -> Game:
    """A game, see `data.store.writer.pack`; raises `Unusable` if there is no piece, saying `what` is not there."""
    some = iter(pieces)
    first = next(some, None)
    if first is None:
        raise Unusable(EMPTY, f"no {what}")
    return pack(codec, chain([first], some), **facts)


def fingerprint_of(files: Iterable[Path]) -> str:
    """32 hex digits that tell the bytes of files apart."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


def stop_if_asked() -> None:
    """In a worker: leave the game at hand if the import is over."""
    if _Worker.stop is not None and _Worker.stop.is_set():
        raise _Stopped


@contextmanager
def _pool(workers: int, known: frozenset[str]) -> Iterator[ProcessPoolExecutor]:
    """Processes that convert; on leaving, early or not, they are asked to stop and waited for."""
    stop = SPAWN.Event()
    pool = ProcessPoolExecutor(workers, SPAWN, _start_worker, (stop, known))
    try:
        yield pool
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _in_order(
    convert: Callable[[Any], Game], recordings: list[Any], workers: int, known: frozenset[str]
) -> Iterator[Game | Known | Skipped]:
    """Results in the order of the recordings, few ahead: what is done early waits in memory for its turn.

    Where a process dies, the recordings that were under way are tried again, each in a process of its own.
    """
    left = deque(recordings)
    while left:
        waiting: deque[tuple[Any, Future[Game | Known | Skipped]]] = deque()
        with _pool(workers, known) as pool:
            try:
                while left or waiting:
                    while left and len(waiting) < _AHEAD * workers:
                        with _deaf_to_interrupts():
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


def _alone(convert: Callable[[Any], Game], recording: Recording, known: frozenset[str]) -> Game | Known | Skipped:
    """What becomes of a recording in a process of its own, which may die of it."""
    with _pool(1, known) as pool:
        try:
            with _deaf_to_interrupts():
                result = pool.submit(converted, convert, recording)
            return result.result()
        except BrokenProcessPool:
            return Skipped(recording.source, DAMAGED, "its conversion ended the process: out of memory?")


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started in here never see Ctrl-C: it is the parent's."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Stopped(Exception):
    """The process that asked for this game is leaving."""


class _Worker:
    """What a converting process was given at its start."""

    stop: Event | None = None
    known: frozenset[str] = frozenset()


def _start_worker(stop: Event, known: frozenset[str]) -> None:
    """Know when to stop, and end with the parent even if it is killed."""
    _Worker.stop, _Worker.known = stop, known
    follow_parent()
