"""Backtests on the last decade of budgets: of known laws and of the paper's rows."""

import math

import numpy as np
import pytest

from laws.predict.backtest import MIN_CUTS, Miss, common_cuts, rolling_validation, targets
from laws.predict.forecast import extrapolate
from laws.predict.predictor import power_form
from laws.rows.runs import Runs
from tests.laws.synthetic import fitted, hoffmann_sweep


def test_the_last_decade_is_held_out_and_the_true_law_predicts_it() -> None:
    """Hoffmann's law is neither a power law nor one with its offset along an envelope, but is its own surface."""
    rows = hoffmann_sweep(budgets=9, sizes=9)
    [held] = extrapolate(fitted(rows)).held_out
    assert held.y == "loss"
    last = max(row.flops for row in rows)
    assert all(x <= last / 10 * 1.001 for x, _ in held.fitted)
    assert [x for x, _ in held.held_out] == pytest.approx(sorted({r.flops for r in rows if r.flops > last / 9}))
    error = {test.form: abs(test.error) for test in held.tests}
    assert error["parametric"] < 2e-3
    assert error["offset"] < 5e-3
    assert error["power"] > 0.02


def test_the_papers_last_decade_was_not_predicted_by_a_power_law(nethack_rows: Runs) -> None:
    loss, returns = extrapolate(fitted(list(nethack_rows.rows))).held_out
    error = {test.form: np.expm1(test.error) for test in loss.tests}
    assert error["power"] < -0.3
    assert abs(error["offset"]) < 0.05
    assert np.expm1(returns.tests[0].error) > 2


def test_few_budgets_hold_none_out() -> None:
    assert extrapolate(fitted(hoffmann_sweep(budgets=5))).held_out == ()


def powers(budgets: int, apart: float = 10**0.5) -> list[tuple[float, float]]:
    """Points of 5·C^-0.1."""
    flops = 1e15 * apart ** np.arange(budgets)
    return list(zip(flops.tolist(), (5 * flops**-0.1).tolist(), strict=True))


def test_past_predictions_are_as_far_ahead_as_the_one_that_is_asked() -> None:
    truth = powers(12)
    found = targets(truth, truth[-1][0] * 10)
    assert list(found) == [x for x, _ in truth[4:10]]
    for cut, (x, y) in found.items():
        assert x / cut == pytest.approx(10)
        assert (x, y) in truth
    near = targets(truth, truth[-1][0] * 2)
    assert all(x / cut == pytest.approx(10**0.5) for cut, (x, _) in near.items())
    assert len(near) == 7


def test_past_predictions_are_as_far_ahead_as_there_are_three() -> None:
    """With eight budgets, and five at least to fit, three predictions reach one budget ahead."""
    truth = powers(8)
    found = targets(truth, truth[-1][0] * 1e6)
    assert len(found) == MIN_CUTS
    assert all(x / cut == pytest.approx(10**0.5) for cut, (x, _) in found.items())
    assert targets(powers(5), 1e30) == {}
    assert len(targets(powers(6), 1e30)) == 1


def test_past_predictions_are_fitted_to_earlier_budgets_alone() -> None:
    truth = powers(9)
    spoilt = [*truth[:-1], (truth[-1][0], 7.0)]
    wanted, bent = targets(truth, truth[-1][0] * 3), targets(spoilt, spoilt[-1][0] * 3)
    exact = rolling_validation(power_form("power"), truth, wanted)
    assert all(abs(miss.error) < 1e-9 for miss in exact.values())
    found = rolling_validation(power_form("power"), spoilt, bent)
    last = max(found)
    assert found[last].error == pytest.approx(math.log(truth[-1][1] / 7.0))
    assert not found[last].covered
    assert {cut: miss.error for cut, miss in found.items() if cut != last} == pytest.approx(
        {cut: miss.error for cut, miss in exact.items() if cut != last}, abs=1e-9
    )
    assert rolling_validation(power_form("power"), truth[-4:], wanted) == {}


def test_forms_are_compared_on_cuts_that_they_share() -> None:
    miss = Miss(0.1, True, 0.2)
    many, some, few = ({float(cut): miss for cut in range(first, 8)} for first in (1, 4, 6))
    assert common_cuts([many, some]) == [4, 5, 6, 7]
    assert common_cuts([many, some, few]) == [4, 5, 6, 7], "two cuts are too few for a score"
    assert common_cuts([few]) == []
    assert common_cuts([]) == []
    other = {float(cut): miss for cut in range(-3, 3)}
    assert common_cuts([many, other]) == [1, 2, 3, 4, 5, 6, 7], "they share two"
