"""Budgets of cells whose compute agrees within a tolerance."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.results import ResultRow
from laws.fitting.analysis import FitOptions, fit
from laws.fitting.isoflop import profiles
from laws.rows.budgets import BIN, binned

FLOPS = st.lists(st.floats(1e10, 1e12), max_size=60)
TOLERANCE = st.floats(0, 0.5)


def sweep(spread: float = 0.0) -> list[ResultRow]:
    """Four budgets of seven sizes, the best of which is √(C/6); their compute is off by up to `spread`."""
    chance = random.Random(1)
    rows: list[ResultRow] = []
    for flops in (6e14, 2.4e15, 9.6e15, 3.84e16):
        for step in range(-3, 4):
            params, given = round((flops / 6) ** 0.5 * 2.0**step), flops * chance.uniform(1 - spread, 1 + spread)
            loss = 3 * (flops / 6e14) ** -0.05 * 1.02 ** (step * step)
            rows.append(ResultRow("g", f"{flops:g} {step}", given, params, round(flops / 6 / params), loss))
    return rows


@given(FLOPS, TOLERANCE)
def test_every_cell_is_of_one_budget_and_budgets_are_in_order(flops: list[float], tolerance: float) -> None:
    bins = binned(flops, tolerance)
    assert sorted(place for places in bins for place in places) == list(range(len(flops)))
    ordered = [flops[place] for places in bins for place in places]
    assert ordered == sorted(flops)


@given(FLOPS, TOLERANCE)
def test_no_budget_is_wide_and_none_has_a_gap(flops: list[float], tolerance: float) -> None:
    for places in binned(flops, tolerance):
        inside = [flops[place] for place in places]
        assert inside[-1] <= inside[0] * (1 + tolerance) ** 2
        assert all(two <= one * (1 + tolerance) for one, two in pairwise(inside))


@given(FLOPS, TOLERANCE, st.randoms())
def test_the_order_of_the_cells_does_not_matter(flops: list[float], tolerance: float, chance: random.Random) -> None:
    mixed = chance.sample(flops, len(flops))
    in_bins = [[flops[place] for place in places] for places in binned(flops, tolerance)]
    assert [[mixed[place] for place in places] for places in binned(mixed, tolerance)] == in_bins


def test_a_tolerance_of_nothing_takes_equal_compute_together() -> None:
    assert binned([2.0, 1.0, 2.0, 1.0 + 1e-12], 0.0) == [[1], [3], [0, 2]]
    assert binned([]) == []


@given(st.integers(0, 1 << 32))
def test_a_sweep_at_its_actual_compute_has_the_budgets_that_were_planned(seed: int) -> None:
    chance = random.Random(seed)
    planned = [flops for flops in (1e15, 3e15, 1e16) for _ in range(8)]
    actual = [flops * chance.uniform(0.998, 1.002) for flops in planned]
    assert [sorted(planned[place] for place in places) for places in binned(actual)] == [
        [flops] * 8 for flops in (1e15, 3e15, 1e16)
    ]


def test_compute_that_differs_a_little_moves_no_optimum() -> None:
    exact, _ = profiles("g", sweep())
    found, diagnostics = profiles("g", sweep(0.002))
    assert [len(profile.cells) for profile in found] == [7] * 4
    assert [profile.flops for profile in found] == pytest.approx([profile.flops for profile in exact], rel=2e-3)
    optima = [[each.vertex.params for each in some if each.vertex] for some in (found, exact)]
    assert optima[0] == pytest.approx(optima[1], rel=1e-9)
    assert "28 cells at 28 different FLOPs are 4 budgets" in next(
        item.message for item in diagnostics if item.code == "binned"
    )
    games = [fit(rows, draws=0).games[0] for rows in (sweep(), sweep(0.002))]
    exponents = [law.exponent for game in games if (law := game.law("params", "isoflop"))]
    assert exponents == pytest.approx([0.5, 0.5], abs=2e-3)


def test_budgets_may_be_told_apart_more_finely() -> None:
    rows = [*sweep(), *(replace(row, run=f"{row.run} b", flops=row.flops * 1.04) for row in sweep())]
    assert len(fit(rows, draws=0).games[0].profiles) == 4
    assert len(fit(rows, draws=0, options=FitOptions(bin=BIN / 5)).games[0].profiles) == 8


def test_a_training_enters_a_budget_once() -> None:
    rows = sweep()
    twice = [*rows, *(replace(row, flops=row.flops * 1.03, samples=row.samples + 1) for row in rows)]
    found, _ = profiles("g", twice)
    assert [len(profile.cells) for profile in found] == [7] * 4
