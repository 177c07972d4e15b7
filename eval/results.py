"""The result row: written by evaluation, read to fit scaling laws."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.common.files import replace_text
from data.common.rows import as_csv, as_record


@dataclass(frozen=True)
class ResultRow:
    """Result of one evaluated checkpoint. A missing value is None (null in JSON, empty in CSV)."""

    game: str
    """Name of the game, for example `nethack`."""
    run: str
    """Name of the training run."""
    flops: float
    """C: training compute in FLOPs, counted by `flop_convention`; the budget of the checkpoint."""
    params: int
    """N: number of parameters that count towards model size, see `agents.cost`."""
    samples: int
    """D: number of training samples, that is timesteps of the expert."""
    loss: float | None = None
    """Dev loss: mean cross-entropy on held-out episodes, nats per timestep."""
    loss_se: float | None = None
    """Standard error of `loss`, with episodes as the sampling unit."""
    return_mean: float | None = None
    """Mean final score over `episodes` games."""
    return_se: float | None = None
    """Standard error of `return_mean`."""
    episodes: int | None = None
    """Number of games behind `return_mean`."""
    seed: int | None = None
    """The seed of a run whose `init_seed` and `data_seed` are the same number."""
    core: str | None = None
    size: str | None = None
    width: int | None = None
    """Features of the core, or channels of the first convolutional layer."""
    depth: int | None = None
    """Layers of the core, or convolutional layers."""
    context: int | None = None
    """Timesteps per training window."""
    lr: float | None = None
    """Peak learning rate."""
    lr_rule: str | None = None
    """The rule by which the learning rate follows from N and the batch B; None if it was given."""
    batch: int | None = None
    """Samples per optimizer step."""
    batch_rule: str | None = None
    """The rule by which the batch follows from N and D, if it was tuned; None if it was given."""
    schedule: str | None = None
    protocol: str | None = None
    """How the returns were measured: environment, character, sampling, step limit, first seed."""
    flop_convention: str | None = None
    flop_version: int | None = None
    """Version of the `exact` convention (`agents.cost.EXACT_VERSION`); a missing one is 1."""
    flops_exact: float | None = None
    """Training FLOPs at the checkpoint, counted by the `exact` convention."""
    flops_paper: float | None = None
    """Training FLOPs at the checkpoint, counted by the `paper` convention."""
    store: str | None = None
    checkpoint: str | None = None
    config_hash: str | None = None
    version: str | None = None
    dtype: str | None = None
    """Dtype of the computation in training; in evaluation too, unless `protocol` names another."""
    device: str | None = None
    """Kinds of device that the run was trained on, as JAX names them, joined by commas."""
    init_seed: int | None = None
    """Seed of the initial parameters and the dropout."""
    data_seed: int | None = None
    """Seed of the order of the data."""
    population: str | None = None
    """Name of the population that the run is a member of. Members share the stream of data: their spread over
    `init_seed` leaves out the order of the data."""
    loss_steps: int | None = None
    """Timesteps behind `loss`: all held-out ones, or those of a fixed choice of pieces (`eval --dev-steps`)."""
    loss_episodes: int | None = None
    """Held-out episodes behind `loss`, the sampling unit of `loss_se`."""
    params_all: int | None = None
    """Number of all parameters, embeddings and heads included."""
    params_core: int | None = None
    """Number of parameters of the core alone."""
    seconds: float | None = None
    """Measured training time up to the checkpoint, seconds."""
    epochs: float | None = None
    """Passes over the training data up to the checkpoint; above 1 samples repeat."""


NAMES = tuple(field.name for field in dataclasses.fields(ResultRow))


def write_rows(path: Path, rows: Iterable[ResultRow]) -> None:
    """Write rows to `path` as JSON lines, and to the same path with suffix .csv. Each file is replaced atomically.

    A number that is not finite, such as the loss of a policy that diverged, is missing in the file.
    """
    records = [as_record(row) for row in rows]
    replace_text(path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in records))
    replace_text(path.with_suffix(".csv"), as_csv(NAMES, records))
