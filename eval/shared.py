"""Evaluation by several processes, on one machine or many that see the runs: each claims games that nobody else plays.

`RUN/budgets/BUDGET/claims/SHARD/` is the lease of the process that plays a share of a checkpoint's games
(`data.common.lease`). What a process that is lost has not played, another plays.
"""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

from data.common.cli import UserError
from data.common.cluster import run_tasks
from data.common.lease import in_turn
from data.common.machine import cores
from eval.checkpoints import chosen, evaluate, play_missing
from eval.config import EvalConfig
from eval.results import ResultRow
from train.checkpoint import budget_name
from train.compile.cache import keep_programs

GAMES = 100
"""Most games of a claim."""


def evaluate_shared(config: EvalConfig) -> list[ResultRow]:
    """Evaluate checkpoints together with other processes that do the same, or as tasks of a Ray cluster.

    Args:
        config: As of `eval.checkpoints.evaluate`, with `work` or `executor`.

    Returns:
        The rows of all checkpoints, once all games are played, by whomever.

    Raises:
        UserError: As of `evaluate`, and of `data.common.cluster.run_tasks`.
    """
    if config.shard is not None:
        raise UserError("--shard names the games of a machine; with --work or --executor ray leave it out")
    parts = parts_of(config)
    if config.executor == "ray":
        run_tasks([partial(evaluate_claimed, [part]) for part in parts], lambda: None, gpus=True)
    else:
        evaluate_claimed(parts)
    return evaluate(config)


def parts_of(config: EvalConfig) -> list[EvalConfig]:
    """What is claimed: a share of the games of one checkpoint each. First one of each checkpoint, which measures its
    dev loss.

    Raises:
        UserError: There is no such run or budget.
    """
    shards = max(1, math.ceil(config.episodes / GAMES))
    runs = [Path(run).resolve() for run in config.runs]
    return [
        replace(config, runs=(run,), budgets=(budget.flops,), shard=f"{shard + 1}/{shards}")
        for shard in range(shards)
        for run in runs
        for budget in chosen(run, config.budgets)
    ]


def evaluate_claimed(parts: list[EvalConfig]) -> None:
    """In one process: evaluate the parts that nobody else does, until all are done."""
    keep_programs()

    def claim(part: EvalConfig) -> Path:
        [run], [flops] = part.runs, part.budgets
        return run / "budgets" / budget_name(flops) / "claims" / str(part.shard).replace("/", "-of-")

    # Of a part that another process has done, nothing is missing.
    in_turn(parts, claim, _play)


def _play(part: EvalConfig) -> None:
    play_missing(replace(part, workers=min(part.workers, cores())))
