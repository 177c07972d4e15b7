"""`python -m train sweep`: plan a sweep, run it, watch it."""

import sys
import time
from pathlib import Path

from data.common.cli import UserError
from laws.sweep.config import FILE, NO_STORE, Running, Shared, Sweep, SweepConfig, read_sweep, shared_of
from laws.sweep.drive import begin, drive
from laws.sweep.estimate import prices_of
from laws.sweep.grid import Grid, content_of, grid_of, sweep_of
from laws.sweep.runs import runs_of
from laws.sweep.screen import plan_lines, status_lines
from laws.sweep.state import State
from laws.sweep.table import write_table
from laws.sweep.work import Worker

WATCH_SECONDS = 5.0


def sweep(folder: Path, config: SweepConfig, shared: Shared, running: Running) -> int:
    """Plan a sweep, or go on with one, and run it; returns the exit code.

    Raises:
        UserError: The folder holds no sweep and none is described, or the description can't be run.
    """
    if running.workers is not None and running.workers < 0:
        raise UserError(f"--workers must not be negative, not {running.workers}")
    prices, state = prices_of(running.price), State(folder)
    if running.watch:
        return _watch(folder, state)
    described, grid = _described(folder, config, shared)
    runs = runs_of(described, folder)
    done = sum(run.flops for run in state.status(runs).done)
    print("\n".join(plan_lines(grid, runs, prices, done)), flush=True)
    if running.dry_run:
        return 0
    begin(folder, described)
    if running.retry:
        for run in state.status(runs).failed:
            state.forgive(run)
    if running.work:
        Worker(folder, lambda line: print(line, flush=True)).work()
    elif running.workers != 0:
        drive(folder, running.workers, running.executor)
    write_table(folder)
    print("\n".join(status_lines(state, runs)))
    return 1 if state.status(runs).failed else 0


def _described(folder: Path, config: SweepConfig, options: Shared) -> tuple[Sweep, Grid]:
    """The sweep that the options describe or, if there are none, the one that the folder records; and its grid.

    Budgets that were planned before, by the same options, keep their sizes.
    """
    recorded = read_sweep(folder) if (folder / FILE).exists() else None
    if options.store != NO_STORE:
        shared = shared_of(options)
    elif config != SweepConfig() or recorded is None:
        raise UserError(
            "--store is missing: options describe a whole sweep; FOLDER alone goes on with the one it holds"
        )
    else:
        config, shared = recorded.config, recorded.shared
    content = content_of(shared)
    same = recorded is not None and (shared, content.checksum) == (recorded.shared, recorded.checksum)
    planned = recorded.sizes if recorded and same and _choice(config) == _choice(recorded.config) else {}
    if recorded and not planned and config is recorded.config:
        raise UserError(f"{shared.store} is not as it was when the sweep began: choose another FOLDER")
    grid = grid_of(config, shared, content, planned)
    return sweep_of(config, shared, content, grid), grid


def _choice(config: SweepConfig) -> tuple[object, ...]:
    """The options by which sizes are chosen for a budget."""
    return config.family, config.sizes, config.spread, config.prior, config.min_steps, config.max_epochs


def _watch(folder: Path, state: State) -> int:
    """Show the status again and again on a terminal, once if stdout is none."""
    while True:
        runs = runs_of(read_sweep(folder), folder)
        lines, status = list(status_lines(state, runs)), state.status(runs)
        on_terminal = sys.stdout.isatty()
        # Clear the screen.
        print("\x1b[H\x1b[2J" * on_terminal + "\n".join(lines), flush=True)
        if not on_terminal or not (status.running or status.waiting):
            return 0
        time.sleep(WATCH_SECONDS)
