"""A worker of a sweep: it claims runs, trains and evaluates them, and records their rows, until none is left."""

import contextlib
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import jax

from data.common.lease import Held, held, refuse_if_held
from data.common.progress import count
from data.common.rows import as_record
from eval.checkpoints import evaluate
from eval.config import EvalConfig
from eval.play.options import protocol
from eval.results import ResultRow
from laws.design.config import read_sweep
from laws.design.runs import SweepRun, runs_in
from laws.sweep.failure import kind_of, remedied, verdict
from laws.sweep.stages import advance
from laws.sweep.state import State, Status
from laws.sweep.table import write_table_unless_held
from train.checkpoint import NoSpace, budgets, newest
from train.compile.cache import keep_programs
from train.config import TrainConfig
from train.failure.divergence import Diverged
from train.folder import read_run
from train.loop import train
from train.population.members import members_of

POLL_SECONDS = 2.0
"""Between looks at the runs that other workers have, which may be lost."""
EVALUATE_SECONDS = 120.0
"""Training time after which runs are evaluated. Runs that are evaluated together start the games' processes once."""


def complete(folder: Path, name: str) -> None:
    """Train and evaluate one run of a sweep, as a task of a cluster."""
    keep_programs()
    Worker(folder).work(only=name)


@dataclass
class _Begun:
    """A run that is begun and not ended, how it is trained, and the seconds that this took."""

    run: SweepRun
    config: TrainConfig
    seconds: float = 0.0


