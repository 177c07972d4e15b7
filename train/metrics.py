"""Metrics of a run: rows of `metrics.jsonl`, the same numbers as TensorBoard scalars in groups.

TensorBoard's files are made from the rows, anew when a run is resumed, so that a run may go on with another axis.
"""

# Protocol buffers make their classes at import, where a type checker doesn't see them.
# pyright: reportAttributeAccessIssue=false

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import jax
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from data.common.files import replace_text
from data.common.paths import Appender
from data.common.rows import as_record
from train.schedule.segments import budget_name

PERFORMANCE = {"samples_per_s", "steps_per_s", "mfu", "input_wait", "playing", "device_memory", "dev_seconds"}
"""Fields of rows that TensorBoard shows as `perf/NAME`; `dev_NAME` are `dev/NAME`, all others `train/NAME`."""

FLUSH_SECONDS = 10
"""Seconds after which a running TensorBoard sees a row at the latest."""


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
    """Optimiser steps done, of a branch with those of the trunk before it; also the position in the data."""
    branch: float | None
    """The FLOP budget whose branch these steps belong to; None on the trunk."""
    samples: int
    """Samples seen in so many steps."""
    epochs: float
    """Samples seen over the samples of all training episodes."""
    flops: float
    """Training FLOPs of so many steps, by the run's convention."""
    run_steps: int
    """Optimiser steps that the run has done, all branches included; at least `step`."""
    run_flops: float
    """Training FLOPs that the run has spent, all branches included, by the run's convention."""
    loss: float
    """Cross-entropy, nats per sample."""
    top1: float
    """Fraction of samples whose action is the most probable one."""
    top3: float
    """Fraction of samples whose action is among the three most probable ones."""
    entropy: float
    """Entropy of the policy, nats per sample."""
    grad_norm: float
    """Global norm of the gradient before clipping, at the last step."""
    update_norm: float
    """Global norm of the change of the parameters, at the last step."""
    lr: float
    """Learning rate at the last step."""
    dev_loss: float | None
    """Cross-entropy on held-out episodes after the last step, nats per sample, with the parameters that evaluation uses
    (`train.state.kept_params`). This and the next four are None where it was not measured."""
    dev_loss_se: float | None
    """Standard error of `dev_loss` with episodes as the sampling unit; None for a single episode."""
    dev_top1: float | None
    """As `top1`, on the held-out episodes."""
    dev_top3: float | None
    """As `top3`, on the held-out episodes."""
    dev_seconds: float | None
    """Seconds that measuring it took, which the speeds below leave out."""
    samples_per_s: float
    """Samples per second of wall time."""
    mfu: float
    """Model FLOPs utilisation: exact FLOP/s over the devices' peak FLOP/s."""
    input_wait: float
    """Fraction of the time that the loop waited for data."""
    skipped: int
    """Steps since the row before that were skipped, as their loss or gradient was not finite."""
    device_memory: int | None
    """Peak bytes in use so far on the device of the first process that uses most; None on a CPU."""

    @property
    def summary(self) -> str:
        """Loss and speed, for the progress bar."""
        return f"loss {self.loss:.3f}, {self.samples_per_s:,.0f} samples/s"


class MetricsWriter:
    """Appends rows. Opened at a step, it drops rows after that step, so that a resumed run has each row once."""

    def __init__(self, run: Path, step: int, axis: str = "step") -> None:
        """`step` counts those of branches, too. `axis` is the field of the rows that is TensorBoard's horizontal axis,
        a whole number below 2^63."""
        self._run, self._axis, path = run, axis, run / "metrics.jsonl"
        rows = [row for row in read_metrics(run) if row.get("run_steps", row["step"]) <= step]
        replace_text(path, "".join(json.dumps(row) + "\n" for row in rows))
        self._file = Appender(path)
        branches = run / "budgets"
        for folder in [run, *(branches.iterdir() if branches.exists() else ())]:
            for events in [path for path in folder.iterdir() if path.name.startswith("events.out.tfevents.")]:
                events.unlink()
        self._events: dict[float | None, EventFileWriter] = {}
        self._events_of(None)
        for row in rows:
            self._add(row)

    def write(self, row: Row) -> None:
        """Append one row and flush it. Numbers that are not finite are null in the file and left out of TensorBoard."""
        values = {**as_record(row), "time": time.time()}
        self._file.write(json.dumps(values, allow_nan=False) + "\n")
        self._add(values)

    def close(self) -> None:
        """Flush and close both files."""
        self._file.close()
        for events in self._events.values():
            events.close()

    def _add(self, row: Mapping[str, Any]) -> None:
        self._events_of(row.get("branch")).add_event(_event(row, self._axis))

    def _events_of(self, branch: float | None) -> EventFileWriter:
        """TensorBoard's file of the trunk, or of a branch, which TensorBoard shows as a run `budgets/1e12`."""
        if branch not in self._events:
            folder = self._run if branch is None else self._run / "budgets" / budget_name(branch)
            self._events[branch] = EventFileWriter(str(folder), flush_secs=FLUSH_SECONDS)
            # Lets a running TensorBoard forget what it read in files since removed (one that changes axis: restart it).
            start = SessionLog(status=SessionLog.START)
            self._events[branch].add_event(Event(wall_time=time.time(), step=0, session_log=start))
        return self._events[branch]


def _event(row: Mapping[str, Any], axis: str) -> Event:
    """TensorBoard's event of a row. Rows of earlier versions have no time of their own."""
    scalars = {tag_of(name): row[name] for name in row.keys() - {"step", "time", "branch"} if row[name] is not None}
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()])
    return Event(wall_time=row.get("time", time.time()), step=int(row[axis]), summary=summary)


def tag_of(name: str) -> str:
    """TensorBoard's tag, `GROUP/NAME`, of a field of a row."""
    if name in PERFORMANCE:
        return f"perf/{name}"
    return f"dev/{name.removeprefix('dev_')}" if name.startswith("dev_") else f"train/{name}"


def peak_memory() -> int | None:
    """Peak bytes in use so far on the local device where they are most; None where the backend does not count them."""
    counted = (device.memory_stats() for device in jax.local_devices())
    return max((stats["peak_bytes_in_use"] for stats in counted if stats), default=None)


def training_seconds(rows: Sequence[Mapping[str, Any]], budget: float, samples: int) -> float | None:
    """Wall time of the steps up to a checkpoint, without compiling them and measuring the dev loss; of a member of a
    population, the time of all members.

    Args:
        rows: Those of the run, in the order of its file.
        budget: The FLOP budget of the checkpoint, whose branch ends there if it has one.
        samples: Samples behind the checkpoint.

    Returns:
        Seconds; None if the rows end before the checkpoint.
    """
    branch = [place for place, row in enumerate(rows) if row.get("branch") == budget]
    last = branch[-1] + 1 if branch else len(rows)
    path = [row for row in rows[:last] if row.get("branch") in (None, budget)]
    seconds, before = 0.0, 0
    for row in path:
        # The rest of a row lies behind the checkpoint, where budgets have no branches.
        part = min(row["samples"], samples) - before
        seconds += part / row["samples_per_s"]
        before += part
        if before == samples:
            return seconds
    return None


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The rows of a run so far, without a last row that a kill cut off."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
