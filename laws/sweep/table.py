"""The table of a sweep: the rows of its cells that are done, as `runs.jsonl`, `runs.csv` and for TensorBoard."""

from pathlib import Path

from eval.results import ResultRow, write_rows
from laws.sweep.config import read_sweep
from laws.sweep.hparams import write_hparams
from laws.sweep.runs import runs_of
from laws.sweep.state import State

FILE = "runs.jsonl"


def write_table(folder: Path) -> list[ResultRow]:
    """Write the table of what is done now, and return its rows, by budget and size.

    Workers on several machines may do so at once: each looks again after it has written, so that the last one to write
    has seen what all had done.
    """
    state = State(folder)
    while True:
        keys, rows = state.keys(), rows_of(folder)
        write_rows(folder / FILE, rows)
        write_hparams(folder, rows)
        if state.keys() == keys:
            return rows


def rows_of(folder: Path) -> list[ResultRow]:
    """The rows of the cells of a sweep that are done, by budget, size and seed."""
    state = State(folder)
    cells = [cell for run in runs_of(read_sweep(folder), folder) for cell in run.cells]
    rows = [row for cell in cells if (row := state.row(cell)) is not None]
    return sorted(rows, key=lambda row: (row.flops, row.params, row.run))
