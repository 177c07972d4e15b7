"""Run-length coding of changed cells: each run is two bytes, cells to skip since the last run and cells in the run."""

import numpy as np

from data.codec.kernels import kernel

LONGEST = 255
"""Maximum number of cells that one run skips or holds."""

GAP = 3
"""Up to this many unchanged cells are included in a run, since a new run costs two bytes."""


def most_runs(cells: int) -> int:
    """Maximum number of runs of a screen with this many cells."""
    return cells // (GAP + 1) + cells // LONGEST * 2 + 2


@kernel(nogil=True)
def add_run(run_Rx2, runs, done, start, stop):
    """Append the cells [start, stop) as runs and return the new number of runs.

    `runs` is the number of runs before, and `done` the cell after the last of them.
    """
    while done + LONGEST < start:
        run_Rx2[runs, 0], run_Rx2[runs, 1] = LONGEST, 0
        runs, done = runs + 1, done + LONGEST
    while start < stop:
        size = min(stop - start, LONGEST)
        run_Rx2[runs, 0], run_Rx2[runs, 1] = start - done, size
        runs += 1
        start += size
        done = start
    return runs


@kernel(nogil=True)
def reach(run_Rx2, run, stop):
    """Total number of cells in the runs [run, stop), and the cell after the last of them."""
    cells = place = 0
    while run < stop:
        size = np.int64(run_Rx2[run, 1])
        place += np.int64(run_Rx2[run, 0]) + size
        cells += size
        run += 1
    return cells, place
