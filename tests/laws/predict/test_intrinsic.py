"""The least compute to reach a return."""

from dataclasses import replace

import numpy as np
import pytest

from laws.fitting.analysis import fit
from laws.predict.intrinsic import frontier, reaches
from laws.study.coverage import DESIGNS
from tests.laws.synthetic import only


def test_the_front_has_no_cell_that_a_cheaper_one_beats() -> None:
    game = only(fit(DESIGNS["7x6"].rows(np.random.default_rng(1)), draws=0, choosing=False))
    front = frontier(game)
    flops, returns = np.array(front).T
    assert np.all(np.diff(flops) > 0)
    assert np.all(np.diff(returns) > 0)
    for profile in game.profiles:
        for cell in profile.cells:
            assert (cell.return_mean or 0) <= max(value for x, value in front if x <= cell.flops)


def test_compute_rises_with_the_return_and_agrees_with_the_law() -> None:
    game = only(fit(DESIGNS["7x6"].rows(np.random.default_rng(1)), draws=200, choosing=False))
    law = game.law("return", "envelope")
    assert law is not None
    found = reaches(game)
    assert [each.measured for each in found] == sorted(each.measured for each in found)
    for each in found:
        assert law.predict(each.law or 0) == pytest.approx(each.returns)
        low, high = each.interval or (0, 0)
        assert low <= (each.law or 0) <= high
        assert low / 3 < each.measured < high * 3


def test_games_without_returns_have_none() -> None:
    bare = [replace(row, return_mean=None, return_se=None) for row in DESIGNS["7x6"].rows()]
    assert reaches(only(fit(bare, draws=0, choosing=False))) == ()
