"""The cells of a sweep for TensorBoard's HPARAMS tab: what each was trained with, its dev loss and its return."""

# Protocol buffers make their classes at import, where a type checker doesn't see them.
# pyright: reportAttributeAccessIssue=false

import time
from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from eval.results import ResultRow
from train.schedule.segments import budget_name

FOLDER = "hparams"
"""Folder of the events in that of a sweep: one folder below it per cell."""
SHOWN = ("flops", "params", "samples", "lr", "batch", "core", "size", "schedule", "init_seed", "epochs")
METRICS = {"loss": "sweep/dev_loss", "return_mean": "sweep/return"}


def write_hparams(folder: Path, rows: Iterable[ResultRow]) -> None:
    """Write the events of the rows that have none yet. TensorBoard shows each as a trial."""
    for row in rows:
        name = f"{row.run} at {budget_name(row.flops)}"
        path = folder / FOLDER / name
        if path.exists():
            continue
        hparams = {field: value for field in SHOWN if (value := getattr(row, field)) is not None}
        values = {tag: value for field, tag in METRICS.items() if (value := getattr(row, field)) is not None}
        scalars = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        writer = EventFileWriter(str(path))
        for summary in (hparams_pb(hparams, trial_id=name), scalars):
            writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
        writer.close()
