"""The state of a sweep, which lies in files of its folder: any process on any machine that sees it can go on.

`cells/KEY.json` is the result row of a cell, there once the cell is done, or says that there is none: of a setting that
was tried and diverged. `failed/RUN.json` says why a run was given
up. `attempts/RUN.json` says when workers began the run, and how each attempt ended: null if the worker was lost.
`claims/RUN/` is the lease of the worker that has the run now (`data.common.lease`).
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.common.files import replace_text
from data.common.lease import Holder, holder_of
from eval.results import ResultRow
from laws.design.runs import Cell, SweepRun
from laws.sweep.failure import setbacks
from train.metrics import read_metrics

MISSING = "no_row"
"""Field of the file of a cell without a row: the reason."""


@dataclass(frozen=True)
class Status:
    """Where the runs of a sweep stand."""

    done: tuple[SweepRun, ...]
    failed: tuple[SweepRun, ...]
    running: tuple[tuple[SweepRun, Holder], ...]
    waiting: tuple[SweepRun, ...]
    cells: int
    """Cells that are done, of all runs."""


class State:
    """The files of a sweep's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> None:
        """Make the folders."""
        for name in ("cells", "failed", "attempts", "claims", "runs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def keys(self) -> set[str]:
        """Keys of the cells that are done."""
        return {path.stem for path in (self.folder / "cells").glob("*.json")}

    def row(self, cell: Cell) -> ResultRow | None:
        """The result row of a cell; None if it is not done, or has none."""
        path = self.folder / "cells" / f"{cell.key}.json"
        values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {MISSING: ""}
        return None if MISSING in values else ResultRow(**values)

    def add(self, cell: Cell, row: dict[str, Any]) -> None:
        """Record the result row of a cell."""
        replace_text(self.folder / "cells" / f"{cell.key}.json", json.dumps(row))

    def add_none(self, cell: Cell, reason: str) -> None:
        """Record that a cell has no row."""
        replace_text(self.folder / "cells" / f"{cell.key}.json", json.dumps({MISSING: reason}))

    def trained(self, run: SweepRun) -> float:
        """Training FLOPs that a run, of which no failure is known, has spent so far, by its metrics."""
        metrics = [read_metrics(member.run) for member in run.members]
        return sum(float(rows[-1]["run_flops"]) for rows in metrics if rows)

    def claim(self, run: SweepRun) -> Path:
        """The folder whose lease the worker of a run holds."""
        return self.folder / "claims" / run.name

    def failure(self, run: SweepRun) -> dict[str, Any] | None:
        """Why a run was given up; None if it was not."""
        path = self.folder / "failed" / f"{run.name}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def give_up(self, run: SweepRun, reason: str, trace: str) -> None:
        """Mark a run as failed."""
        values = {"reason": reason, "attempts": len(self.attempts(run)), "traceback": trace}
        replace_text(self.folder / "failed" / f"{run.name}.json", json.dumps(values, indent=1))

    def forgive(self, run: SweepRun) -> None:
        """Remove the mark of a failed run, and what is known of its attempts."""
        (self.folder / "failed" / f"{run.name}.json").unlink(missing_ok=True)
        self._attempts(run).unlink(missing_ok=True)

    def attempts(self, run: SweepRun) -> list[dict[str, Any]]:
        """The attempts of a run so far, with `ended` None of those that were lost, or run now."""
        return _read(self._attempts(run))

    def by_setbacks(self, runs: Sequence[SweepRun]) -> list[SweepRun]:
        """`runs`, with those last that have most setbacks beyond one, so that they don't keep the others back."""
        known = {path.stem: path for path in self._all_attempts()}
        return sorted(runs, key=lambda run: max(1, setbacks(_read(known[run.name]))) if run.name in known else 1)

    def suspect(self, run: SweepRun) -> bool:
        """Whether a run has more than one setback, see `laws.sweep.failure`."""
        return setbacks(self.attempts(run)) > 1

    def progress(self) -> int:
        """A number that changes when a cell is done, a run given up, or a run begun again that has two setbacks.

        Such a run may be to blame. Where others, too, are lost one after another, it is the machine.
        """
        failed = len(list((self.folder / "failed").glob("*.json")))
        return len(self.keys()) + failed + sum(max(0, setbacks(_read(path)) - 2) for path in self._all_attempts())

    def begin(self, run: SweepRun, progress: int) -> None:
        """Record that a worker, which holds the claim, begins the run, `progress` steps of which are done."""
        holder = Holder.me()
        done = {"progress": progress, "flops": self.trained(run)}
        new = {"began": time.time(), "host": holder.host, "pid": holder.pid, **done, "ended": None}
        self._write(run, [*self.attempts(run), new])

    def end(self, run: SweepRun, how: str, **details: Any) -> None:
        """Record how the last attempt ended: "done", "stopped", or the kind of failure."""
        *before, last = self.attempts(run)
        self._write(run, [*before, last | {"ended": how, "seconds": time.time() - last["began"], **details}])

    def _all_attempts(self) -> Iterator[Path]:
        return (self.folder / "attempts").glob("*.json")

    def _attempts(self, run: SweepRun) -> Path:
        return self.folder / "attempts" / f"{run.name}.json"

    def _write(self, run: SweepRun, attempts: list[dict[str, Any]]) -> None:
        replace_text(self._attempts(run), json.dumps(attempts, indent=1))

    def status(self, runs: Sequence[SweepRun]) -> Status:
        """Where `runs` stand."""
        keys = self.keys()
        marked = {path.stem for path in (self.folder / "failed").glob("*.json")}
        claimed = {path.name for path in (self.folder / "claims").glob("*")}
        done, failed, running, waiting = [], [], [], []
        for run in runs:
            if all(cell.key in keys for cell in run.cells):
                done.append(run)
            elif run.name in marked:
                failed.append(run)
            elif run.name in claimed and (held := holder_of(self.claim(run))) is not None:
                running.append((run, held[0]))
            else:
                waiting.append(run)
        cells = sum(cell.key in keys for run in runs for cell in run.cells)
        return Status(tuple(done), tuple(failed), tuple(running), tuple(waiting), cells)


def _read(attempts: Path) -> list[dict[str, Any]]:
    """The attempts in a file, which another process may remove."""
    try:
        return json.loads(attempts.read_text())
    except FileNotFoundError:
        return []
