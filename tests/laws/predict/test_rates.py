"""The learning rate by size: planted optima are found again, one at the edge of a sweep is left out."""

import dataclasses
import math

import pytest

from eval.results import ResultRow
from laws.predict.rates import best_rates, rate_law
from tests.laws.synthetic import SIZES

RATES = tuple(1e-4 * 2**power for power in range(10))


def sweep(exponent: float) -> list[ResultRow]:
    """Runs whose loss is a parabola in ln lr about 0.5 N^exponent."""
    return [
        ResultRow("nethack", f"{size}-{lr:g}", 1e12, size, 20 * size, math.exp(offset**2 / 9), lr=lr, batch=2048)
        for size in SIZES
        for lr in RATES
        for offset in [math.log(lr / (0.5 * size**exponent))]
    ]


@pytest.mark.parametrize("exponent", [-0.5, -0.4])
def test_planted_optima_give_their_exponent(exponent: float) -> None:
    best = best_rates(sweep(exponent))
    assert [one.params for one in best] == list(SIZES)
    law = rate_law(best)
    assert law.exponent == pytest.approx(exponent, abs=1e-6)
    assert law.coefficient == pytest.approx(0.5, rel=1e-5)


def test_a_size_whose_best_run_is_at_the_edge_is_left_out_and_seeds_are_averaged() -> None:
    rows = sweep(-0.5)
    cut = [row for row in rows if row.params > SIZES[0] or (row.lr or 0) < 1e-2]
    assert [one.params for one in best_rates(cut)] == list(SIZES[1:])
    twice = rows + [dataclasses.replace(row, run=f"{row.run}-1", seed=1, loss=3 * (row.loss or 0)) for row in rows]
    assert [one.loss / 2 for one in best_rates(twice)] == pytest.approx([one.loss for one in best_rates(rows)])
