"""The compute of two studies for the same result."""

import math
from dataclasses import replace

import numpy as np
import pytest

from eval.results import ResultRow
from laws.predict.intrinsic import undominated
from laws.report.comparison import Study
from laws.report.matched import cost, lines, matches
from tests.laws.report.test_comparison import study
from tests.laws.synthetic import fitted


def named(name: str, rows: list[ResultRow]) -> Study:
    return Study(name, fitted(rows, draws=0))


def slower(rows: list[ResultRow], factor: float) -> list[ResultRow]:
    """The same results for so many times the compute."""
    return [replace(row, flops=row.flops * factor) for row in rows]


def returning(rows: list[ResultRow]) -> list[ResultRow]:
    """With a return that falls as the loss rises."""
    return [replace(row, return_mean=100 / row.loss, return_se=1.0, episodes=10) for row in rows if row.loss]


@pytest.mark.parametrize("factor", [10.0, 0.3])
def test_a_study_that_needs_ten_times_the_compute_is_found_to(factor: float) -> None:
    rows = returning(study(0.3, 0, noise=0.0))
    found = list(matches([named("one", rows), named("other", slower(rows, factor))]))
    assert {each.y for each in found} == {"loss", "return"}
    assert len([each for each in found if each.y == "loss"]) >= 3
    for each in found:
        assert (each.first, each.second, each.method) == ("one", "other", "isoflop")
        assert each.ratio == pytest.approx(factor, rel=1e-3)
        assert each.first_flops in {row.flops for row in rows}
    assert f"{factor:.3g} times as much" in next(lines(found))


@pytest.mark.slow
def test_more_than_85_percent_of_intervals_hold_the_ratio() -> None:
    """Of 30 pairs of studies, of which one needs ten times the compute of the other."""
    held = []
    for seed in range(30):
        random = np.random.default_rng(seed)
        rows, others = (
            [
                replace(row, return_mean=100 / (row.loss or 1) * math.exp(0.1 * random.normal()))
                for row in study(0.3, 2 * seed + place)
            ]
            for place in (0, 1)
        )
        one, other = (fitted(each, draws=200) for each in (rows, slower(others, 10.0)))
        for found in matches([Study("one", one), Study("other", other)]):
            assert found.interval is not None
            assert found.interval[0] <= found.ratio <= found.interval[1]
            held.append((found.y, found.interval[0] <= 10 <= found.interval[1]))
    for y in ("loss", "return"):
        of_y = [holds for quantity, holds in held if quantity == y]
        assert len(of_y) > 90
        assert np.mean(of_y) > 0.85


def test_the_interval_is_of_the_ratio_whichever_study_the_budgets_are_of() -> None:
    one, other = study(0.3, 0), slower(study(0.3, 1), 10.0)
    budgets = sorted({row.flops for row in one})
    ends = [row for row in one if row.flops in (budgets[0], budgets[1], budgets[-1])]
    for rows in ([ends, other], [other, ends]):
        found = list(matches([Study(str(place), fitted(each, draws=200)) for place, each in enumerate(rows)]))
        assert found
        for each in found:
            assert each.interval is not None
            assert each.interval[0] < each.ratio < each.interval[1] < 2 * each.ratio


def test_what_only_one_study_reaches_is_not_matched() -> None:
    rows = study(0.3, 0, noise=0.0)
    worse = [replace(row, loss=row.loss * 100) for row in rows if row.loss]
    assert list(matches([named("one", rows), named("other", worse)])) == []


def test_budgets_of_the_second_serve_where_it_reaches_none_of_the_first() -> None:
    rows = study(0.3, 0, noise=0.0)
    budgets = sorted({row.flops for row in rows})
    inside = slower([row for row in rows if row.flops in budgets[1:3]], 1.3)
    ends = [row for row in rows if row.flops in (budgets[0], budgets[-1])]
    found = list(matches([named("one", ends), named("other", inside)]))
    assert [each.second_flops for each in found] == pytest.approx([1.3 * budgets[1], 1.3 * budgets[2]])
    assert [each.ratio for each in found] == pytest.approx([1.3, 1.3], rel=1e-2)


def test_a_curve_is_of_points_that_improve_and_ends_with_them() -> None:
    points = undominated([(1e3, 0.6), (1e1, 1.0), (1e2, 1.2), (1e4, 0.6), (1e5, 0.3)], falls=True)
    assert points == [(1e1, 1.0), (1e3, 0.6), (1e5, 0.3)]
    assert cost(points, 0.6) == pytest.approx(1e3)
    assert cost(points, (0.6 * 0.3) ** 0.5) == pytest.approx(1e4)
    assert cost(points, 1.1) is None
    assert cost(points, 0.29) is None
    assert cost([], 0.5) is None
    assert undominated([(1.0, 0.0), (2.0, 3.0), (3.0, 2.0)]) == [(1.0, 0.0), (2.0, 3.0)]
