"""The manifest of a store: a JSON file that names and describes all its other files.

A store changes only when its manifest is replaced, in one atomic rename. Files that the manifest does not name belong
to an import that is not finished, and are ignored.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.codec.base import MAX_STEPS, Codec
from data.common.cli import UserError, quoted
from data.games import registry
from data.spec import Field
from data.store.episodes import SPLITS

FORMAT, VERSION = "isoplay-store", 4
MANIFEST = "manifest.json"
PENDING = "pending.json"
"""The manifest of an import in progress; it becomes MANIFEST when the import ends."""

UNEVEN = 1 / 3
"""Deviation of the dev split from its expected size, as a share of it, that is warned of."""

_TABLE, _SHARD = "episodes", "array_record"
_TYPES: dict[str, type] = {
    "game": str, "observation": dict, "actions": list, "expert": str, "episodes": int, "steps": int, "split": dict,
    "codec": str, "chunk_steps": int, "action_counts": list, "imports": list, "table": dict, "shards": list,
}  # fmt: skip


class DamagedStore(UserError):
    """The content of a store is not what was written."""

    def __init__(self, store: Path, what: str) -> None:
        super().__init__(f"{what}: the store is damaged, `python -m data verify {quoted(store)}` lists all damage")


def read_manifest(path: Path, name: str = MANIFEST) -> dict[str, Any]:
    """Read and check the manifest of the store at `path`.

    Args:
        path: Folder of the store.
        name: MANIFEST, or PENDING for that of an import in progress.

    Raises:
        UserError: There is no store at `path`, it is of another version, or its manifest is damaged.
    """
    file = path / name
    try:
        if not path.is_dir():
            what = "it is a file" if path.exists() else "no such folder; `python -m data import` makes one"
            raise UserError(f"no store at {path}: {what}")
        manifest = json.loads(file.read_text())
    except FileNotFoundError:
        unfinished = any(path.glob(f"*.{_SHARD}"))
        what = "its import was not finished: run the import again" if unfinished else f"it has no {name}"
        raise UserError(f"{path} is not a store: {what}") from None
    except OSError as error:
        raise UserError(f"can't read {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged ({error}): import its games again, into another folder") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{path} is not a store: its {name} was written by another program")
    if manifest.get("version") != VERSION:
        raise UserError(
            f"{path} is a store of version {manifest.get('version')} ({manifest.get('codec')}), this program reads"
            f" version {VERSION}: import its games again, into another folder"
        )
    if missing := _TYPES.keys() - manifest.keys():
        raise UserError(f"{file} lacks {', '.join(sorted(missing))}: import its games again, into another folder")
    if manifest.get("checksum") != checksum_of(manifest):
        raise UserError(f"{file} is damaged (its checksum does not match): import its games again, into another folder")
    for fault in _faults(manifest):
        raise UserError(f"{file} is damaged ({fault}): import its games again, into another folder")
    if (known := codec_of(manifest).name) != manifest["codec"]:
        what = f"{manifest['game']} encoded as {manifest['codec']}, this program reads {known}"
        raise UserError(f"{path} is a store of {what}: import its games again, into another folder")
    return manifest


def uneven(split: dict[str, Any]) -> Iterator[str]:
    """A warning if the dev split of a manifest is far from its fraction, as hashes may have it."""
    fraction, dev = split["dev_fraction"], split["dev"]
    total = dev + split["train"]
    if "dev_games" not in split and abs(dev - fraction * total) > max(1, fraction * total * UNEVEN):
        yield (
            f"the dev split has {dev} of {total} games, not {fraction:.0%} of them: episodes are assigned by hashes, so"
            f" that the store can grow; --dev-games {max(1, round(fraction * total))} would hold out so many,"
            " stratified by role and length"
        )


def codec_of(manifest: dict[str, Any]) -> Codec:
    """The codec of a store, from its game and observation spec.

    Raises:
        UserError: The game is unknown.
    """
    fields = {name: Field(tuple(field["shape"]), field["dtype"]) for name, field in manifest["observation"].items()}
    return registry.find(manifest["game"]).codec(fields)


def checksum_of(manifest: dict[str, Any]) -> str:
    """SHA-256 of a manifest without its checksum."""
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def table_name(number: int) -> str:
    """File name of an episode table."""
    return f"{_TABLE}-{number:05d}.jsonl"


def table_number(manifest: dict[str, Any]) -> int:
    """The number in the file name of a manifest's episode table."""
    return _number(manifest["table"]["name"])


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:05d}.{_SHARD}"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_sizes(path: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """One line for each shard that is missing or has the wrong size."""
    for shard in manifest["shards"]:
        file = path / shard["name"]
        if not file.is_file():
            yield f"{file} is missing"
        elif file.stat().st_size != shard["bytes"]:
            yield f"{file} has {file.stat().st_size} bytes instead of {shard['bytes']}"


def _faults(manifest: dict[str, Any]) -> Iterator[str]:
    """Impossible values. They are refused even where the checksum matches, since anybody can compute it."""
    for key, kind in _TYPES.items():
        if not isinstance(manifest[key], kind):
            yield f"{key} is not of type {kind.__name__}"
            return
    if not 0 < manifest["episodes"] <= manifest["steps"] < 2**63:
        yield f"{manifest['episodes']} episodes of {manifest['steps']} steps"
    if not 1 <= manifest["chunk_steps"] <= MAX_STEPS:
        yield f"chunks of {manifest['chunk_steps']} steps"
    if not all(map(_is_field, manifest["observation"].values())):
        yield "invalid observation spec"
    split = manifest["split"]
    if split.keys() - {"dev_games"} != {"rule", "dev_fraction", *SPLITS} or not (
        isinstance(split["dev_fraction"], int | float) and isinstance(split.get("dev_games"), int | None)
    ):
        yield "invalid split"
    counts = manifest["action_counts"]
    if len(counts) != len(manifest["actions"]) or not all(isinstance(count, int) for count in counts):
        yield "invalid action counts"
    labels = manifest.get("label_counts", {})
    if not isinstance(labels, dict) or not all(re.fullmatch(r"-?\d{1,3}", key) for key in labels):
        yield "invalid label counts"
    if not all(isinstance(entry, dict) and isinstance(entry.get("skipped", []), list) for entry in manifest["imports"]):
        yield "invalid list of imports"
    names = [table_name(_number(manifest["table"].get("name")))]
    names += [shard_name(number) for number in range(len(manifest["shards"]))]
    facts: dict[str, type] = {"sha256": str}
    for file, name in zip((manifest["table"], *manifest["shards"]), names, strict=True):
        if not isinstance(file, dict) or any(not isinstance(file.get(key), kind) for key, kind in facts.items()):
            yield "invalid description of a file"
        elif file.get("name") != name:
            yield f"a file {file.get('name')!r} instead of {name}"
        facts |= {"records": int, "bytes": int}


def _is_field(field: object) -> bool:
    """Whether an entry of the observation spec has a valid shape and a numeric dtype."""
    match field:
        case {"shape": [*shape], "dtype": str(dtype)} if re.fullmatch(r"u?int(8|16|32|64)|float(16|32|64)|bool", dtype):
            return all(isinstance(size, int) and 0 < size < 2**20 for size in shape)
    return False


def _number(name: object) -> int:
    """The number in a table's file name; 0 if it has none."""
    found = re.fullmatch(rf"{_TABLE}-(\d{{5,8}})\.jsonl", name) if isinstance(name, str) else None
    return int(found[1]) if found else 0
