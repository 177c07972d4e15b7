"""`python -m train sweep`: plan a sweep, run it, watch it."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

from data.common.cli import UserError, call_of, quoted
from data.common.cluster import run_tasks
from data.common.progress import Bar
from data.common.rows import as_json
from laws.design.config import (
    FILE,
    NO_STORE,
    Running,
    Shared,
    Sweep,
    SweepConfig,
    names,
    read_sweep,
    shared_of,
    write_sweep,
)
from laws.design.estimate import prices_of
from laws.design.grid import Grid, content_of, content_of_game, grid_of
from laws.design.presets import PRESETS
from laws.design.runs import SweepRun, runs_in, runs_of, with_settings
from laws.design.scale import scaled
from laws.sweep.local import run_workers, slots
from laws.sweep.screen import plan_lines, plan_of, status_lines, status_of
from laws.sweep.stages import advance, ended
from laws.sweep.state import State, Status
from laws.sweep.table import write_table
from laws.sweep.work import Worker, complete
from train.config import TrainConfig
from train.folder import is_run, near, read_runs
from train.presets import expand

WATCH_SECONDS = 5.0


def parsed(words: list[str], prog: str) -> Callable[[], int]:
    """Parse the words of `python -m train`, of which the first is `sweep`, into a call of `sweep`."""
    _, *args = expand(words, PRESETS)
    return call_of(sweep, prog, args)


def sweep(
    folder: Positional[Path],
    config: OmitArgPrefixes[SweepConfig] = SweepConfig(),  # noqa: B008 frozen
    shared: OmitArgPrefixes[Shared] = Shared(),  # noqa: B008 frozen
    running: OmitArgPrefixes[Running] = Running(),  # noqa: B008 frozen
) -> int:
    """Train a family of agents through compute budgets, evaluate them, and write one table. See laws/README.md.

    The state of a sweep lies in FOLDER, so that it can be stopped at any moment and gone on with by the same command,
    or by `python -m train sweep FOLDER`; and so that any number of machines can work on it: `--work` on each.
    `--preset NAME` stands for a set of options (`python -m train presets` lists them).

    Example: `python -m train sweep FOLDER --store STORE --budgets 1e12,3e12,1e13 --seeds 3`

    Most used: --family, --budgets, --sizes, --seeds, --episodes, --tune, --refine, --store, --dry-run, --price,
    --executor, --work, --watch, --retry.

    Args:
        folder: Folder of the sweep, made if there is none.

    Returns:
        The exit code: 1 if a run was given up.

    Raises:
        UserError: The folder holds no sweep and none is described, or the description can't be run.
    """
    if running.workers is not None and running.workers < 0:
        raise UserError(f"--workers must not be negative, not {running.workers}")
    prices, state = prices_of(running.price), State(folder)
    if running.json and not running.dry_run and not running.watch:
        raise UserError("--json goes with --dry-run, or with --watch, which then tells once how far the sweep has come")
    if running.watch:
        return _watch(folder, as_object=running.json)
    if running.dry_run and config.game and shared.store == NO_STORE:
        content = content_of_game(config.game)
        config, of_all = scaled(config, shared_of(shared), content)
        grid = grid_of(config, of_all, content)
        described = Sweep(config, of_all, content.checksum, grid.sizes)
    else:
        described, grid = _described(folder, config, shared)
    # Of an adaptive design this is what the prior says; the rows will say more.
    whole = dataclasses.replace(described, sizes={**grid.sizes, **described.sizes})
    runs = runs_of(with_settings(whole), folder)
    _check_passed(runs)
    done = sum(run.flops for run in state.status(runs).done)
    plan = plan_of(described, grid, runs, prices, done)
    print(as_json(plan) if running.json else "\n".join(plan_lines(plan)), flush=True)
    _check_total(runs if whole == described else runs_of(with_settings(described), folder), described.config.total)
    if running.dry_run:
        return 0
    # Without options nothing is described anew, and what another process has extended or decided meanwhile stays.
    if shared.store != NO_STORE or described.shared != read_sweep(folder).shared:
        begin(folder, described)
    if running.retry:
        for run in state.status(runs).failed:
            state.forgive(run)
    if running.work:
        Worker(folder).work()
    elif running.workers != 0:
        drive(folder, running.workers, running.executor)
    write_table(folder)
    print("\n".join(status_lines(folder)))
    print(f"next: python -m laws fit {quoted(folder / 'runs.jsonl')} --out DIR")
    return 1 if state.status(runs_in(folder)).failed else 0


def _described(folder: Path, config: SweepConfig, options: Shared) -> tuple[Sweep, Grid]:
    """The sweep that the options describe or, if there are none, the one that the folder records; and its whole grid.

    Budgets that were planned before, by the same options, keep their sizes. With `--refine`, only the first budgets are
    planned: the others follow from their rows.
    """
    recorded = read_sweep(folder) if (folder / FILE).exists() else None
    if options.store != NO_STORE:
        shared = shared_of(options)
    elif config != SweepConfig() or recorded is None:
        raise UserError(
            "--store is missing: options describe a whole sweep; FOLDER alone goes on with the one it holds"
        )
    else:
        config, shared = recorded.config, _with_stores(recorded, folder)
    content = content_of(shared, config.game)
    config, shared = scaled(config, shared, content)
    same = recorded is not None and _is_same(shared, content.checksum, recorded)
    if recorded and not same and options.store == NO_STORE:
        raise UserError(f"{shared.store} is not as it was when the sweep began: choose another FOLDER")
    if not (recorded and same and _choice(config) == _choice(recorded.config)):
        recorded = Sweep(config, shared, content.checksum, {})
    grid = grid_of(config, shared, content, recorded.sizes)
    first = sorted(grid.sizes)[: max(1, len(config.tuned_budgets))]
    planned = [budget for budget in grid.sizes if not config.refine or budget in (*recorded.sizes, *first)]
    sizes = {budget: grid.sizes[budget] for budget in planned}
    return dataclasses.replace(recorded, config=config, shared=shared, sizes=sizes), grid


def _with_stores(recorded: Sweep, folder: Path) -> TrainConfig:
    """What a sweep's runs share, with the stores where they are now: moved with the sweep, they lie beside it."""
    shared = recorded.shared
    store, *mix = near(shared.stores, {"checksum": recorded.checksum}, folder)
    return dataclasses.replace(shared, store=store, mix=tuple(mix))


