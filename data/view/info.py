"""Summarises a store as text, and its scores as a figure."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from data.common.files import replacing
from data.common.progress import count
from data.games import registry
from data.games.strategies import name_of
from data.store.episodes import Episode, Split
from data.store.reader import TrajectoryStore

_TOP = 12
_BAR = 30
_PERCENTILES = (0, 10, 25, 50, 75, 90, 100)


def info(store: Path) -> str:
    """Counts, splits, scores, roles, actions, size and provenance of a store.

    Raises:
        UserError: The store cannot be opened.
    """
    opened = TrajectoryStore.open(store)
    sections = (_overview, _splits, _scores, _roles, _actions, _labels, _provenance)
    return "\n\n".join(text for section in sections if (text := section(opened)))


def facts(store: Path) -> dict[str, Any]:
    """The content of `info` as JSON values: the manifest without its file list, and distributions of the episodes.

    Raises:
        UserError: The store cannot be opened.
    """
    opened = TrajectoryStore.open(store)
    manifest = opened.manifest
    named = ("game", "expert", "version", "codec", "chunk_steps", "episodes", "steps", "split", "imports")
    names = registry.find(manifest["game"]).action_names(manifest["actions"]) if manifest["actions"] else []
    labels = manifest.get("label_counts", {})
    return {
        "store": str(store),
        **{name: manifest[name] for name in named},
        "bytes": sum(shard["bytes"] for shard in manifest["shards"]),
        "checksum": opened.checksum,
        "percentiles": {name: _quantiles(values) for name, values in _columns(opened).items() if values},
        "characters": dict(Counter(row.role or "unknown" for row in opened.episodes)),
        "ends": dict(Counter(row.death or "unknown" for row in opened.episodes)),
        "actions": dict(zip(names, manifest["action_counts"], strict=True)),
        "strategies": {name_of(int(label)): labels[label] for label in labels},
    }


def _columns(store: TrajectoryStore) -> dict[str, list[float]]:
    return {
        name: [value for row in store.episodes if (value := getattr(row, name)) is not None]
        for name in ("score", "length", "turns", "depth")
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    found = np.percentile(values, _PERCENTILES).tolist()
    return {**{str(p): value for p, value in zip(_PERCENTILES, found, strict=True)}, "mean": float(np.mean(values))}


def draw_scores(store: Path, png: Path) -> None:
    """Draw a histogram of final scores by split, and score against length, to a PNG file.

    Raises:
        UserError: The store cannot be opened, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    opened = TrajectoryStore.open(store)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    scores = np.array([row.score for row in opened.episodes])
    # The axes are logarithmic: scores below 1 are drawn at 1.
    lowest = max(1.0, scores.min() * 0.999)
    edges = np.geomspace(lowest, max(10 * lowest, scores.max() * 1.001), 31)
    for split in ("train", "dev"):
        rows = _of(opened, split)
        if rows:
            mine = np.array([row.score for row in rows])
            left.hist(
                np.maximum(mine, 1.0), edges, label=f"{split}, {len(rows):,} games, mean {mine.mean():,.0f}", alpha=0.7
            )
            right.scatter([row.length for row in rows], np.maximum(mine, 1.0), s=8, alpha=0.7)
    left.set(xscale="log", xlabel="final score (points)", ylabel="games")
    left.legend(frameon=False)
    right.set(xscale="log", yscale="log", xlabel="length (steps)", ylabel="final score (points)")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{opened.manifest['expert']}: {len(opened.episodes):,} games, {opened.manifest['steps']:,} steps")
    with replacing(png) as scratch:
        figure.savefig(scratch, format="png", dpi=150)


