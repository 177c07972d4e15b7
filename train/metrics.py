"""Metrics of a run: rows of `metrics.jsonl`, the same numbers as TensorBoard scalars."""

# Protocol buffers make their classes at import, where a type checker doesn't see them.
# pyright: reportAttributeAccessIssue=false

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from data.common.files import replace_text
from data.common.paths import Appender
from data.common.rows import as_record


class Row(Protocol):
    """A dataclass of numbers, None where there is none: a row of metrics."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def step(self) -> int:
        """Steps done."""
        ...

    @property
    def summary(self) -> str:
        """The most important numbers, for the progress bar."""
        ...


@dataclasses.dataclass(frozen=True)
class MetricsRow:
    """Metrics of behavioural cloning: means over the steps since the row before that were not skipped, unless a field
    says otherwise. A number that is not finite is null in the file."""

    step: int
    """Optimiser steps done."""
    samples: int
    """Samples seen."""
    flops: float
    """Training FLOPs spent, by the run's convention."""
    loss: float
    """Cross-entropy, nats per sample."""
    top1: float
    """Fraction of samples whose action is the most probable one."""
    top3: float
    """Fraction of samples whose action is among the three most probable ones."""
    grad_norm: float
    """Global norm of the gradient before clipping, at the last step."""
    lr: float
    """Learning rate at the last step."""
    samples_per_s: float
    """Samples per second of wall time."""
    mfu: float
    """Model FLOPs utilisation: exact FLOP/s over the devices' peak FLOP/s."""
    input_wait: float
    """Fraction of the time that the loop waited for data."""
    skipped: int
    """Steps since the row before that were skipped, as their loss or gradient was not finite."""

    @property
    def summary(self) -> str:
        """Loss and speed, for the progress bar."""
        return f"loss {self.loss:.3f}, {self.samples_per_s:,.0f} samples/s"


class MetricsWriter:
    """Appends rows. Opened at a step, it drops rows after that step, so that a resumed run has each row once."""

    def __init__(self, run: Path, step: int) -> None:
        path = run / "metrics.jsonl"
        rows = read_metrics(run)
        kept = "".join(json.dumps(row) + "\n" for row in rows if row["step"] <= step)
        replace_text(path, kept)
        self._file = Appender(path)
        self._events = EventFileWriter(str(run))
        # Makes TensorBoard drop what an earlier session logged at later steps.
        start = SessionLog(status=SessionLog.START)
        self._events.add_event(Event(wall_time=time.time(), step=step + 1, session_log=start))

    def write(self, row: Row) -> None:
        """Append one row and flush it. Numbers that are not finite are null in the file and left out of TensorBoard."""
        values = as_record(row)
        self._file.write(json.dumps(values, allow_nan=False) + "\n")
        scalars = {tag: value for tag, value in values.items() if tag != "step" and value is not None}
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()])
        self._events.add_event(Event(wall_time=time.time(), step=row.step, summary=summary))

    def close(self) -> None:
        """Flush and close both files."""
        self._file.close()
        self._events.close()


def read_metrics(run: Path) -> list[dict[str, float]]:
    """The rows of a run so far, without a last row that a kill cut off."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
