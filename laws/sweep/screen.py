"""What `train sweep` prints: the plan of a sweep, and how far it has come."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from eval.results import ResultRow
from laws.design.config import Sweep, read_sweep
from laws.design.estimate import MACHINES, seconds_on
from laws.design.grid import Grid
from laws.design.runs import SweepRun, runs_of
from laws.design.tuning import with_given
from laws.fitting.analysis import Fit, fit
from laws.report.screen import fit_lines
from laws.sweep.state import State, Status
from laws.sweep.table import rows_of, tried_rows_of


def plan_lines(
    sweep: Sweep, grid: Grid, runs: Sequence[SweepRun], prices: Mapping[str, float], done: float
) -> Iterator[str]:
    """The plan: what is trained, what was left out, and what that costs.

    Args:
        sweep: What is planned for now.
        grid: The sizes of all budgets.
        runs: All runs, at the given settings where they are not tuned yet.
        prices: Prices per device and hour, by machine.
        done: Training FLOPs of the runs that are done already.
    """
    sizes = {size.agent: size for of_budget in grid.sizes.values() for size in of_budget}
    cells, total = sum(len(run.cells) for run in runs), sum(run.flops for run in runs)
    samples = sum(run.flops / sizes[run.config.agent].flops for run in runs)
    yield f"{cells} cells in {len(runs)} runs: {total:.3g} training FLOPs, {samples:.3g} samples"
    if tries := [run for run in runs if run.tries]:
        flops, trainings = sum(run.flops for run in tries), sum(len(run.members) for run in tries)
        what = " and ".join(sweep.config.tune)
        yield f"of these {flops:.3g} FLOPs in {trainings} trainings to tune {what} at the smallest budgets (--tune)"
    if len(sweep.sizes) < len(grid.sizes):
        later = ", ".join(f"{budget:.3g}" for budget in grid.sizes if budget not in sweep.sizes)
        yield f"sizes at {later} FLOPs are provisional: they will follow from the rows of smaller budgets (--refine)"
    batch = sweep.shared.batch
    yield f"{'budget':>9}  {'N':17} {'D':17} {'steps':15} sizes"
    for budget, of_budget in grid.sizes.items():
        counts = [size.samples(budget) for size in of_budget]
        ranges = (
            [size.params for size in of_budget],
            counts,
            [count // batch for count in counts],
        )
        words = [f"{_short(min(each))} to {_short(max(each))}" for each in ranges]
        names = " ".join(size.agent.rpartition("/")[2] for size in of_budget)
        yield f"{budget:9.3g}  {words[0]:17} {words[1]:17} {words[2]:15} {names}"
    yield from (f"left out: {line}" for line in grid.left_out)
    if done:
        yield f"done already: {done:.3g} FLOPs"
    for kind in MACHINES:
        seconds = 0.0
        for run in runs:
            size = sizes[run.config.agent]
            spent = run.flops / size.flops
            seconds += seconds_on(kind, size.agent, spent * size.exact, spent, batch)
        price = f", {prices[kind] * seconds / 3600:,.2f} at {prices[kind]:g} an hour" if kind in prices else ""
        yield f"  {kind:9} about {_duration(seconds)} of training on one{price}"


def status_lines(folder: Path) -> Iterator[str]:
    """How far a sweep has come, what is running, what failed, what was decided, and the laws of what is done."""
    sweep, state = read_sweep(folder), State(folder)
    runs = runs_of(sweep, folder)
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
    """The time left, by the speed of the runs that are done; empty if none is."""
    taken = [(run.flops, attempt["seconds"]) for run in status.done for attempt in state.attempts(run)[-1:]]
    todo = sum(run.flops for run in (*status.waiting, *(run for run, _ in status.running)))
    if not taken or not todo:
        return ""
    flops, seconds = (sum(each) for each in zip(*taken, strict=True))
    return f"; about {_duration(todo / flops * seconds / max(1, len(status.running)))} left"


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
