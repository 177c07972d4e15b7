"""Intervals hold the noise-free estimate in about 95 of 100 simulated studies, without being vast."""

import math

import numpy as np
import pytest

from data.common.cli import UserError
from laws.fitting.analysis import fit
from laws.study.coverage import DESIGNS, SURFACE, Coverage, Design, cover, coverage, estimates

DISCRETE = ("envelope params", "envelope samples")
BOUNDED = ("parametric E", "envelope loss (offset)'s E", "isoflop loss (offset)'s E")
"""At the bound of the planted E, 0: their intervals can miss it from one side alone."""


def shown(found: list[Coverage]) -> str:
    return "\n".join(map(str, found))


def test_intervals_of_a_small_design_cover_what_they_should() -> None:
    found = cover("7x6", Design(), studies=30, draws=100, workers=2)
    names = {each.quantity for each in found}
    assert {"isoflop loss", "isoflop params", "envelope return", "vertex ln N", "parametric params"} <= names
    assert all(each.given > 0.9 for each in found), shown(found)
    smooth = [each for each in found if each.quantity not in DISCRETE]
    # By chance a quantity with 95 % is below 85 % in one of a hundred such tests.
    assert float(np.mean([each.covered for each in smooth])) >= 0.9, shown(smooth)
    assert all(each.covered >= 0.8 for each in smooth), shown(smooth)
    assert all(each.width < 2 and (each.width > 0.6 or each.quantity in BOUNDED) for each in smooth), shown(smooth)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["5x5", "5x5, 3 seeds", "own runs, 9x4, drifting"])
def test_intervals_cover_what_they_should(name: str) -> None:
    found = cover(name, DESIGNS[name], studies=120, draws=400, workers=2)
    smooth = [each for each in found if each.quantity not in DISCRETE]
    for each in smooth:
        # 90 % are below 0.84 in 120 studies once in fifty times.
        assert each.covered >= 0.84, shown(found)
        assert each.width <= 2, shown(found)
        assert each.given >= 0.9, shown(found)
    assert 0.9 <= np.mean([each.covered for each in smooth if each.quantity not in BOUNDED]) <= 0.98, shown(found)


@pytest.mark.parametrize("name", DESIGNS)
def test_designs_have_their_cells_and_the_planted_law(name: str) -> None:
    design = DESIGNS[name]
    rows = design.rows()
    cells = design.sizes * design.budgets
    assert len(rows) == cells * design.seeds
    assert len({row.run for row in rows}) == (cells if design.own else design.sizes) * design.seeds
    for row in rows:
        assert row.loss == pytest.approx(float(design.surface.predict(row.params, row.samples)))
        assert row.return_mean == pytest.approx(3 * (row.loss or 0) ** -2)
        assert 6 * row.params * row.samples == pytest.approx(row.flops, rel=1e-3)
    assert design.rows(np.random.default_rng(1)) == design.rows(np.random.default_rng(1))


def test_trainings_of_a_study_share_their_luck() -> None:
    rows = Design(noise=0.05, loss_noise=1e-6, game_noise=1e-6).rows(np.random.default_rng(0))
    off = {
        run: [
            math.log((row.loss or 0) / float(SURFACE.predict(row.params, row.samples)))
            for row in rows
            if row.run == run
        ]
        for run in {row.run for row in rows}
    }
    assert all(np.ptp(each) < 1e-5 for each in off.values())
    assert 0.02 < np.std([each[0] for each in off.values()]) < 0.1


def test_without_noise_estimates_are_those_of_the_planted_law() -> None:
    [game] = fit(Design(12, 9).rows(), draws=0, choosing=False).games
    found = estimates(game)
    of_params, of_samples = SURFACE.exponents()
    assert found["parametric params"][0] == pytest.approx(of_params, abs=1e-3)
    assert found["parametric loss"][0] == pytest.approx(-SURFACE.beta * of_samples, abs=1e-3)
    assert found["isoflop params"][0] == pytest.approx(of_params, abs=0.03)
    assert all(ends is None for _, ends in found.values())


def test_an_unknown_design_is_refused() -> None:
    with pytest.raises(UserError, match="--design chess"):
        coverage(design="chess")
