"""Names of trainings: rows of different trainings have different run names."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from eval.results import ResultRow

IDENTITY = (
    *("seed", "init_seed", "data_seed", "population", "core", "size", "width", "depth", "context"),
    *("lr", "lr_rule", "batch", "schedule", "store", "config_hash"),
)
"""Columns by which two rows of one run name, budget and size are of different trainings."""


def distinct(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """`rows` renamed where one run name stands for several trainings of a size, or where there are no run names."""
    by_name: dict[tuple[str, str], list[ResultRow]] = defaultdict(list)
    for row in rows:
        by_name[row.game, row.run].append(row)
    found: list[ResultRow] = []
    for (_, run), same in by_name.items():
        if not run:
            found += _numbered(same)
            continue
        cells = {(row.flops, row.params, row.protocol) for row in same}
        if len(cells) == len(same):
            found += same
            continue
        differ = [name for name in IDENTITY if len({getattr(row, name) for row in same}) > 1]
        found += [replace(row, run=f"{run} ({_settings(row, differ)})") for row in same]
    return found


def _settings(row: ResultRow, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {getattr(row, name)}" for name in names)


def _numbered(rows: Sequence[ResultRow]) -> Iterator[ResultRow]:
    """Rows without a run name, named by budget and size."""
    taken: dict[str, int] = defaultdict(int)
    for row in sorted(rows, key=lambda row: (row.flops, row.params, row.samples, row.loss or 0.0)):
        name = f"C {row.flops:g} N {row.params}"
        taken[name] += 1
        yield replace(row, run=name + (f" #{taken[name]}" if taken[name] > 1 else ""))
