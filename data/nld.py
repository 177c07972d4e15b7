"""NetHack recordings to a store: ttyrec files of NLE's recorder, with the xlogfile beside them.

A step is a screen and the key press that followed it, exactly as NLE's own converter reads them. A screen
that no key followed, such as the last of a game, is not a step. Keys that NLE itself pressed while it reset
the game (a space or two past the opening messages) can't be told from the player's and are kept.
"""

import bz2
import fnmatch
import json
import os
import signal
import struct
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from nle.dataset import Converter
from tqdm import tqdm

from data.command import UserError
from data.spec import COLUMNS, NO_SCORE, ROWS, Steps, action_of_key
from data.store import CHUNK_STEPS, Game, StoreWriter, pack
from data.workers import SPAWN, follow_parent

NO_ROW, EMPTY, DAMAGED, NO_KEYS, FOREIGN, TWIN = (
    "abandoned",
    "empty",
    "damaged",
    "without key presses",
    "with a key outside the action table",
    "a game twice",
)
HARMLESS = frozenset({NO_ROW, EMPTY, TWIN})
"""Kinds of skipped recordings that happen in any healthy folder: nothing of a finished game is lost."""

_HEADER = struct.Struct("<iiiB")
_OUTPUT, _KEY, _SCORE = 0, 1, 2
_MAX_PAYLOAD = 1 << 20
_BLOCK = 1 << 24

Row = dict[str, str]
"""One line of an xlogfile, as text."""


@dataclass(frozen=True)
class Skipped:
    """A recording that was not imported, and why."""

    source: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What an import did."""

    games: int
    steps: int
    skipped: tuple[Skipped, ...]

    @property
    def harmed(self) -> int:
        """Skipped recordings that hold a game, or held one."""
        return sum(skip.kind not in HARMLESS for skip in self.skipped)

    def __str__(self) -> str:
        lines = [f"  {skip.source}: {skip.kind}: {skip.reason}" for skip in self.skipped]
        if self.skipped:
            kinds = Counter(skip.kind for skip in self.skipped)
            listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            lines.insert(0, f"skipped {len(self.skipped)} recordings ({listed}):")
        return "\n".join([*lines, f"imported {self.games} games, {self.steps:,} steps"])


class _Unusable(Exception):
    """A recording can't become an episode: its kind and the reason."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Recording:
    """A file to import."""

    path: Path
    source: str
    """The path inside the imported folder."""
    rows: tuple[Row, ...]
    """Lines of the xlogfiles beside it that name it."""


def import_nld(
    folder: str | Path,
    store: str | Path,
    *,
    expert: str = "unknown",
    dev_fraction: float = 0.1,
    workers: int | None = None,
) -> Report:
    """Import every finished game under `folder` into a new store.

    The store is a function of the recordings alone, however many processes (default: one per core) convert
    them. Nothing is left at `store` unless at least one game was imported.
    """
    processes = len(os.sched_getaffinity(0)) if workers is None else workers
    if processes < 1:
        raise UserError(f"{processes} workers can't convert: give at least 1")
    writer = StoreWriter(store, expert=expert, dev_fraction=dev_fraction)
    recordings = find(Path(folder))
    steps, skipped = 0, []
    with writer, _pool(min(processes, len(recordings))) as pool:
        converted = _in_order(pool, recordings, ahead=4 * processes)
        for result in tqdm(converted, "import", len(recordings), unit="game", disable=None):
            if isinstance(result, Skipped):
                skipped.append(result)
            elif writer.add(result) is None:
                same = f"the same game as {writer.twin(result).source}"
                skipped.append(Skipped(result.source, TWIN, same))
            else:
                steps += result.length
        if not writer.episodes:
            raise UserError(f"no game to import under {folder}: {_summary(skipped)}")
        writer.provenance = {
            "importer": "nld",
            "recordings": len(recordings),
            "skipped": [asdict(skip) for skip in skipped],
        }
    return Report(len(writer.episodes), steps, tuple(skipped))


def _summary(skipped: Iterable[Skipped]) -> str:
    """One line for many: the reasons with their counts."""
    reasons = Counter(f"{skip.kind} ({skip.reason})" for skip in skipped)
    return "; ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))


