"""Power laws: exact recovery, honest intervals, no dependence on units or order."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from laws.fitting.power import fit_power

EXPONENTS = st.floats(-2, 2)
COEFFICIENTS = st.floats(1e-6, 1e6)
BUDGETS = np.geomspace(1e12, 1e18, 7)


def noisy(seed: int, exponent: float = -0.17, sd: float = 0.1, budgets: np.ndarray = BUDGETS):
    noise = np.random.default_rng(seed).normal(0, sd, len(budgets))
    return list(zip(budgets.tolist(), (200 * budgets**exponent * np.exp(noise)).tolist(), strict=True))


@given(COEFFICIENTS, EXPONENTS)
@settings(max_examples=60, deadline=None)
def test_a_power_law_without_noise_is_recovered(coefficient: float, exponent: float) -> None:
    law = fit_power([(x, coefficient * x**exponent) for x in BUDGETS.tolist()])
    assert law.exponent == pytest.approx(exponent, abs=1e-12)
    assert math.log(law.coefficient) == pytest.approx(math.log(coefficient), abs=1e-10)
    assert law.exponent_ci is not None
    assert law.exponent_ci[1] - law.exponent_ci[0] < 1e-11
    assert law.predict(BUDGETS) == pytest.approx(coefficient * BUDGETS**exponent, rel=1e-10)


def test_agrees_with_textbook_regression() -> None:
    points = noisy(0)
    law = fit_power(points)
    x, y = np.log(points).T
    (slope, intercept), covariance = np.polyfit(x, y, 1, cov=True)
    half = stats.t.ppf(0.975, len(points) - 2) * math.sqrt(covariance[0, 0])
    assert law.exponent == pytest.approx(slope, rel=1e-9)
    assert math.log(law.coefficient) == pytest.approx(intercept, rel=1e-9)
    assert law.exponent_ci == pytest.approx((slope - half, slope + half), rel=1e-9)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    trials, exponent = 2000, 0.6
    hits = 0
    for seed in range(trials):
        interval = fit_power(noisy(seed, exponent, budgets=BUDGETS[:4])).exponent_ci
        assert interval is not None
        hits += interval[0] <= exponent <= interval[1]
    # Four standard errors of a share of 0.95 in 2000 trials.
    assert abs(hits / trials - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials)


def test_the_band_covers_the_line_as_often_as_it_says() -> None:
    trials, at = 1000, np.array([3e18])
    hits = 0
    for seed in range(trials):
        band = fit_power(noisy(seed)).band(at)
        assert band is not None
        hits += bool(band[0][0] <= 200 * at[0] ** -0.17 <= band[1][0])
    assert abs(hits / trials - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials)


@given(st.floats(1e-12, 1e12), st.floats(1e-6, 1e6))
@settings(max_examples=40, deadline=None)
def test_units_change_the_coefficient_and_nothing_else(flops_unit: float, loss_unit: float) -> None:
    points = noisy(1)
    law = fit_power(points)
    other = fit_power([(x / flops_unit, y / loss_unit) for x, y in points])
    assert other.exponent == pytest.approx(law.exponent, rel=1e-9)
    assert other.exponent_ci == pytest.approx(law.exponent_ci, rel=1e-9)
    assert math.log(other.coefficient) == pytest.approx(
        math.log(law.coefficient * flops_unit**law.exponent / loss_unit), abs=1e-8
    )


@given(st.permutations(noisy(2)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_points_changes_not_one_bit(points: list[tuple[float, float]]) -> None:
    assert fit_power(points) == fit_power(noisy(2))


def test_two_points_have_a_line_and_no_interval() -> None:
    law = fit_power([(1e15, 2.0), (1e17, 1.0)])
    assert law.exponent == pytest.approx(math.log10(0.5) / 2)
    assert law.exponent_ci is None
    assert law.band(BUDGETS) is None


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(1e15, 1.0)],
        [(1e15, 1.0), (1e15, 2.0)],
        [(1e15, 1.0), (1e16, 0.0)],
        [(1e15, 1.0), (1e16, -1.0)],
        [(1e15, 1.0), (1e16, math.nan)],
        [(1e15, 1.0), (math.inf, 1.0)],
        [(1e18, 1e-10), (1.0001e18, 1e10)],
    ],
)
def test_what_has_no_line_is_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="power law"):
        fit_power(points)
