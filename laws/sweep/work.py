"""A worker of a sweep: it claims runs, trains and evaluates them, and records their rows, until none is left."""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from data.common.rows import as_record
from eval.checkpoints import evaluate
from eval.play.options import protocol
from laws.sweep.config import Sweep, read_sweep
from laws.sweep.failure import kind_of, remedied, verdict
from laws.sweep.runs import SweepRun, runs_of
from laws.sweep.state import State
from laws.sweep.table import write_table
from train.checkpoint import newest
from train.config import TrainConfig
from train.folder import read_run
from train.hosts.lease import Held, held
from train.loop import train

POLL_SECONDS = 2.0
"""Between looks at the runs that other workers have, which may be lost."""


def work(folder: Path, say: Callable[[str], None]) -> None:
    """Take runs of a sweep until all are done or given up. Any number of workers may do so, on any machines.

    The sweep is read anew for each run: it may be extended meanwhile.

    Raises: UserError: the folder holds no sweep.
    """
    state = State(folder)
    while True:
        sweep = read_sweep(folder)
        status = state.status(runs_of(sweep, folder))
        for run in status.waiting:
            with claimed(state, run) as mine:
                if mine and run not in state.status([run]).done:
                    _attempt(sweep, state, run, say)
                    break
        else:
            if not status.running and not status.waiting:
                return
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def claimed(state: State, run: SweepRun) -> Iterator[bool]:
    """A context manager that claims a run; its value is whether that succeeded."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(state.claim(run)))
        except Held:
            yield False
        else:
            yield True


def _attempt(sweep: Sweep, state: State, run: SweepRun, say: Callable[[str], None]) -> None:
    """Train and evaluate a run that is claimed, or give it up."""
    attempts = state.attempts(run)
    config = remedied(run.config, attempts)
    progress = newest(config.run)
    reason = verdict(attempts, progress)
    if reason is not None:
        trace = next((one["traceback"] for one in reversed(attempts) if one.get("traceback")), "")
        state.give_up(run, reason, trace)
        say(f"{run.name}: given up: {reason}")
        return
    state.begin(run, progress)
    say(f"{run.name}: {'goes on at step ' + str(progress) if progress else 'begins'}")
    try:
        _complete(sweep, state, run, config)
    except KeyboardInterrupt:
        state.end(run, "stopped")
        raise
    except Exception as error:
        kind, message = kind_of(error), str(error).strip().split("\n")[0]
        details = {"message": message, "traceback": traceback.format_exc()}
        if kind == "diverged":
            details |= {"lr": read_run(config.run)["config"]["optimizer"]["lr"]}
        state.end(run, kind, **details)
        say(f"{run.name}: {kind}: {message}")
        if kind == "machine":
            # The next attempt is another process's, perhaps another machine's.
            raise
    else:
        state.end(run, "done")
        say(f"{run.name}: done in {state.attempts(run)[-1]['seconds']:.0f} s")
        write_table(state.folder)


def _complete(sweep: Sweep, state: State, run: SweepRun, config: TrainConfig) -> None:
    """Train, evaluate, and record the rows of the cells."""
    train(config, progress=False)
    evaluation = sweep.config.evaluation((config.run,))
    rows = evaluate(evaluation, progress=False)
    done = state.keys()
    for cell in run.cells:
        if cell.key in done:
            continue
        found = [row for row in rows if row.flops == cell.flops]
        if evaluation.episodes:
            name = protocol(found[0].game, evaluation.options(found[0].game), evaluation.seed)
            found = [row for row in found if row.protocol == name]
        state.add(cell, as_record(found[0]))
