"""Refits of many simulated studies at once are the fits of each."""

import math
from dataclasses import astuple

import numpy as np
import pytest

from laws.fitting.bootstrap import Simulated, simulate
from laws.fitting.isoflop import METHODS, Cell, cells_of, grid_of
from laws.fitting.parametric import Misfit, Surface, fit_surface
from laws.fitting.power import fit_offset
from laws.fitting.refits import refit_offsets, refit_surfaces
from laws.study.coverage import Design
from tests.laws.synthetic import fitted, profiles_of

STUDIES = 12


def study(design: Design, seed: int = 0) -> tuple[list[Cell], Surface, Simulated]:
    rows = design.rows(np.random.default_rng(seed))
    found = profiles_of(rows)
    cells = cells_of(found)
    surface = fit_surface(*columns(cells), profiled=False).surface
    simulated = simulate(grid_of([profile.cells for profile in found]), 100, surface)
    assert simulated is not None
    return cells, surface, simulated


def columns(cells: list[Cell]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    params, samples, loss = (
        np.array([getattr(cell, n) for cell in cells], float) for n in ("params", "samples", "loss")
    )
    return params, samples, loss


DESIGNS = [
    pytest.param(Design(7, 6, E=0.3), id="with an offset"),
    pytest.param(Design(7, 6), id="without"),
    pytest.param(Design(5, 4, seeds=3, E=0.3), id="three seeds"),
    pytest.param(Design(9, 4, own=True, drift=True, E=0.3), id="drifting"),
]


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("given", [True, False])
def test_surfaces_of_simulated_studies_are_those_of_each(design: Design, given: bool) -> None:
    cells, start, simulated = study(design)
    params, samples, loss = columns(cells)
    log_loss = simulated.log_loss[:STUDIES][:, simulated.grid.there_BxM]
    found = refit_surfaces(params, samples, loss, start, log_loss)
    assert len(found) == STUDIES
    for one, row in zip(found, log_loss, strict=True):
        alone = fit_surface(params, samples, np.exp(row), start=start if given else None, profiled=False)
        misfit = Misfit.of(params, samples, np.exp(row))
        objective = misfit.derivatives(misfit.theta(one))[0]
        least = misfit.derivatives(misfit.theta(alone.surface))[0]
        assert objective <= least * (1 + 1e-4)
        if objective >= least * (1 - 1e-4):
            assert one.exponents() == pytest.approx(alone.surface.exponents(), abs=1e-4)
            assert astuple(one) == pytest.approx(astuple(alone.surface), rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("method", METHODS)
def test_offsets_of_simulated_studies_are_those_of_each(design: Design, method: str) -> None:
    rows = design.rows(np.random.default_rng(1))
    game = fitted(rows, draws=100)
    assert game.simulated is not None
    law = next(law.power for law in game.laws if (law.y, law.method, law.form) == ("loss", method, "offset"))
    share = law.offset / min(y for _, y in law.points)
    x_SxB, y_SxB = np.broadcast_arrays(*game.simulated.draws[method, "loss"])
    exponent_S, level_S, offset_S = refit_offsets(x_SxB[:40], y_SxB[:40], law.exponent, share)
    compared = 0
    for place in range(40):
        good = np.isfinite(y_SxB[place])
        points = list(zip(np.exp(x_SxB[place, good]).tolist(), np.exp(y_SxB[place, good]).tolist(), strict=True))
        alone = fit_offset(points)
        assert exponent_S[place] == pytest.approx(alone.exponent, rel=1e-4)
        assert offset_S[place] == pytest.approx(alone.offset, rel=1e-4, abs=1e-4 * min(y for _, y in points))
        assert level_S[place] == pytest.approx(math.log(alone.coefficient), rel=1e-4)
        compared += alone.offset > 0
    assert compared or design.E == 0


def test_offsets_of_few_points_are_missing() -> None:
    x = np.log([[1e12, 1e13, 1e14, 1e15]] * 2)
    y = np.log(0.5 + np.exp(8 - 0.3 * x))
    y[1, 2] = np.nan
    exponent, level, offset = refit_offsets(x, y, -0.25, 0.5)
    assert (exponent[0], level[0], offset[0]) == pytest.approx((-0.3, 8, 0.5), rel=1e-6)
    assert np.isnan([exponent[1], level[1], offset[1]]).all()


def test_surfaces_without_noise_are_found_from_a_start_beside_them() -> None:
    design = Design(7, 6, E=0.3)
    params, samples, loss = columns(cells_of(profiles_of(design.rows())))
    beside = Surface(0.25, 50.0, 150.0, 0.28, 0.29)
    [found] = refit_surfaces(params, samples, loss, beside, np.log(loss)[None])
    assert astuple(found) == pytest.approx(astuple(design.surface), rel=1e-4)
