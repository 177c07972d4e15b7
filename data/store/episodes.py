"""The episode table of a store, and the filter that selects episodes from it."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from data.common.cli import UserError

Split = Literal["train", "dev"]
SPLITS: tuple[Split, ...] = ("train", "dev")

_NONE = type(None)
_LISTED = 8
"""Characters that are listed where none is chosen."""


@dataclass(frozen=True)
class Episode:
    """A row of the episode table: one game. Fields that the source does not provide are None."""

    id: str
    """16 hex digits, a hash of the game's content: independent of file names and times."""
    split: Split
    length: int
    """Number of steps."""
    score: float
    """Final score (NetHack) or undiscounted return (Atari)."""
    role: str | None
    """Character as role-race-alignment-gender, for example `mon-hum-neu-mal`."""
    seed: int | None
    """Seed of the game."""
    source: str
    """Path of the recording inside the imported folder."""
    recording: str | None
    """Hash of the recording's bytes; importing skips recordings whose hash is in the table."""
    checksum: str
    """SHA-256 of the episode's records, concatenated."""
    shard: int
    """Number of the shard that holds the episode's records."""
    record: int
    """Index of its first record in the shard; the others follow it."""
    turns: int | None = None
    """Game turns."""
    depth: int | None = None
    """Deepest dungeon level reached."""
    death: str | None = None
    """Cause of death."""


def split_of(id: str, dev_fraction: float) -> Split:
    """The split of an episode: a function of its id, so that adding episodes never moves another one."""
    share = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big") / 2**64
    return "dev" if share < dev_fraction else "train"


