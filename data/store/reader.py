"""TrajectoryStore: games on disk, as a manifest, an episode table and shards of compressed chunks, opened to be read.

The manifest names the other files. It is replaced as one (`data.store.writer`), so that what it describes is always
whole; a file that it does not name is of an unfinished import, and not read.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from data.codec import base as codec
from data.codec.base import Codec
from data.common.cli import UserError
from data.games import registry
from data.spec import Field
from data.store.cache import Cache
from data.store.episodes import ALL_EPISODES, EpisodeFilter

FORMAT, VERSION = "isoplay-store", 4
CHUNK_STEPS = 2048
"""Steps in each chunk of an episode but its last."""

CACHE_BYTES = 1 << 24
"""Default bound on unpacked chunks held in memory; `TrajectoryStore.reserve` raises it."""

MANIFEST, _TABLE, _SHARD = "manifest.json", "episodes", "array_record"

Split = Literal["train", "dev"]

_SPARE = 1.25
"""How much larger than the chunks that were looked at others are taken to be."""

T = TypeVar("T", codec.Chunk, Any)

_SIDES: tuple[Split, ...] = ("train", "dev")
_TYPES: dict[str, type] = {
    "game": str, "observation": dict, "actions": list, "expert": str, "episodes": int, "steps": int, "split": dict,
    "codec": str, "chunk_steps": int, "action_counts": list, "imports": list, "table": dict, "shards": list,
}  # fmt: skip
_NONE = type(None)
_READ_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"


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
    recording: str | None
    """What the recording's bytes were, as a hash: it is not imported again."""
    checksum: str
    """SHA-256 over the episode's records."""
    shard: int
    record: int
    """The first of its records in the shard; the others follow it."""
    turns: int | None = None
    depth: int | None = None
    """Deepest dungeon level reached."""
    death: str | None = None


