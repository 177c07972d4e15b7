"""Runs of changed cells: how many to skip since the last run, how many there are; a byte each."""

import numpy as np
from numba import njit

LONGEST = 255
"""Most cells that one run skips or has."""

GAP = 3
"""Unchanged cells that a run rather takes along: a new run costs two bytes."""


def most_runs(cells: int) -> int:
    """How many runs a screen of so many cells can have."""
    return cells // (GAP + 1) + cells // LONGEST * 2 + 2


@njit(nogil=True, cache=True)
def add_run(run_Rx2, runs, done, start, stop):
    """Write the run [start, stop) of cells behind `runs` others, of which the last ended at `done`; how many then."""
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


@njit(nogil=True, cache=True)
def reach(run_Rx2, run, stop):
    """How many cells the runs [run, stop) have, and the cell before which the last of them ends."""
    cells = place = 0
    while run < stop:
        size = np.int64(run_Rx2[run, 1])
        place += np.int64(run_Rx2[run, 0]) + size
        cells += size
        run += 1
    return cells, place
