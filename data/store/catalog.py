"""What a manifest and an episode table describe, while a store is being written."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

from data.common.cli import UserError
from data.common.files import replace_text, sync
from data.games.base import Content
from data.store.episodes import Episode, read_table, stratified
from data.store.manifest import (
    FORMAT,
    PENDING,
    VERSION,
    checksum_of,
    file_sha256,
    table_name,
    table_number,
)
from data.store.pack import CHUNK_STEPS


class Catalog:
    """The episodes, action counts, shards and imports of a store.

    Args:
        content: What the store holds.
        expert: Who played; None: unknown, or what `load` finds.
        dev_fraction: Fraction of the episodes in the dev split; None: 0.1, or what `load` finds.
        dev_games: Number of the episodes in the dev split, in place of a fraction; None: none, or what `load` finds.
    """

    def __init__(
        self, content: Content, expert: str | None, dev_fraction: float | None, dev_games: int | None = None
    ) -> None:
        self.content = content
        self.dev_games = dev_games
        self.dev_fraction = (0.1 if dev_games is None else 0.0) if dev_fraction is None else dev_fraction
        self.episodes: list[Episode] = []
        self.shards: list[dict[str, Any]] = []
        """Closed shards, as in the manifest."""
        self.imports: list[dict[str, Any]] = []
        """One entry per import, as in the manifest."""
        self._requested = {"expert": expert, "dev_fraction": dev_fraction, "dev_games": dev_games}
        self._expert = expert or "unknown"
        self._row_of: dict[str, int] = {}
        self._actions: Counter[int] = Counter()
        self._labels: Counter[int] = Counter()
        self._table = 0
        """Number of the last episode table written."""

    def load(self, path: Path, manifest: dict[str, Any]) -> None:
        """Continue from a manifest of the store at `path`.

        Raises:
            UserError: The manifest differs from what was requested, or its episode table is damaged.
        """
        required = {"game": self.content.game, "codec": self.content.codec.name, "actions": list(self.content.actions)}
        split = {"dev_fraction": manifest["split"]["dev_fraction"], "dev_games": manifest["split"].get("dev_games")}
        found = manifest | split
        for key, value in (required | self._requested).items():
            if value is not None and value != found[key]:
                what = f"{key} {found[key]!r}, not {value!r}" if key != "actions" else "other actions"
                raise UserError(f"{path} holds games with {what}: choose another path")
        self._expert = manifest["expert"]
        self.dev_fraction, self.dev_games = found["dev_fraction"], found["dev_games"]
        self.shards = list(manifest["shards"])
        self.imports = list(manifest["imports"])
        self._actions = Counter(dict(enumerate(manifest["action_counts"])))
        self._labels = Counter({int(label): count for label, count in manifest.get("label_counts", {}).items()})
        self.episodes, self._row_of = [], {}
        for episode in read_table(path, manifest):
            self.add(episode, {}, {})
        self._table = table_number(manifest)

    def add(self, episode: Episode, action_counts: dict[int, int], label_counts: dict[int, int]) -> None:
        """Append an episode."""
        self._row_of[episode.id] = len(self.episodes)
        self.episodes.append(episode)
        self._actions.update(action_counts)
        self._labels.update(label_counts)

    def split(self) -> None:
        """Choose the `dev_games`, of a store that has not been committed.

        Raises:
            UserError: None would be left to train.
        """
        if self.dev_games is not None:
            self.episodes = stratified(self.episodes, self.dev_games)

    def find(self, id: str) -> Episode | None:
        """The episode with this id; None if there is none."""
        row = self._row_of.get(id)
        return None if row is None else self.episodes[row]

    def write_pending(self, path: Path) -> None:
        """Write the episode table and the pending manifest of the store at `path`, and sync both to disk.

        Raises:
            OSError: The disk is full, or writing fails otherwise.
        """
        table = path / table_name(self._table + 1)
        table.write_text("".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in self.episodes))
        sync(table)
        manifest = self._manifest(table)
        manifest["checksum"] = checksum_of(manifest)
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in manifest.items()]
        replace_text(path / PENDING, "{\n" + ",\n".join(lines) + "\n}\n")
        sync(path)
        self._table += 1

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
            "split": self._rule() | {"train": counts["train"], "dev": counts["dev"]},
            "codec": self.content.codec.name,
            "chunk_steps": CHUNK_STEPS,
            "action_counts": [self._actions[action] for action in range(len(self.content.actions))],
            **self._label_counts(),
            "imports": self.imports,
            "table": {"name": table.name, "sha256": file_sha256(table)},
            "shards": self.shards,
        }

    def _rule(self) -> dict[str, Any]:
        if self.dev_games is None:
            rule = "dev where the first 8 bytes of sha256(episode id) / 2^64 < dev_fraction"
            return {"rule": rule, "dev_fraction": self.dev_fraction}
        rule = "dev_games of the first import, every k-th by role and length; games added later are in train"
        return {"rule": rule, "dev_fraction": self.dev_fraction, "dev_games": self.dev_games}

    def _label_counts(self) -> dict[str, Any]:
        # Keys are text, since JSON makes them so and sorts text otherwise than numbers.
        counts = {str(label): self._labels[label] for label in sorted(self._labels)}
        return {"label_counts": counts} if counts else {}