def stratified(episodes: Sequence["Episode"], dev_games: int) -> list["Episode"]:
    """The episodes with `dev_games` of them in the dev split, and the others in the train split.

    A systematic sample: of the episodes in the order of role and length every k-th, so that each role is represented by
    its share, and within a role short and long games.

    Raises:
        UserError: None would be left to train.
    """
    if dev_games >= len(episodes):
        raise UserError(f"--dev-games {dev_games} of {len(episodes)} games leaves none to train: give fewer")
    order = sorted(range(len(episodes)), key=lambda row: _stratum(episodes[row]))
    dev = {order[(2 * number + 1) * len(order) // (2 * dev_games)] for number in range(dev_games)}
    return [replace(episode, split="dev" if row in dev else "train") for row, episode in enumerate(episodes)]


def _stratum(episode: "Episode") -> tuple[str, int, str]:
    return episode.role or "", episode.length, episode.id


def read_table(path: Path, manifest: dict[str, Any]) -> list[Episode]:
    """Read the episode table of the store at `path`.

    Raises:
        UserError: The table is missing, or is not the one that the manifest describes.
    """
    file = path / manifest["table"]["name"]
    try:
        table = file.read_bytes()
    except OSError:
        raise UserError(f"{file} is missing: import its games again, into another folder") from None
    if hashlib.sha256(table).hexdigest() != manifest["table"]["sha256"]:
        raise UserError(f"{file} is damaged, its checksum does not match: import its games again, into another folder")
    records = [shard["records"] for shard in manifest["shards"]]
    try:
        episodes = [Episode(**json.loads(line)) for line in table.splitlines()]
        for row in episodes:
            _check_row(row)
            last = row.record + -(-row.length // manifest["chunk_steps"])
            if row.record < 0 or not 0 <= row.shard < len(records) or last > records[row.shard]:
                raise ValueError(f"records of episode {row.id}")
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged ({error}): import its games again, into another folder") from error
    return episodes


def _check_row(row: Episode) -> None:
    """Raise `ValueError` for a value that a writer never writes."""
    kinds: dict[str, tuple[type, ...]] = {
        "id": (str,), "split": (str,), "length": (int,), "score": (int, float), "role": (str, _NONE),
        "seed": (int, _NONE), "source": (str,), "recording": (str, _NONE), "checksum": (str,), "shard": (int,),
        "record": (int,), "turns": (int, _NONE), "depth": (int, _NONE), "death": (str, _NONE),
    }  # fmt: skip
    for name, value in vars(row).items():
        if not isinstance(value, kinds[name]) or (isinstance(value, int | float) and not abs(value) < 2**64):
            raise ValueError(f"{name} {value!r} of episode {row.id}")
    if row.split not in SPLITS or row.length < 1:
        raise ValueError(f"split {row.split!r} or length {row.length} of episode {row.id}")


class EpisodeFacts(Protocol):
    """The fields of an episode that `EpisodeFilter` reads."""

    @property
    def role(self) -> str | None:
        """Character; None if not recorded."""
        ...

    @property
    def score(self) -> float:
        """Final score or return."""
        ...

    @property
    def length(self) -> int:
        """Number of steps."""
        ...

    @property
    def depth(self) -> int | None:
        """Deepest dungeon level reached; None if not recorded."""
        ...


@dataclass(frozen=True)
class EpisodeFilter:
    """Selects episodes of a store, in both splits. All limits are inclusive."""

    roles: tuple[str, ...] = ()
    """Keep only characters whose name starts with one of these, in any case: mon, Mon or val-dwa. Default all."""
    min_score: float | None = None
    """Minimum final score (NetHack) or return (Atari)."""
    max_score: float | None = None
    """Maximum final score or return."""
    min_length: int | None = None
    """Minimum number of steps."""
    max_length: int | None = None
    """Maximum number of steps."""
    min_depth: int | None = None
    """Minimum depth of the deepest dungeon level reached."""
    max_depth: int | None = None
    """Maximum depth of the deepest dungeon level reached."""

    def __post_init__(self) -> None:
        """Raise `UserError` if a minimum is above its maximum; make roles lower-case, as episodes have them."""
        for name in ("score", "length", "depth"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low is not None and high is not None and low > high:
                raise UserError(
                    f"no episode has a {name} of at least {low} and at most {high}: change --min-{name} or --max-{name}"
                )

        object.__setattr__(self, "roles", tuple(role.lower() for role in self.roles))

    def keep(self, episode: EpisodeFacts) -> bool:
        """Whether the episode passes. One whose role or depth is not recorded fails any limit on it."""
        limits = (
            (episode.score, self.min_score, self.max_score),
            (episode.length, self.min_length, self.max_length),
            (episode.depth, self.min_depth, self.max_depth),
        )
        return (not self.roles or (episode.role or "").startswith(self.roles)) and all(
            (low is None and high is None)
            or (value is not None and (low is None or low <= value) and (high is None or value <= high))
            for value, low, high in limits
        )

    def held_by(self, episodes: Sequence[EpisodeFacts]) -> str:
        """What episodes have of what is limited here, in words: the range of a number, the most frequent characters."""
        told = []
        if self.roles:
            counts = Counter(episode.role or "unknown" for episode in episodes)
            few = [f"{role} ({count})" for role, count in counts.most_common(_LISTED)]
            more = [f"{len(counts) - _LISTED} other characters"] if len(counts) > _LISTED else []
            told.append(f"characters {', '.join([*few, *more])}")
        for name in ("score", "length", "depth"):
            if getattr(self, f"min_{name}") is not None or getattr(self, f"max_{name}") is not None:
                known = [value for episode in episodes if (value := getattr(episode, name)) is not None]
                told.append(f"a {name} from {min(known):g} to {max(known):g}" if known else f"no {name} recorded")
        return " and ".join(told)

    def __str__(self) -> str:
        """The limits that are set, as command-line options."""
        fields = {name.replace("_", "-"): value for name, value in vars(self).items() if value not in (None, ())}
        named = (f"--{name} {' '.join(value) if isinstance(value, tuple) else value}" for name, value in fields.items())
        return " ".join(named) or "all games"


ALL_EPISODES = EpisodeFilter()
"""Keeps every episode."""
