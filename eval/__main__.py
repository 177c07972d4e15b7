"""`python -m eval RUN`: dev loss and returns of a run's checkpoints; `python -m eval expert`: returns of an expert."""

import os
import sys
from typing import NoReturn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tyro

from data.common.cli import exit_with, lazy_command, use_huge_pages
from eval.config import EvalConfig, ExpertConfig
from train.compile.cache import keep_programs


def evaluate_run(config: tyro.conf.OmitArgPrefixes[EvalConfig]) -> None:
    """Evaluate the checkpoints of runs: dev loss and returns. Writes RUN/runs.jsonl.

    `expert --game GAME` in place of the runs evaluates an expert instead.
    """
    from eval.checkpoints import evaluate
    from eval.table import print_rows

    print_rows(evaluate(config))


def evaluate_expert(config: tyro.conf.OmitArgPrefixes[ExpertConfig]) -> None:
    """Play games with an expert under the protocol of the checkpoints and print its mean return."""
    from eval.experts import evaluate_expert

    print(evaluate_expert(config))


def main(prog: str = "python -m eval") -> NoReturn:
    """Parse the command line, run the command and exit.

    Args:
        prog: Program name shown in help and error messages.
    """
    use_huge_pages()
    keep_programs()
    command, args = (evaluate_expert, sys.argv[2:]) if sys.argv[1:2] == ["expert"] else (evaluate_run, sys.argv[1:])
    prog = f"{prog} expert" if command is evaluate_expert else prog
    exit_with(lambda: tyro.cli(lazy_command(command), prog=prog, description=command.__doc__, args=args))


if __name__ == "__main__":
    main()
