"""The table of a sweep: the rows of its cells that are done, as `runs.jsonl`, `runs.csv` and for TensorBoard."""

# Protocol buffers make their classes at import, where a type checker doesn't see them.
# pyright: reportAttributeAccessIssue=false

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from data.common.lease import Held, held, in_turn
from eval.results import ResultRow, write_rows
from laws.design.runs import runs_in
from laws.sweep.state import State
from train.schedule.segments import budget_name

FILE, TRIED = "runs.jsonl", "tuning.jsonl"
HPARAMS = "hparams"
"""Folder of the events in that of a sweep: one folder below it per cell."""
SHOWN = ("flops", "params", "samples", "lr", "batch", "core", "size", "schedule", "init_seed", "epochs")
METRICS = {"loss": "sweep/dev_loss", "return_mean": "sweep/return"}


def write_table(folder: Path) -> None:
    """Write the table of what is done now, by budget and size, as soon as no other process writes it."""
    in_turn([folder], _claim, _write)


def write_table_unless_held(folder: Path) -> None:
    """Write the table of what is done now; or not, while another process writes it.

    So that the workers of a large sweep don't spend their time on its table. The last one of them has it written.
    """
    with contextlib.suppress(Held), held(_claim(folder)):
        _write(folder)


def _claim(folder: Path) -> Path:
    """The folder whose lease the process holds that writes the table."""
    return folder / "claims" / "table"


def _write(folder: Path) -> None:
    rows, tried = rows_of(folder), tried_rows_of(folder)
    write_rows(folder / FILE, rows)
    if tried:
        write_rows(folder / TRIED, tried)
    write_hparams(folder, rows)


def rows_of(folder: Path) -> list[ResultRow]:
    """The rows of the cells of a sweep that are done, by budget, size and seed."""
    return _rows(folder, tries=False)


def tried_rows_of(folder: Path) -> list[ResultRow]:
    """The rows of the settings that were tried, for `--tune`."""
    return _rows(folder, tries=True)


def _rows(folder: Path, *, tries: bool) -> list[ResultRow]:
    state = State(folder)
    cells = [cell for run in runs_in(folder) if run.tries == tries for cell in run.cells]
    rows = [row for cell in cells if (row := state.row(cell)) is not None]
    return sorted(rows, key=lambda row: (row.flops, row.params, row.run))


def write_hparams(folder: Path, rows: Iterable[ResultRow]) -> None:
    """Write the events of the rows that have none yet, for the tab HPARAMS of TensorBoard: each is a trial."""
    for row in rows:
        name = f"{row.run} at {budget_name(row.flops)}"
        path = folder / HPARAMS / name
        if path.exists():
            continue
        hparams = {field: value for field in SHOWN if (value := getattr(row, field)) is not None}
        values = {tag: value for field, tag in METRICS.items() if (value := getattr(row, field)) is not None}
        scalars = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        writer = EventFileWriter(str(path))
        for summary in (hparams_pb(hparams, trial_id=name), scalars):
            writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
        writer.close()
