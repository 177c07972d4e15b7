"""Metrics of a run: one row per logged step in `metrics.jsonl`, the same numbers as TensorBoard scalars."""

# Protocol buffers make their classes as they are imported, where a type checker doesn't see them.
# pyright: reportAttributeAccessIssue=false

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from data.common.files import replace_text


@dataclass(frozen=True)
class MetricsRow:
    """Means over the steps since the row before."""

    step: int
    """Optimiser steps done."""
    samples: int
    """Samples seen."""
    flops: float
    """Training FLOPs spent, by the run's convention."""
    loss: float
    """Cross-entropy, nats per sample."""
    top1: float
    """How often the expert's action is the likeliest."""
    top3: float
    """How often the expert's action is among the three likeliest."""
    grad_norm: float
    """Global norm of the gradient before clipping, at the last of these steps."""
    lr: float
    """Learning rate at the last of these steps."""
    samples_per_s: float
    """Samples per second of wall time."""
    mfu: float
    """Model FLOPs utilisation: exact FLOP/s over what the devices can reach."""
    input_wait: float
    """Fraction of the time that the loop waited for data."""


@dataclass(frozen=True)
class RlRow:
    """Of reinforcement learning: means over the updates since the row before."""

    step: int
    """Steps played on all lanes together, each of four frames."""
    update: int
    """Updates done."""
    episodes: int
    """Games that ended."""
    episode_return: float | None
    """Their mean sum of rewards as they were; None if none ended."""
    episode_length: float | None
    """Their mean number of steps."""
    policy_loss: float
    """The clipped objective, negated."""
    value_loss: float
    """Half of the critic's mean squared error."""
    entropy: float
    """Of the policy, nats."""
    approx_kl: float
    """How far an update takes the policy from the one that played, nats."""
    clip_fraction: float
    """How often a probability moved further than an update is rewarded for."""
    grad_norm: float
    """Global norm of the gradient before clipping."""
    explained_variance: float
    """Share of the returns' variance that the critic foresaw."""
    lr: float
    """Learning rate now."""
    steps_per_s: float
    """Steps per second of wall time."""
    playing: float
    """Fraction of the time that was spent on playing; the rest is learning."""


class MetricsWriter:
    """Appends rows; opened at a step, it forgets rows after that step, so that a resumed run has each once."""

    def __init__(self, run: Path, step: int) -> None:
        path = run / "metrics.jsonl"
        rows = read_metrics(run)
        kept = "".join(json.dumps(row) + "\n" for row in rows if row["step"] <= step)
        replace_text(path, kept)
        self._file = path.open("a")
        self._events = EventFileWriter(str(run))
        # Tells TensorBoard to drop what an earlier session logged at later steps.
        start = SessionLog(status=SessionLog.START)
        self._events.add_event(Event(wall_time=time.time(), step=step + 1, session_log=start))

    def write(self, row: MetricsRow | RlRow) -> None:
        """Append one row and let readers see it."""
        values = dataclasses.asdict(row)
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()
        told = {tag: value for tag, value in values.items() if tag != "step" and value is not None}
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in told.items()]
        self._events.add_event(Event(wall_time=time.time(), step=row.step, summary=Summary(value=scalars)))

    def close(self) -> None:
        """Flush and close both files."""
        self._file.close()
        self._events.close()


def read_metrics(run: Path) -> list[dict[str, float]]:
    """The rows of a run so far; a last row that was cut off by a kill is left out."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
