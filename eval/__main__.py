"""`python -m eval RUN`: dev loss and returns of a run's checkpoints."""

import os
from typing import NoReturn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tyro

from data.common.cli import run, use_huge_pages
from eval.config import EvalConfig


def evaluate_run(config: tyro.conf.OmitArgPrefixes[EvalConfig]) -> None:
    """Measure the dev loss of a run's checkpoints and play games with them; writes RUN/runs.jsonl."""
    from eval.checkpoints import evaluate
    from eval.table import print_rows

    print_rows(evaluate(config))


def main(prog: str = "python -m eval") -> NoReturn:
    """Parse the command line, run the command and exit; `prog` is the program's name in help and errors."""
    use_huge_pages()
    run(evaluate_run, prog)


if __name__ == "__main__":
    main()