class TrajectoryStore:
    """A store opened for reading; any number of threads may read at once. Make one with `open`."""

    def __init__(
        self,
        path: Path,
        manifest: dict[str, Any],
        episodes: list[Episode],
        cache_bytes: int = CACHE_BYTES,
        games: EpisodeFilter = ALL_EPISODES,
    ) -> None:
        self.path, self.manifest, self.episodes, self.games = path, manifest, episodes, games
        self.codec = codec_of(manifest)
        self.chunk_steps: int = manifest["chunk_steps"]
        self._readers: dict[int, ArrayRecordReader] = {}
        self._lock = threading.Lock()
        self._chunks = Cache[codec.Chunk](cache_bytes, lambda chunk: chunk.nbytes)

    @classmethod
    def open(
        cls, path: str | Path, cache_bytes: int = CACHE_BYTES, games: EpisodeFilter = ALL_EPISODES
    ) -> "TrajectoryStore":
        """Open the store at `path`; unpacked chunks held for reuse stay below `cache_bytes`; `rows` are of `games`.

        Sizes of shards are checked here and their content when it is read. `data.store.verify` checks all at once.
        """
        path = Path(path)
        manifest = read_manifest(path)
        for fault in wrong_sizes(path, manifest):
            raise DamagedStore(path, fault)
        return cls(path, manifest, read_table(path, manifest), cache_bytes, games)

    def reserve(self, chunks: int) -> None:
        """Let so many unpacked chunks be held, as large as the largest of a few, if that is more than may already."""
        row_P = np.unique([0, len(self.episodes) // 2, len(self.episodes) - 1])
        few = self.chunks(row_P, np.zeros_like(row_P))
        step = max(chunk.nbytes / chunk.steps for chunk in few)
        self._chunks.allow(int(_SPARE * step * self.chunk_steps) * chunks)

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

    @property
    def checksum(self) -> str:
        """What tells the games of this store and their order from others, wherever they were recorded."""
        where = {"source", "recording", "shard", "record"}
        told = [{key: value for key, value in vars(row).items() if key not in where} for row in self.episodes]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def shares(self, rows: np.ndarray, lanes: int) -> list[tuple[np.ndarray, int]]:
        """All rows and all lanes: what of a mixture are several."""
        return [(rows, lanes)]

    def chunks(self, row_P: np.ndarray, number_P: np.ndarray) -> list[codec.Chunk]:
        """Chunks of episodes, the episodes by row, unpacked; those that were read last are kept."""
        return self._chunks.get_all(list(zip(row_P.tolist(), number_P.tolist(), strict=True)), self._unpack)

    def read(self, row: int, start: int, stop: int) -> Any:
        """Steps [start, stop) of the episode in `row`, of the game's own type, with their scores, as new arrays."""
        size = self.chunk_steps
        if not 0 <= start <= stop <= self.episodes[row].length:
            raise IndexError(f"steps [{start}, {stop}) of an episode of {self.episodes[row].length}")
        first, last = start // size, max(start, stop - 1) // size
        whole = [self._load(self.codec.decode, row, number) for number in range(first, last + 1)]
        columns = (np.concatenate(column) for column in zip(*whole, strict=True))
        return type(whole[0])(*(column[start - first * size : stop - first * size] for column in columns))

    def check_actions(self, action_S: np.ndarray) -> None:
        """Raise `CorruptChunk` where an action is not in the table; without a table all must be `no_action`."""
        count = len(self.manifest["actions"])
        worst = int(action_S.max())
        if worst >= count and not (count == 0 and worst == int(action_S.min()) == self.codec.no_action):
            raise codec.CorruptChunk(f"action {worst} of {count}")

    def records(self, row: int) -> list[bytes]:
        """The compressed chunks of an episode, unchecked."""
        episode = self.episodes[row]
        count = -(-episode.length // self.chunk_steps)
        return self._read_records(episode.shard, range(episode.record, episode.record + count))

    def _unpack(self, row: int, number: int) -> codec.Chunk:
        return self._load(self.codec.unpack, row, number)

    def _load(self, read: Callable[[bytes], T], row: int, chunk: int) -> T:
        """A chunk, read from disk by `codec.unpack` or `codec.decode`."""
        episode, size = self.episodes[row], self.chunk_steps
        try:
            [record] = self._read_records(episode.shard, [episode.record + chunk])
            steps = read(record)
            expected = min(size, episode.length - chunk * size)
            count = len(steps.action_S)
            if count != expected:
                raise codec.CorruptChunk(f"{count} steps instead of {expected}")
            self.check_actions(steps.action_S)
        except codec.CorruptChunk as error:
            name = f"chunk {chunk} of episode {episode.id} in {self.path / shard_name(episode.shard)}"
            raise DamagedStore(self.path, f"{name}: {error}") from error
        return steps

    def _read_records(self, shard: int, records: Sequence[int]) -> list[bytes]:
        try:
            with self._lock:
                reader = self._readers.get(shard)
                if reader is None:
                    path = self.path / shard_name(shard)
                    reader = self._readers[shard] = ArrayRecordReader(str(path), _READ_OPTIONS)
            return reader.read(list(records))
        except RuntimeError as error:
            raise codec.CorruptChunk(str(error).partition(" (")[0]) from error


def read_manifest(path: Path, name: str = MANIFEST) -> dict[str, Any]:
    """The manifest of the store at `path`, or another in its form; a `UserError` says what else is there instead."""
    file = path / name
    try:
        if not path.is_dir():
            what = "it is a file" if path.exists() else "no such folder; `python -m data import` makes one"
            raise UserError(f"no store at {path}: {what}")
        manifest = json.loads(file.read_text())
    except FileNotFoundError:
        what = "its import was not finished: import again" if any(path.glob(f"*.{_SHARD}")) else f"it has no {name}"
        raise UserError(f"{path} is not a store: {what}") from None
    except OSError as error:
        raise UserError(f"can't read {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged ({error}): delete the store and import again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{path} is not a store: its {name} is of another program")
    if manifest.get("version") != VERSION:
        raise UserError(
            f"{path} is a store of version {manifest.get('version')} ({manifest.get('codec')}), this program reads"
            f" version {VERSION}: delete it and import again"
        )
    if missing := _TYPES.keys() - manifest.keys():
        raise UserError(f"{file} lacks {', '.join(sorted(missing))}: delete the store and import again")
    if manifest.get("checksum") != checksum_of(manifest):
        raise UserError(f"{file} is damaged (its checksum does not match): delete the store and import again")
    for fault in _faults(manifest):
        raise UserError(f"{file} is damaged ({fault}): delete the store and import again")
    if (known := codec_of(manifest).name) != manifest["codec"]:
        what = f"{manifest['game']} encoded as {manifest['codec']}, this program reads {known}"
        raise UserError(f"{path} is a store of {what}: delete it and import again")
    return manifest


def codec_of(manifest: dict[str, Any]) -> Codec:
    """The codec of a store, by its game and observation."""
    fields = {name: Field(tuple(field["shape"]), field["dtype"]) for name, field in manifest["observation"].items()}
    return registry.find(manifest["game"]).codec(fields)


def _faults(manifest: dict[str, Any]) -> Iterator[str]:
    """What is impossible in a manifest, whoever sealed it."""
    for key, kind in _TYPES.items():
        if not isinstance(manifest[key], kind):
            yield f"{key} is no {kind.__name__}"
            return
    if not 0 < manifest["episodes"] <= manifest["steps"] < 2**63:
        yield f"{manifest['episodes']} games of {manifest['steps']} steps"
    if not 1 <= manifest["chunk_steps"] <= codec.MAX_STEPS:
        yield f"chunks of {manifest['chunk_steps']} steps"
    if not all(map(_is_field, manifest["observation"].values())):
        yield "what an observation is"
    split = manifest["split"]
    if not isinstance(split.get("dev_fraction"), int | float) or split.keys() != {"rule", "dev_fraction", *_SIDES}:
        yield "what the split is"
    counts = manifest["action_counts"]
    if len(counts) != len(manifest["actions"]) or not all(isinstance(count, int) for count in counts):
        yield "how often each action was played"
    if not all(isinstance(entry, dict) and isinstance(entry.get("skipped", []), list) for entry in manifest["imports"]):
        yield "what was imported"
    names = [table_name(_number(manifest["table"].get("name")))]
    names += [shard_name(number) for number in range(len(manifest["shards"]))]
    facts: dict[str, type] = {"sha256": str}
    for file, name in zip((manifest["table"], *manifest["shards"]), names, strict=True):
        if not isinstance(file, dict) or any(not isinstance(file.get(key), kind) for key, kind in facts.items()):
            yield "what a file is"
        elif file.get("name") != name:
            yield f"a file {file.get('name')!r} where {name} belongs"
        facts |= {"records": int, "bytes": int}


def _is_field(field: object) -> bool:
    """Whether a field of the observation has a shape and a dtype of numbers."""
    match field:
        case {"shape": [*shape], "dtype": str(dtype)} if re.fullmatch(r"u?int(8|16|32|64)|float(16|32|64)|bool", dtype):
            return all(isinstance(size, int) and 0 < size < 2**20 for size in shape)
    return False


def _number(name: object) -> int:
    """The number in a table's name; 0 if that is none."""
    found = re.fullmatch(rf"{_TABLE}-(\d{{5,8}})\.jsonl", name) if isinstance(name, str) else None
    return int(found[1]) if found else 0


def table_name(number: int) -> str:
    """The name of an episode table's file."""
    return f"{_TABLE}-{number:05d}.jsonl"


def table_number(manifest: dict[str, Any]) -> int:
    """The number of a manifest's episode table."""
    return _number(manifest["table"]["name"])


def checksum_of(manifest: dict[str, Any]) -> str:
    """SHA-256 of a manifest, its checksum left out."""
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
    file = path / manifest["table"]["name"]
    try:
        table = file.read_bytes()
    except OSError:
        raise UserError(f"{file} is missing: delete the store and import again") from None
    if hashlib.sha256(table).hexdigest() != manifest["table"]["sha256"]:
        raise UserError(f"{file} is damaged, its checksum does not match: delete the store and import again")
    records = [shard["records"] for shard in manifest["shards"]]
    try:
        episodes = [Episode(**json.loads(line)) for line in table.splitlines()]
        for row in episodes:
            _check_episode(row)
            last = row.record + -(-row.length // manifest["chunk_steps"])
            if row.record < 0 or not 0 <= row.shard < len(records) or last > records[row.shard]:
                raise ValueError(f"records of episode {row.id}")
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged ({error}): delete the store and import again") from error
    return episodes


def _check_episode(row: Episode) -> None:
    """Raise `ValueError` for a field that no writer writes."""
    kinds: dict[str, tuple[type, ...]] = {
        "id": (str,), "split": (str,), "length": (int,), "score": (int, float), "role": (str, _NONE),
        "seed": (int, _NONE), "source": (str,), "recording": (str, _NONE), "checksum": (str,), "shard": (int,),
        "record": (int,), "turns": (int, _NONE), "depth": (int, _NONE), "death": (str, _NONE),
    }  # fmt: skip
    for name, value in vars(row).items():
        if not isinstance(value, kinds[name]) or (isinstance(value, int | float) and not abs(value) < 2**64):
            raise ValueError(f"{name} {value!r} of episode {row.id}")
    if row.split not in _SIDES or row.length < 1:
        raise ValueError(f"split {row.split!r} or length {row.length} of episode {row.id}")


def shard_name(number: int) -> str:
    """The name of a shard's file."""
    return f"shard-{number:05d}.{_SHARD}"
