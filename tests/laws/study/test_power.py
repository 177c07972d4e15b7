"""The power of a study: repetitions have its cells, its means and its noise."""

import math
import statistics
from collections import defaultdict

import numpy as np
import pytest

from data.common.cli import UserError
from eval.results import ResultRow
from laws.study.coverage import Design
from laws.study.power import power_of, repetition

DESIGN = Design(6, 5, seeds=3, noise=0.02)
ROWS = DESIGN.rows(np.random.default_rng(0))


def log_losses(rows: list[ResultRow]) -> dict[tuple[float, int], list[float]]:
    found = defaultdict(list)
    for row in rows:
        found[row.flops, row.params].append(math.log(row.loss or 0.0))
    return found


def test_without_noise_each_size_has_its_mean() -> None:
    clean = repetition(ROWS, None)
    assert sorted((row.run, row.flops) for row in clean) == sorted((row.run, row.flops) for row in ROWS)
    means = {cell: float(np.mean(values)) for cell, values in log_losses(ROWS).items()}
    for cell, values in log_losses(clean).items():
        assert values == pytest.approx([means[cell]] * 3)


def test_repetitions_have_the_noise_of_the_study() -> None:
    """Also its covariance: the budgets of a training stay together."""
    before = log_losses(ROWS)
    many = [log_losses(repetition(ROWS, np.random.default_rng(seed))) for seed in range(200)]
    for cell, values in before.items():
        drawn = [value for each in many for value in each[cell]]
        assert np.mean(drawn) == pytest.approx(np.mean(values), abs=0.006)
        assert np.std(drawn) == pytest.approx(np.std(values, ddof=1), rel=0.15)
    (low, high), params = (DESIGN.rows()[0].flops, DESIGN.rows()[-1].flops), DESIGN.rows()[0].params

    def correlation(studies: list[dict[tuple[float, int], list[float]]]) -> float:
        off = [
            [value - statistics.mean(before[flops, params]) for each in studies for value in each[flops, params]]
            for flops in (low, high)
        ]
        return statistics.correlation(*off)

    assert correlation(many) == pytest.approx(correlation([before]), abs=0.1)


def test_trainings_of_a_size_may_stop_at_other_budgets() -> None:
    first, last = ROWS[0].run, ROWS[-1].flops
    fewer = [row for row in ROWS if (row.run, row.flops) != (first, last)]
    again = repetition(fewer, np.random.default_rng(0))
    assert sorted((row.run, row.flops) for row in again) == sorted((row.run, row.flops) for row in fewer)


def test_power_is_of_what_the_intervals_exclude() -> None:
    found = {one.quantity: one for one in power_of(ROWS, studies=12, draws=200, workers=2)}
    for name in ("isoflop params", "isoflop samples", "isoflop loss"):
        one = found[name]
        assert one.given == 1
        assert one.both <= min(one.not_0, one.not_1)
        assert one.held >= 0.75
    assert found["isoflop loss"].not_0 == 1
    # Laws of L(N, D) by this many noisy cells are told from 0 and 1.
    assert found["isoflop params"].both >= 0.75


def test_sizes_that_were_trained_once_are_refused() -> None:
    with pytest.raises(UserError, match="trained once"):
        repetition(Design(6, 5).rows(), None)