def _is_same(shared: TrainConfig, checksum: str, recorded: Sweep) -> bool:
    """Whether runs share what those of a sweep do, wherever the stores lie."""
    there = dataclasses.replace(shared, store=recorded.shared.store, mix=recorded.shared.mix)
    return (there, checksum) == (recorded.shared, recorded.checksum)


def _check_passed(runs: list[SweepRun]) -> None:
    """Check that no training would have to go back: it can be extended by larger budgets only.

    Raises: UserError: some would; the message names the budgets.
    """
    passed: set[float] = set()
    for run in runs:
        if run.config.schedule == "wsd" and is_run(run.config.run):
            before = read_runs(run.config.run)["config"]["flops"]
            passed |= {budget for budget in run.config.flops if budget not in before and budget < max(before)}
    if passed:
        named = names([f"{budget:.3g}" for budget in sorted(passed)])
        raise UserError(
            f"trainings in this folder have passed {named} FLOPs, where they would have to branch off: give larger"
            " --budgets only, or choose another FOLDER"
        )


def _choice(config: SweepConfig) -> tuple[object, ...]:
    """The options by which sizes and settings are chosen."""
    sizes = config.family, config.sizes, config.spread, config.prior, config.min_steps, config.max_epochs
    return *sizes, config.tune, config.tune_budgets, config.tune_lr, config.tune_batch, config.refine


def _check_total(runs: list[SweepRun], total: float | None) -> None:
    """Check that the runs which are planned may be trained.

    Raises: UserError: they pass `--total`.
    """
    flops = sum(run.flops for run in runs)
    if total is not None and flops > total:
        raise UserError(f"--total {total:g}: the plan takes {flops:.3g} FLOPs; give fewer or smaller --budgets")


def _watch(folder: Path, *, as_object: bool) -> int:
    """Show the status again and again on a terminal, once if stdout is none or it is asked for as JSON."""
    if as_object:
        print(as_json(status_of(folder)))
        return 0
    over = False
    while True:
        lines, on_terminal = list(status_lines(folder)), sys.stdout.isatty()
        # Clear the screen.
        print("\x1b[H\x1b[2J" * on_terminal + "\n".join(lines), flush=True)
        if over or not on_terminal:
            return 0
        over = ended(folder)
        # The lines are from before that: they are shown once more.
        time.sleep(0 if over else WATCH_SECONDS)


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
        UserError: The executor can't do its work, see `laws.sweep.local` and `data.common.cluster`.
    """
    state = State(folder)
    with contextlib.closing(_Bar(folder)) as bar:
        if executor == "local":
            run_workers(folder, slots(workers), state.progress, bar.show)
        else:
            while advance(folder):
                runs = runs_in(folder)
                status = state.status(runs)
                over = {run.name for run in (*status.done, *status.failed)}
                left = [run.name for run in runs if run.name not in over]
                run_tasks([partial(complete, folder.resolve(), name) for name in left], bar.show, gpus=True)
        bar.show()


class _Bar:
    """A progress bar over the training FLOPs of a sweep."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._state = folder, State(folder)
        self._bar = Bar(name="sweep", unit="FLOP", unit_scale=True, rate=False)
        self._bar.initial = self._spent(self._state.status(runs_in(folder, provisional=True)))
        self.show()

    def _spent(self, status: Status) -> float:
        done = sum(run.flops for run in (*status.done, *status.failed))
        begun = (*status.waiting, *(run for run, _ in status.running))
        return done + sum(min(run.flops, self._state.trained(run)) for run in begun)

    def show(self) -> None:
        """Bring the bar up to date."""
        runs = runs_in(self._folder, provisional=True)
        status = self._state.status(runs)
        running, waiting, failed = len(status.running), len(status.waiting), len(status.failed)
        said = f"{status.cells}/{sum(len(run.cells) for run in runs)} cells, {running} running, {waiting} waiting"
        self._bar.set_postfix_str(f"{said}, {failed} failed" if failed else said, refresh=False)
        self._bar.total, self._bar.n = sum(run.flops for run in runs), self._spent(status)
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar on the screen."""
        self._bar.close()
