"""Run a sweep on this machine."""

import contextlib
import sys
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from laws.sweep.cluster import run_on_ray
from laws.sweep.config import Sweep, read_sweep, write_sweep
from laws.sweep.local import run_workers, slots
from laws.sweep.runs import SweepRun, runs_of
from laws.sweep.state import State


def begin(folder: Path, described: Sweep) -> None:
    """Record a sweep in its folder, so that workers can take its runs."""
    State(folder).make()
    write_sweep(folder, described)


def drive(folder: Path, workers: int | None = None, executor: Literal["local", "ray"] = "local") -> None:
    """Run the sweep in `folder`, with a progress bar, until no run of it is left.

    Args:
        folder: Folder of the sweep.
        workers: Number of workers on this machine; None is as many as it has places for.
        executor: Whether workers on this machine run it, or tasks of a Ray cluster.

    Raises:
        UserError: The executor can't do its work, see `laws.sweep.local` and `laws.sweep.cluster`.
    """
    state, runs = State(folder), runs_of(read_sweep(folder), folder)
    with contextlib.closing(_Bar(state, runs)) as bar:
        if executor == "ray":
            status = state.status(runs)
            ended = {run.name for run in (*status.done, *status.failed)}
            run_on_ray(folder, [run.name for run in runs if run.name not in ended], bar.show)
        else:
            run_workers(folder, slots(workers), lambda: state.status(runs).cells, bar.show)
        bar.show()


class _Bar:
    """A progress bar over the training FLOPs of a sweep."""

    def __init__(self, state: State, runs: list[SweepRun]) -> None:
        self._state, self._runs = state, runs
        total = sum(run.flops for run in runs)
        self._cells = sum(len(run.cells) for run in runs)
        self._shown: tuple[int, ...] = ()
        options = {"unit": "FLOP", "unit_scale": True, "desc": "sweep", "file": sys.stderr, "dynamic_ncols": True}
        self._bar = tqdm(total=total, initial=self._spent(), **options)
        self.show()

    def _spent(self) -> float:
        status = self._state.status(self._runs)
        done = sum(run.flops for run in (*status.done, *status.failed))
        begun = (*status.waiting, *(run for run, _ in status.running))
        return done + sum(min(run.flops, self._state.trained(run)) for run in begun)

    def show(self) -> None:
        """Bring the bar up to date; on what is no terminal, when a run begins or ends."""
        status = self._state.status(self._runs)
        counts = status.cells, len(status.running), len(status.waiting), len(status.failed)
        if counts == self._shown and not sys.stderr.isatty():
            return
        self._shown = counts
        cells, running, waiting, failed = counts
        said = f"{cells}/{self._cells} cells, {running} runs at work, {waiting} waiting, {failed} failed"
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.n = self._spent()
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar on the screen."""
        self._bar.close()
