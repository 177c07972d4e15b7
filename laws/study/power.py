"""The statistical power of a study: what its intervals would tell if it were repeated with other seeds.

Repetitions are simulated by a wild bootstrap (Wu 1986) of trainings: each has the mean of its size at each budget, and
the residuals of one of the size's trainings, all budgets together, with a random sign. So the noise is that of the
study, whatever it hangs on.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from data.common.cli import UserError
from data.common.machine import cores
from data.common.rows import as_json, as_record
from eval.results import ResultRow
from laws.fitting.analysis import fit
from laws.rows.runs import read
from laws.study.coverage import Found, estimates, simulated


@dataclass(frozen=True)
class Power:
    """What the intervals of one quantity tell over the repetitions."""

    quantity: str
    value: float
    """Of the study without noise, whose sizes are at their means."""
    given: float
    """Share of repetitions with an interval."""
    held: float
    """Share of these intervals that hold the value."""
    not_0: float
    """Share of repetitions whose interval excludes 0."""
    not_1: float
    """The same of 1."""
    both: float
    """The same of both."""


def repetition(rows: Sequence[ResultRow], random: np.random.Generator | None) -> list[ResultRow]:
    """The rows of the study repeated with other seeds; without `random`, those of its means.

    Raises: UserError: a size was trained once, so that nothing tells its noise.
    """
    trainings: dict[int, list[str]] = defaultdict(list)
    of_run: dict[str, dict[float, ResultRow]] = defaultdict(dict)
    for row in rows:
        if row.run not in trainings[row.params]:
            trainings[row.params].append(row.run)
        of_run[row.run][row.flops] = row
    once = [params for params, runs in trainings.items() if len(runs) < 2]
    if once:
        raise UserError(f"{len(once)} sizes were trained once (N = {once[0]:,}): the noise takes several seeds of each")
    found = []
    for runs in trainings.values():
        # Some may have stopped earlier than others.
        budgets = {flops for run in runs for flops in of_run[run]}
        mean = {flops: _mean([of_run[run][flops] for run in runs if flops in of_run[run]]) for flops in budgets}
        for run in runs:
            model, sign = (
                (run, 0.0) if random is None else (str(random.choice(runs)), float(random.choice([-1.0, 1.0])))
            )
            # The residuals about the mean of n have a share (n - 1) / n of the variance.
            sign *= math.sqrt(len(runs) / (len(runs) - 1))
            for flops, row in of_run[run].items():
                log_loss, returns = mean[flops]
                other = of_run[model].get(flops, row)
                loss = math.exp(log_loss + sign * (math.log(_loss(other)) - log_loss))
                if row.return_mean is None or other.return_mean is None or returns is None:
                    found.append(replace(row, loss=loss))
                else:
                    found.append(replace(row, loss=loss, return_mean=returns + sign * (other.return_mean - returns)))
    return found


def _mean(rows: Sequence[ResultRow]) -> tuple[float, float | None]:
    """Mean ln loss and mean return."""
    returns = [row.return_mean for row in rows if row.return_mean is not None]
    return float(np.mean([math.log(_loss(row)) for row in rows])), float(np.mean(returns)) if returns else None


def _loss(row: ResultRow) -> float:
    assert row.loss is not None, "rows without a loss are not read"
    return row.loss


def _one(rows: Sequence[ResultRow], draws: int, seed: int) -> Found:
    [game] = fit(repetition(rows, np.random.default_rng([2024, seed])), draws=draws, choosing=False).games
    return estimates(game)


def power_of(rows: Sequence[ResultRow], studies: int, draws: int, workers: int) -> list[Power]:
    """The power of a study of one game.

    Raises: UserError: see `repetition`.
    """
    [clean] = fit(repetition(rows, None), draws=0, choosing=False).games
    truth = estimates(clean)
    found = simulated("repetitions", partial(_one, rows, draws), studies, workers)
    return [_power(quantity, value, [each.get(quantity) for each in found]) for quantity, (value, _) in truth.items()]


def _power(quantity: str, value: float, found: Sequence[tuple[float, tuple[float, float] | None] | None]) -> Power:
    ends = [each[1] for each in found if each is not None and each[1] is not None]

    def without(*numbers: float) -> float:
        excluded = [all(not low <= number <= high for number in numbers) for low, high in ends]
        return sum(excluded) / len(found)

    held = sum(low <= value <= high for low, high in ends) / max(1, len(ends))
    return Power(quantity, value, len(ends) / len(found), held, without(0.0), without(1.0), without(0.0, 1.0))


def power(
    tables: Positional[tuple[Path, ...]],
    *,
    studies: int = 400,
    bootstraps: int = 400,
    game: str | None = None,
    protocol: str | None = None,
    workers: int | None = None,
    json: bool = False,
) -> None:
    """Simulate repetitions of a study with other seeds, and print how often its 95 % intervals exclude 0 and 1.

    Example: `python -m laws power RUN/runs.jsonl`

    Args:
        tables: Result rows of the study, with several seeds of each size.
        studies: Simulated repetitions.
        bootstraps: Bootstrap draws of each fit.
        game: The game, if the rows are of several.
        protocol: Take the returns of this protocol.
        workers: Processes. Default: one a core.
        json: Print a JSON list instead.

    Raises:
        UserError: A table can't be read, has several games, or a size was trained once.
    """
    rows = read(tables, game, protocol=protocol).rows
    if len(games := {row.game for row in rows}) > 1:
        raise UserError(f"rows of {', '.join(sorted(games))}: choose one with --game")
    if json:
        print(as_json([as_record(one) for one in power_of(rows, studies, bootstraps, workers or cores())]))
        return
    print(f"{'quantity':27} {'value':>7} {'given':>6} {'holds it':>9} {'not 0':>6} {'not 1':>6} {'neither':>8}")
    for one in power_of(rows, studies, bootstraps, workers or cores()):
        print(
            f"{one.quantity:27} {one.value:+7.3f} {one.given:6.0%} {one.held:9.0%} {one.not_0:6.0%} {one.not_1:6.0%}"
            f" {one.both:8.0%}"
        )
