"""What `train sweep` prints: the plan of a sweep, and how far it has come."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.common.progress import count
from eval.results import ResultRow
from laws.design.config import Sweep, read_sweep
from laws.design.estimate import MACHINES, seconds_on
from laws.design.grid import Grid
from laws.design.runs import SweepRun, runs_in
from laws.design.tuning import with_given
from laws.fitting.analysis import Fit, fit
from laws.report.document import document
from laws.report.screen import fit_lines
from laws.sweep.state import State, Status
from laws.sweep.table import rows_of, tried_rows_of


def plan_of(
    sweep: Sweep, grid: Grid, runs: Sequence[SweepRun], prices: Mapping[str, float], done: float
) -> dict[str, Any]:
    """The plan as JSON values: what is trained, what was left out, and what that costs.

    Args:
        sweep: What is planned for now.
        grid: The sizes of all budgets.
        runs: All runs, at the given settings where they are not tuned yet.
        prices: Prices per device and hour, by machine.
        done: Training FLOPs of the runs that are done already.
    """
    sizes = {size.agent: size for of_budget in grid.sizes.values() for size in of_budget}
    tries = [run for run in runs if run.tries]
    of_runs = [sizes[run.config.agent] for run in runs]
    spent = [(size, run.flops / size.flops) for run, size in zip(runs, of_runs, strict=True)]
    batch = sweep.shared.batch
    seconds = {
        kind: sum(seconds_on(kind, size.agent, samples * size.exact, samples, batch) for size, samples in spent)
        for kind in MACHINES
    }
    return {
        "cells": sum(len(run.cells) for run in runs),
        "runs": len(runs),
        "flops": sum(run.flops for run in runs),
        "samples": sum(samples for _, samples in spent),
        "flops_done": done,
        "tuned": list(sweep.config.tune),
        "tries": {"flops": sum(run.flops for run in tries), "trainings": sum(len(run.members) for run in tries)},
        "budgets": [
            {
                "flops": budget,
                "provisional": budget not in sweep.sizes,
                "sizes": [
                    {
                        "agent": size.agent,
                        "params": size.params,
                        "samples": size.samples(budget),
                        "steps": size.samples(budget) // batch,
                    }
                    for size in of_budget
                ],
            }
            for budget, of_budget in grid.sizes.items()
        ],
        "left_out": list(grid.left_out),
        "seconds": seconds,
        "prices": {kind: {"hour": prices[kind], "all": prices[kind] * seconds[kind] / 3600} for kind in prices},
    }


def plan_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """The plan of `plan_of` for the terminal."""
    cells, runs = count(plan["cells"], "cell"), count(plan["runs"], "run")
    yield f"{cells} in {runs}: {plan['flops']:.3g} training FLOPs, {plan['samples']:.3g} samples"
    if plan["tries"]["trainings"]:
        what = " and ".join(plan["tuned"])
        yield (
            "of these {flops:.3g} FLOPs in {trainings} trainings to tune".format(**plan["tries"])
            + f" {what} at the smallest budgets (--tune)"
        )
    if later := [f"{budget['flops']:.3g}" for budget in plan["budgets"] if budget["provisional"]]:
        yield (
            f"sizes at {', '.join(later)} FLOPs are provisional: they will follow from the rows of smaller budgets"
            " (--refine)"
        )
    yield f"{'budget':>9}  {'N':17} {'D':17} {'steps':15} sizes"
    for budget in plan["budgets"]:
        ranges = ([size[name] for size in budget["sizes"]] for name in ("params", "samples", "steps"))
        words = [f"{_short(min(each))} to {_short(max(each))}" for each in ranges]
        names = " ".join(size["agent"].rpartition("/")[2] for size in budget["sizes"])
        yield f"{budget['flops']:9.3g}  {words[0]:17} {words[1]:17} {words[2]:15} {names}"
    yield from (f"left out: {line}" for line in plan["left_out"])
    if plan["flops_done"]:
        yield f"done already: {plan['flops_done']:.3g} FLOPs"
    for kind, seconds in plan["seconds"].items():
        price = ", {all:,.2f} at {hour:g} an hour".format(**plan["prices"][kind]) if kind in plan["prices"] else ""
        yield f"  {kind:9} about {_duration(seconds)} of training on one{price}"


def status_of(folder: Path) -> dict[str, Any]:
    """How far a sweep has come, as JSON values; `laws` are those of `laws.json`."""
    sweep, state, runs = read_sweep(folder), State(folder), runs_in(folder)
    status, rows = state.status(runs), rows_of(folder)
    failures = ((run, state.failure(run)) for run in status.failed)
    return {
        "cells": sum(len(run.cells) for run in runs),
        "cells_done": status.cells,
        "done": [run.name for run in status.done],
        "running": [{"run": run.name, "host": by.host, "process": by.pid} for run, by in status.running],
        "waiting": [run.name for run in status.waiting],
        "failed": [{"run": run.name, "reason": found["reason"] if found else ""} for run, found in failures],
        "decisions": list(sweep.decisions),
        "laws": document(fit(rows, draws=0))["laws"] if rows else [],
    }


def status_lines(folder: Path) -> Iterator[str]:
    """How far a sweep has come, what is running, what failed, what was decided, and the laws of what is done."""
    sweep, state, runs = read_sweep(folder), State(folder), runs_in(folder)
    status = state.status(runs)
    cells = sum(len(run.cells) for run in runs)
    yield (
        f"{status.cells} of {cells} cells done; runs: {len(status.done)} done, {len(status.running)} running,"
        f" {len(status.failed)} failed, {len(status.waiting)} waiting{_left(state, status)}"
    )
    yield from (f"  running: {run.name} by process {by.pid} on {by.host}" for run, by in status.running)
    for run in status.failed:
        found = state.failure(run)
        yield f"  failed: {run.name}: {found['reason'] if found else ''}"
    yield from (f"  decided: {decision}" for decision in sweep.decisions)
    rows = rows_of(folder)
    if rows:
        found = fit(rows, draws=0)
        yield from fit_lines(found)
        if sweep.config.tune:
            yield from side_by_side(with_given(sweep, tried_rows_of(folder)), found)


def side_by_side(given: Sequence[ResultRow], tuned: Fit) -> Iterator[str]:
    """The laws of the given settings beside those of the tuned ones, and how much compute tuning saves."""
    yield "with the given settings, at the budgets where settings were tried:"
    found = fit(given, draws=0)
    yield from (f"  {line}" for line in fit_lines(found))
    for game in found.games:
        law = next((other.law("loss", "envelope") for other in tuned.games if other.game == game.game), None)
        for profile in game.profiles if law else ():
            flops = law.inverse(profile.best.loss) if law else math.nan
            yield (
                f"  at {profile.flops:.3g} FLOPs the given settings have a loss of {profile.best.loss:.3f}: the tuned"
                f" ones by their law at {flops:.3g}, {profile.flops / flops:.3g} times less compute"
            )


def _left(state: State, status: Status) -> str:
    """The time left, by the speed at which the last attempts of the runs that are done went on; empty if none is."""
    last = [(run, attempt) for run in status.done for attempt in state.attempts(run)[-1:]]
    flops = sum(max(0.0, run.flops - attempt.get("flops", 0.0)) for run, attempt in last)
    begun = (*status.waiting, *(run for run, _ in status.running))
    todo = sum(max(0.0, run.flops - state.trained(run)) for run in begun)
    if not flops or not todo:
        return ""
    seconds = sum(attempt["seconds"] for _, attempt in last)
    workers = len({(by.machine, by.pid) for _, by in status.running})
    return f"; about {_duration(todo / flops * seconds / max(1, workers))} left"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length or (unit == "min" and seconds >= length):
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.0f} s"


def _short(number: float) -> str:
    for unit, length in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= length:
            return f"{number / length:.3g}{unit}"
    return f"{number:.0f}"