def find(folder: Path) -> list[Recording]:
    """Every `*.ttyrec*.bz2` under `folder`, by name, with its lines of the xlogfiles in the same folder."""
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: give the folder that holds the recordings")
    found = []
    try:
        for parent, names in _folders(folder):
            rows = _read_logs(parent, names)
            for name in fnmatch.filter(names, "*.ttyrec*.bz2"):
                path = parent / name
                found.append(Recording(path, path.relative_to(folder).as_posix(), rows.get(name, ())))
    except OSError as error:
        raise UserError(f"can't read {error.filename}: {error.strerror}") from error
    if not found:
        raise UserError(f"no recording (*.ttyrec*.bz2) under {folder}")
    return sorted(found, key=lambda recording: recording.source)


def _folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and all below it, links included, each once, with the names of its files."""
    seen = set()
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield Path(parent), names


def _raise(error: OSError) -> NoReturn:
    raise error


def _read_logs(folder: Path, names: Iterable[str]) -> dict[str, tuple[Row, ...]]:
    """Lines of the xlogfiles among `names`, by the recording they name."""
    rows: dict[str, tuple[Row, ...]] = {}
    for log in sorted(fnmatch.filter(names, "*xlogfile")):
        for line in (folder / log).read_text("latin-1").split("\n"):
            row: Row = {}
            for field in line.split("\t"):
                key, _, value = field.partition("=")
                row[key] = value
            name = row.get("ttyrecname", "")
            rows[name] = (*rows.get(name, ()), row)
    return rows


def convert(recording: Recording) -> Game | Skipped:
    """A recording as a game for the store, or why it can't be one."""
    try:
        return _convert(recording)
    except _Unusable as error:
        return Skipped(recording.source, error.kind, str(error))
    except OSError as error:
        return Skipped(recording.source, DAMAGED, f"can't be read: {error.strerror or error}")


def _convert(recording: Recording) -> Game:
    _stop_if_asked()
    if not recording.path.stat().st_size:
        raise _Unusable(EMPTY, "the file is empty")
    if not recording.rows:
        raise _Unusable(NO_ROW, "no xlogfile beside it has a row with its name")
    row, *others = recording.rows
    if others:
        raise _Unusable(DAMAGED, f"{len(recording.rows)} rows of the xlogfile have its name")
    version = version_of(recording.path)
    facts = _facts(row)
    seed = _seed(recording.path.parent)
    keys = scan(recording.path, version)
    if not len(keys):
        raise _Unusable(EMPTY, "no key was pressed")
    actions = action_of_key()[keys]
    if actions.min() < 0:
        step = int(np.argmin(actions >= 0))
        raise _Unusable(FOREIGN, f"key {keys[step]} at step {step} is no action")
    return pack(
        _steps(recording.path, version, keys, actions.astype(np.uint8)),
        source=recording.source,
        seed=seed,
        **facts,
    )


def version_of(path: Path) -> int:
    """The ttyrec version that a file name tells; records without key presses are refused."""
    text = path.name.removesuffix(".bz2").rpartition("ttyrec")[2]
    if text in ("", "1"):
        raise _Unusable(NO_KEYS, "ttyrec version 1 records screens alone")
    if text not in ("2", "3"):
        raise _Unusable(DAMAGED, f"ttyrec version {text} is unknown")
    return int(text)


def _facts(row: Row) -> dict[str, Any]:
    """What an xlogfile row says of a game, as fields of `Game`."""
    try:
        return {
            "score": float(int(row["points"])),
            "role": "-".join(row[name] for name in ("role", "race", "align0", "gender0")).lower(),
            "turns": int(row["turns"]),
            "depth": int(row["maxlvl"]),
            "death": row["death"] + (f", while {row['while']}" if "while" in row else ""),
        }
    except (KeyError, ValueError) as error:
        raise _Unusable(DAMAGED, f"its xlogfile row is incomplete ({error})") from error


def _seed(folder: Path) -> int | None:
    """The seed that `data.collect` notes beside the one game of a folder; NLE's recorder notes none."""
    note = folder / "game.json"
    if not note.exists():
        return None
    try:
        return int(json.loads(note.read_text())["seed"])
    except (ValueError, KeyError, TypeError) as error:
        raise _Unusable(DAMAGED, f"{note.name} beside it is damaged ({error})") from error


