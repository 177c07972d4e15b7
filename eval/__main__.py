"""`python -m eval RUN`: dev loss and returns of a run's checkpoints; `python -m eval expert`: returns of an expert."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tyro

from data.common.cli import exit_with, lazy_command, use_huge_pages
from eval.config import EvalConfig, ExpertConfig

PROG = "python -m eval"


def main(config: tyro.conf.OmitArgPrefixes[EvalConfig]) -> None:
    """Measure the dev loss of a run's checkpoints and play games with them; writes RUN/runs.jsonl.

    `python -m eval expert --game GAME` plays with an expert instead.
    """
    from eval.checkpoints import evaluate
    from eval.table import print_rows

    print_rows(evaluate(config))


def expert(config: tyro.conf.OmitArgPrefixes[ExpertConfig]) -> None:
    """Play games with an expert, as checkpoints do, and print its mean return."""
    from eval.experts import evaluate_expert

    print(evaluate_expert(config))


if __name__ == "__main__":
    use_huge_pages()
    words = sys.argv[1:]
    if words[:1] == ["expert"]:
        exit_with(lambda: tyro.cli(lazy_command(expert), prog=f"{PROG} expert", args=words[1:]))
    exit_with(lambda: tyro.cli(lazy_command(main), prog=PROG, description=main.__doc__))