class Worker:
    """Takes runs of a sweep. Any number of workers may do so, on any machines that see the sweep's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._state = folder, State(folder)
        self._only: str | None = None
        self._open: dict[str, _Begun] = {}
        """By name of the run."""

    def work(self, only: str | None = None) -> None:
        """Train and evaluate runs until all, or the one named `only`, are done or given up.

        The sweep is read anew for each run: it may be extended meanwhile.

        Raises: UserError: the folder holds no sweep.
        """
        self._only = only
        while only is not None or advance(self._folder):
            while (status := self._status()).waiting or status.running:
                # A machine whose devices can't be used fails, rather than one run after another.
                jax.devices()
                if not self._some():
                    time.sleep(POLL_SECONDS)
            if only is not None:
                break
            time.sleep(POLL_SECONDS / 10)

    def _status(self) -> Status:
        return self._state.status([run for run in runs_in(self._folder) if self._only in (None, run.name)])

    def _some(self) -> bool:
        """Train runs for a while and evaluate them; whether there were any that nobody has."""
        begin, some = time.monotonic(), False
        with contextlib.ExitStack() as claims:
            claims.callback(self._stopped)
            while time.monotonic() < begin + EVALUATE_SECONDS and (run := self._claimed(claims)) is not None:
                some = self._train(run) or some
            for tries in (True, False):
                if trained := [each for each in self._open.values() if each.run.tries == tries]:
                    self._evaluate(trained)
                    write_table_unless_held(self._folder)
        return some

    def _claimed(self, claims: contextlib.ExitStack) -> SweepRun | None:
        """The next run that waits, claimed. One that may kill its worker comes last, and has it for itself."""
        if any(self._state.suspect(begun.run) for begun in self._open.values()):
            return None
        for run in self._state.by_setbacks(self._status().waiting):
            if run.name in self._open:
                continue
            if self._open and self._state.suspect(run):
                return None
            with contextlib.suppress(Held):
                claims.enter_context(held(self._state.claim(run)))
                # Another worker may have done it just before.
                if self._state.status([run]).running:
                    return run
        return None

    def _stopped(self) -> None:
        """Record that the runs which are begun and not ended were interrupted."""
        for begun in self._open.values():
            self._state.end(begun.run, "stopped")
        self._open.clear()

    def _train(self, run: SweepRun) -> bool:
        """Train a run, or give it up; False if another worker, whose claim is over, may still be training it."""
        attempts = self._state.attempts(run)
        config = remedied(run.config, attempts)
        progress = newest(config.run)
        reason = verdict(attempts, progress)
        if reason is not None:
            trace = next((one["traceback"] for one in reversed(attempts) if one.get("traceback")), "")
            self._state.give_up(run, reason, trace)
            _say(f"{run.name}: given up: {reason}")
            return True
        try:
            refuse_if_held(config.run)
        except Held as error:
            _say(f"{run.name}: {error}")
            return False
        self._state.begin(run, progress)
        begun = self._open[run.name] = _Begun(run, config)
        _say(f"{run.name}: {f'goes on at step {progress}' if progress else 'begins'}")
        begin = time.monotonic()
        try:
            train(config, progress=False)
            begun.seconds = time.monotonic() - begin
            _say(f"{run.name}: trained in {begun.seconds:.1f} s")
        except NoSpace:
            # No failure of the run: others would meet it, too.
            raise
        except Diverged as error:
            # Members that diverged are settings that don't do; the others are evaluated.
            if config.population is None:
                self._failed(run, error)
        except Exception as error:
            self._failed(run, error)
        return True

    def _evaluate(self, trained: list[_Begun]) -> None:
        """Evaluate runs and record the rows of their cells."""
        sweep = read_sweep(self._folder)
        tries = trained[0].run.tries
        asked = replace(sweep.config, episodes=0) if tries else sweep.config
        members = tuple(member.run for each in trained for member in members_of(each.config) if budgets(member.run))
        asked = asked.evaluation(members)
        begin = time.monotonic()
        try:
            rows = evaluate(asked, progress=False) if members else []
            seconds = time.monotonic() - begin
            _say(f"evaluated {count(len(members), 'training')} in {seconds:.1f} s")
        except Exception as error:
            if len(trained) == 1:
                self._failed(trained[0].run, error)
            else:
                for one in trained:
                    self._evaluate([one])
            return
        done = self._state.keys()
        rules = {f"{name}_rule": rule for name, rule in sweep.rules.items()}
        for each in trained:
            run, config = each.run, each.config
            for cell in run.cells:
                if cell.key in done:
                    continue
                # A run alone may have been renamed by a remedy.
                name = cell.run if config.population else config.run.name
                found = [row for row in rows if (row.run, row.flops) == (name, cell.flops)]
                if config.population and not found:
                    self._state.add_none(cell, "diverged")
                else:
                    row = _row_of(found, asked)
                    self._state.add(cell, as_record(row if tries else replace(row, **rules)))
            self._state.end(run, "done", seconds=each.seconds + seconds / len(trained))
            del self._open[run.name]
            _say(f"{run.name}: done")

    def _failed(self, run: SweepRun, error: Exception) -> None:
        """Record why a run failed.

        Raises: OSError: the error is this machine's or process's, so that another one is to make the next attempt.
        """
        config = self._open.pop(run.name).config
        kind, message = kind_of(error), str(error).strip().split("\n")[0] or type(error).__name__
        details = {"message": message, "traceback": "".join(traceback.format_exception(error))}
        if kind == "diverged":
            details |= {"lr": read_run(config.run)["config"]["optimizer"]["lr"]}
        self._state.end(run, kind, **details)
        _say(f"{run.name}: {kind}: {message}")
        if kind == "machine":
            # Ray starts a task again for this kind of error alone.
            raise error if isinstance(error, OSError) else OSError(message) from error


def _row_of(found: list[ResultRow], asked: EvalConfig) -> ResultRow:
    """Of the rows of a checkpoint that by the protocol that is asked for, if games are."""
    if asked.episodes:
        game = found[0].game
        name = protocol(game, asked.options(game), asked.seed)
        found = [row for row in found if row.protocol == name]
    return found[0]


def _say(line: str) -> None:
    """Print what has happened, at once."""
    print(line, flush=True)
