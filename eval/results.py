"""The result row: what evaluation writes and the laws read."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.common.files import replace_text


@dataclass(frozen=True)
class ResultRow:
    """One evaluated checkpoint. A missing value is None (null in JSON, empty in CSV)."""

    game: str
    """Name of the game, for example `nethack`."""
    run: str
    """The training that the checkpoint belongs to."""
    flops: float
    """Training compute C in FLOPs, by `flop_convention`: the budget that the checkpoint stands for."""
    params: int
    """N: counted parameters."""
    samples: int
    """D: samples (steps of the expert) seen in training."""
    loss: float | None = None
    """Dev loss: mean cross-entropy, nats per step on held-out episodes."""
    loss_se: float | None = None
    """Standard error of `loss`, by episode."""
    return_mean: float | None = None
    """Mean final score over `episodes` games."""
    return_se: float | None = None
    """Standard error of `return_mean`."""
    episodes: int | None = None
    """Games played for `return_mean`."""
    seed: int | None = None
    core: str | None = None
    size: str | None = None
    width: int | None = None
    """Features of the core, or channels of the first convolution."""
    depth: int | None = None
    """Layers of the core, or convolutions."""
    context: int | None = None
    """Steps that a training window holds."""
    lr: float | None = None
    batch: int | None = None
    """Samples per optimiser step."""
    schedule: str | None = None
    protocol: str | None = None
    """How the returns were measured: environment, character, sampling, step limit."""
    flop_convention: str | None = None
    flops_exact: float | None = None
    """Training FLOPs at the checkpoint by the `exact` convention."""
    flops_paper: float | None = None
    """Training FLOPs at the checkpoint by the `paper` convention."""
    store: str | None = None
    checkpoint: str | None = None
    config_hash: str | None = None
    version: str | None = None


NAMES = tuple(field.name for field in dataclasses.fields(ResultRow))


def write_rows(path: Path, rows: Iterable[ResultRow]) -> None:
    """Write `path` (jsonl) and the same rows as CSV beside it, each replaced atomically."""
    records = [dataclasses.asdict(row) for row in rows]
    replace_text(path, "".join(json.dumps(record) + "\n" for record in records))
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, NAMES)
    writer.writeheader()
    writer.writerows(records)
    replace_text(path.with_suffix(".csv"), table.getvalue())
