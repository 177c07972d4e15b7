"""`python -m eval RUN`: dev loss and returns of a run's checkpoints; `python -m eval expert`: returns of an expert."""

import os
import sys
from typing import NoReturn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tyro

from data.common.cli import call_of, exit_with, quoted, use_huge_pages
from data.common.rows import as_json, as_record
from data.games import registry
from eval.config import BenchConfig, CompareConfig, EpisodesConfig, EvalConfig, ExpertConfig
from train.compile.cache import keep_programs


def evaluate_run(config: tyro.conf.OmitArgPrefixes[EvalConfig]) -> None:
    """Evaluate the checkpoints of runs: dev loss and returns. Writes RUN/runs.jsonl.

    In place of the runs, `expert --game GAME` evaluates an expert, `summary RUN...` and `compare RUN RUN` tell about
    the games that were played, and `bench` measures the speed.

    Example: `python -m eval RUN --episodes 100`

    Most used: --episodes, --seed, --protocol, --character, --max-steps, --lanes, --workers, --budgets, --store,
    --watch.
    """
    if config.watch:
        from eval.watch import watch

        watch(config, sys.stdout)
        return
    from eval.checkpoints import evaluate
    from eval.shared import evaluate_shared
    from eval.table import print_rows

    rows = (evaluate_shared if config.shared else evaluate)(config)
    if config.json:
        print(as_json([as_record(row) for row in rows]))
    else:
        print_rows(rows)
        tables = " ".join(quoted(run / "runs.jsonl") for run in config.runs)
        print(f"next: python -m laws fit {tables} --out DIR")


def evaluate_expert(config: tyro.conf.OmitArgPrefixes[ExpertConfig]) -> None:
    """Play games with an expert under the protocol of the checkpoints and print its mean return.

    Example: `python -m eval expert --game nethack --episodes 100`
    """
    from eval.experts import evaluate_expert

    measured = evaluate_expert(config)
    print(as_json(as_record(measured)) if config.json else measured)


def bench(config: tyro.conf.OmitArgPrefixes[BenchConfig] = BenchConfig()) -> None:  # noqa: B008 frozen
    """Measure how fast games are stepped and played, against raw NLE and the vector environments of others.

    Example: `python -m eval bench --game Breakout`
    """
    from data.common.comparison import report

    report(registry.module("eval.bench", registry.find(config.game).family).bench(config), as_json=config.json)


def summarise(config: tyro.conf.OmitArgPrefixes[EpisodesConfig]) -> None:
    """Summarise the games that checkpoints have played, or write them to a table: one row per game.

    Example: `python -m eval summary RUN`
    """
    from eval.episodes import summary

    for line in summary(config):
        print(line)


def compare_runs(config: tyro.conf.OmitArgPrefixes[CompareConfig]) -> None:
    """Compare the returns of two runs on the seeds that both have played.

    Example: `python -m eval compare RUN OTHER`
    """
    from eval.episodes import compare

    for line in compare(config):
        print(line)


COMMANDS = {"expert": evaluate_expert, "bench": bench, "summary": summarise, "compare": compare_runs}
"""What may stand in place of the folders of runs."""


def main(prog: str = "python -m eval") -> NoReturn:
    """Parse the command line, run the command and exit.

    Args:
        prog: Program name shown in help and error messages.
    """
    use_huge_pages()
    keep_programs()
    name = sys.argv[1] if sys.argv[1:] and sys.argv[1] in COMMANDS else ""
    command, args = COMMANDS.get(name, evaluate_run), sys.argv[2 if name else 1 :]
    prog = f"{prog} {name}".rstrip()
    exit_with(lambda words: call_of(command, prog, words), args)


if __name__ == "__main__":
    main()