def scan(path: Path, version: int) -> np.ndarray:
    """Keys uint8 [steps] of a recording, after checking all of it.

    NLE's converter takes a recording that breaks off for one that ends, and writes past its buffers where the
    order of frames is wrong, so it is only given what passes here.
    """
    keys = bytearray()
    scored = False
    for channel, payload in _frames(path):
        if channel == _KEY and len(payload) == 1 and (scored or version < 3):
            keys += payload
            scored = False
        elif channel == _SCORE and version == 3 and len(payload) == 4 and not scored:
            scored = True
        elif channel != _OUTPUT:
            raise _Unusable(DAMAGED, f"a frame out of place after {len(keys)} key presses")
    return np.frombuffer(keys, np.uint8)


def _frames(path: Path) -> Iterator[tuple[int, memoryview]]:
    """Channel and payload of each frame of a recording of version 2 or 3."""
    rest = b""
    for block in _decompressed(path):
        data = memoryview(rest + block)
        at = 0
        while at + _HEADER.size <= len(data):
            _, _, size, channel = _HEADER.unpack_from(data, at)
            if not 0 < size <= _MAX_PAYLOAD:
                raise _Unusable(DAMAGED, f"a frame of {size} bytes")
            end = at + _HEADER.size + size
            if end > len(data):
                break
            yield channel, data[at + _HEADER.size : end]
            at = end
        rest = bytes(data[at:])
    if rest:
        raise _Unusable(DAMAGED, "cut short inside a frame")


def _decompressed(path: Path) -> Iterator[bytes]:
    """The content of a bzip2 file, in blocks, of exactly one whole stream: the converter reads no further."""
    unzip = bz2.BZ2Decompressor()
    packed = path.read_bytes()
    try:
        while not unzip.eof:
            block = unzip.decompress(packed, _BLOCK)
            packed = b""
            if not block and unzip.needs_input:
                raise _Unusable(DAMAGED, "cut short")
            yield block
    except OSError as error:
        raise _Unusable(DAMAGED, "not valid bzip2 data") from error
    if unzip.unused_data:
        raise _Unusable(DAMAGED, f"{len(unzip.unused_data)} bytes follow the end of its bzip2 stream")


def converter_buffers() -> tuple[np.ndarray, ...]:
    """A chunk's arrays as NLE's converter fills them: characters, colours, cursors, times, keys, scores."""
    return (
        np.zeros((CHUNK_STEPS, ROWS, COLUMNS), np.uint8),
        np.zeros((CHUNK_STEPS, ROWS, COLUMNS), np.int8),
        np.zeros((CHUNK_STEPS, 2), np.int16),
        np.zeros(CHUNK_STEPS, np.int64),
        np.zeros(CHUNK_STEPS, np.uint8),
        np.full(CHUNK_STEPS, NO_SCORE, np.int32),
    )


def _steps(path: Path, version: int, keys: np.ndarray, actions: np.ndarray) -> Iterator[Steps]:
    """A recording's steps a chunk at a time, in arrays that the next chunk overwrites."""
    buffers = chars, colors, cursor, _, pressed, scores = converter_buffers()
    converter = Converter(ROWS, COLUMNS, version)
    converter.load_ttyrec(str(path))
    for start in range(0, len(keys), CHUNK_STEPS):
        count = CHUNK_STEPS - converter.convert(*buffers)
        expected = keys[start : start + CHUNK_STEPS]
        if not np.array_equal(pressed[:count], expected):
            raise _Unusable(DAMAGED, f"NLE's converter stops or differs after key press {start}")
        _stop_if_asked()
        yield Steps(
            chars[:count],
            colors[:count].view(np.uint8),
            cursor[:count].astype(np.uint8),
            actions[start : start + count],
            scores[:count],
        )


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that convert; on leaving, early or not, they are asked to stop and waited for."""
    stop = SPAWN.Event()
    pool = ProcessPoolExecutor(workers, SPAWN, _start_worker, (stop,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise UserError("a converting process died: out of memory? try fewer --workers") from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, recordings: list[Recording], ahead: int) -> Iterator[Game | Skipped]:
    """Results in the order of the recordings, few ahead: what is done early waits in memory for its turn."""
    waiting: deque[Future[Game | Skipped]] = deque()
    for recording in recordings:
        with _deaf_to_interrupts():
            waiting.append(pool.submit(convert, recording))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


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


def _start_worker(stop: Event) -> None:
    """Know when to stop, and end with the parent even if it is killed."""
    _Worker.stop = stop
    follow_parent()


def _stop_if_asked() -> None:
    if _Worker.stop is not None and _Worker.stop.is_set():
        raise _Stopped
