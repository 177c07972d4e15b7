"""Random known laws: fits are unbiased, and intervals have their nominal coverage."""

import math

import numpy as np
import pytest

from eval.results import ResultRow
from laws.fitting.analysis import fit
from laws.fitting.isoflop import grid_of, profiles
from laws.fitting.parabola import parabolas
from laws.fitting.parametric import HOFFMANN, Surface
from laws.fitting.power import fit_power

STUDIES = 200


def study(surface: Surface, budgets: np.ndarray, sizes: int, reach: float, noise: float, seed: int) -> list[ResultRow]:
    """Sizes within a factor `reach` of each budget's best, C = 6·N·D, every cell a training of its own."""
    random, rows = np.random.default_rng(seed), []
    for flops in budgets:
        best = float(surface.optimum(flops).params)
        for place, params in enumerate(np.geomspace(best / reach, best * reach, sizes)):
            samples = flops / 6 / params
            loss = float(surface.predict(params, samples)) * math.exp(noise * random.normal())
            rows.append(ResultRow("text", f"{flops:g}-{place}", float(flops), round(params), round(samples), loss))
    return rows


def planted(seed: int) -> tuple[Surface, float, list[ResultRow]]:
    """A random law, its noise of 0.1 to 3 %, and a study of it with 4 to 9 budgets."""
    random = np.random.default_rng(seed)
    alpha, beta = random.uniform(0.25, 0.6, 2)
    surface = Surface(random.uniform(0, 0.5), random.uniform(50, 500), random.uniform(50, 500), alpha, beta)
    budgets = np.logspace(17, 21, random.integers(4, 10))
    noise = random.uniform(0.001, 0.03)
    return surface, noise, study(surface, budgets, 9, 8.0, noise, seed)


def test_the_known_bias_of_parabolas() -> None:
    """Parabolas of an asymmetric law are biased: the vertices have the right exponent and the wrong coefficient."""
    rows = study(HOFFMANN, np.logspace(17, 21, 5), 15, 16.0, 0.0, 0)
    found, _ = profiles("text", rows)
    grid = grid_of([profile.cells for profile in found])
    u_B = parabolas(grid, np.exp(grid.log_loss_BxM), np.inf).vertex_B
    law = fit_power([(flops, flops / 6 / 10**u) for flops, u in zip(grid.flops_B.tolist(), u_B.tolist(), strict=True)])
    assert law.exponent == pytest.approx(0.548387, abs=1e-6)
    assert math.log10(law.coefficient) == pytest.approx(-0.578092, abs=1e-4)
    [game] = fit(rows, draws=0).games
    assert game.parametric is not None
    truth = game.parametric.power("samples")
    assert truth is not None
    assert truth.exponent == pytest.approx(0.548387, abs=1e-5)
    assert math.log10(truth.coefficient) == pytest.approx(-0.555357, abs=1e-3)


def test_exponents_are_unbiased_and_their_intervals_cover_them() -> None:
    """Of the vertices' law of N, in 200 studies of random laws."""
    error, covered = [], []
    for seed in range(STUDIES):
        surface, _, rows = planted(seed)
        found, _ = profiles("text", rows)
        points = [(profile.flops, profile.vertex.params) for profile in found if profile.vertex]
        if len(points) < 3:
            continue
        law, truth = fit_power(points), surface.exponents()[0]
        assert law.exponent_ci is not None
        error.append(law.exponent - truth)
        covered.append(law.exponent_ci[0] <= truth <= law.exponent_ci[1])
    assert len(covered) > 0.95 * STUDIES
    assert abs(np.mean(error)) < 3 * np.std(error) / math.sqrt(len(error))
    assert 0.90 <= np.mean(covered) <= 0.99


@pytest.mark.slow
def test_the_parametric_fit_is_unbiased_and_its_intervals_cover_it() -> None:
    """By bootstrap of the study, in 40 studies of random laws: by chance 35 to 40 of them are covered."""
    error, covered = [], []
    for seed in range(40):
        surface, _, rows = planted(1000 + seed)
        [game] = fit(rows, draws=200, choosing=False).games
        assert game.parametric is not None
        ends, truth = game.parametric.intervals["params"], surface.exponents(game.parametric.price)[0]
        assert ends is not None
        error.append(game.parametric.values["params"] - truth)
        covered.append(ends[0] <= truth <= ends[1])
    assert abs(np.mean(error)) < 3 * np.std(error) / math.sqrt(len(error))
    assert np.mean(covered) >= 0.87