def _overview(store: TrajectoryStore) -> str:
    manifest = store.manifest
    size = sum(shard["bytes"] for shard in manifest["shards"])
    raw = manifest["steps"] * sum(int(np.prod(field.shape)) for field in store.codec.observation.values())
    rows = {
        "store": str(store.path),
        "game": manifest["game"],
        "expert": manifest["expert"],
        "format": f"version {manifest['version']}, {manifest['codec']}, chunks of {manifest['chunk_steps']}",
        "episodes": f"{manifest['episodes']:,}",
        "steps": f"{manifest['steps']:,}",
        "size": f"{size:,} bytes in {count(len(manifest['shards']), 'shard')}",
        "bytes per step": f"{size / manifest['steps']:.1f} (1/{raw / size:.0f} of uncompressed observations)",
    }
    return _table(rows)


def _splits(store: TrajectoryStore) -> str:
    lines = [f"{'split':<8}{'episodes':>10}{'steps':>14}{'mean length':>14}{'mean score':>14}"]
    for split in ("train", "dev"):
        rows = _of(store, split)
        steps = sum(row.length for row in rows)
        length = f"{steps / len(rows):,.0f}" if rows else "-"
        score = f"{np.mean([row.score for row in rows]):,.0f}" if rows else "-"
        lines.append(f"{split:<8}{len(rows):>10,}{steps:>14,}{length:>14}{score:>14}")
    lines.append(f"rule    {store.manifest['split']['rule']}")
    chosen = next(name for name in ("dev_games", "dev_fraction") if name in store.manifest["split"])
    lines.append(f"        {chosen} {store.manifest['split'][chosen]}")
    return "\n".join(lines)


def _scores(store: TrajectoryStore) -> str:
    lines = ["percentile" + "".join(f"{p:>10}" for p in _PERCENTILES) + f"{'mean':>10}"]
    for name, values in _columns(store).items():
        if values:
            lines.append(f"{name:<10}" + "".join(f"{value:>10,.0f}" for value in _quantiles(values).values()))
    return "\n".join(lines)


def _roles(store: TrajectoryStore) -> str:
    roles = Counter(row.role or "unknown" for row in store.episodes)
    deaths = Counter(row.death or "unknown" for row in store.episodes)
    return _ranking("characters", roles) + "\n\n" + _ranking("ends", deaths)


def _actions(store: TrajectoryStore) -> str:
    actions = store.manifest["actions"]
    if not actions:
        return "actions were not recorded: this store cannot be used for training"
    names = registry.find(store.manifest["game"]).action_names(actions)
    counts = Counter(dict(zip(names, store.manifest["action_counts"], strict=True)))
    return _ranking("actions", +counts)


def _labels(store: TrajectoryStore) -> str:
    counts = store.manifest.get("label_counts", {})
    return _ranking("strategies", Counter({name_of(int(label)): counts[label] for label in counts})) if counts else ""


def _provenance(store: TrajectoryStore) -> str:
    lines = []
    for entry in store.manifest["imports"]:
        facts = dict(entry)
        skipped = Counter(str(dict(skip).get("kind")) for skip in facts.pop("skipped", []))
        listed = ", ".join(f"{count} {kind}" for kind, count in skipped.most_common()) or "none"
        lines.append(", ".join(f"{key} {value}" for key, value in facts.items()) + f"; skipped: {listed}")
    return "imports\n" + "\n".join(f"  {line}" for line in lines)


def _of(store: TrajectoryStore, split: Split) -> list[Episode]:
    return [row for row in store.episodes if row.split == split]


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows)) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in rows.items())


def _ranking(title: str, counts: Counter[str]) -> str:
    """The most frequent names, with their count, share and a bar."""
    total = counts.total()
    top = counts.most_common(_TOP)
    rest = len(counts) - len(top)
    lines = [f"{title} ({len(counts)} different{f', {_TOP} most frequent' if rest else ''})"]
    for name, times in top:
        bar = "█" * round(_BAR * times / top[0][1])
        lines.append(f"  {name[:34]:<34}{times:>12,}{times / total:>8.1%}  {bar}")
    return "\n".join(lines)
