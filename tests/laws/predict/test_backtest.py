"""Backtests on the last decade of budgets: of known laws and of the paper's rows."""

import numpy as np
import pytest

from laws.predict.forecast import extrapolate
from laws.rows.runs import Runs
from tests.laws.synthetic import hoffmann_sweep, profiles_of


def test_the_last_decade_is_held_out_and_the_true_law_predicts_it() -> None:
    """Hoffmann's law is neither a power law nor one with its offset along an envelope, but is its own surface."""
    rows = hoffmann_sweep(budgets=9, sizes=9)
    [held] = extrapolate(profiles_of(rows)).held_out
    assert held.y == "loss"
    last = max(row.flops for row in rows)
    assert all(x <= last / 10 * 1.001 for x, _ in held.fitted)
    assert [x for x, _ in held.held_out] == pytest.approx(sorted({r.flops for r in rows if r.flops > last / 9}))
    error = {test.form: abs(test.error) for test in held.tests}
    assert error["parametric"] < 2e-3
    assert error["offset"] < 5e-3
    assert error["power"] > 0.02


def test_the_papers_last_decade_was_not_predicted_by_a_power_law(nethack_rows: Runs) -> None:
    loss, returns = extrapolate(profiles_of(list(nethack_rows.rows))).held_out
    error = {test.form: np.expm1(test.error) for test in loss.tests}
    assert error["power"] < -0.3
    assert abs(error["offset"]) < 0.05
    assert np.expm1(returns.tests[0].error) > 2


def test_few_budgets_hold_none_out() -> None:
    assert extrapolate(profiles_of(hoffmann_sweep(budgets=5))).held_out == ()
