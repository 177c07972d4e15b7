"""The noise of a study: planted standard deviations come back, and draws have the planted covariance."""

import math
from dataclasses import replace

import numpy as np
import pytest

from laws.fitting.isoflop import grid_of
from laws.fitting.noise import BLOCK, NoiseModel, matched_normal, noise_of
from laws.fitting.parabola import Grid
from laws.study.coverage import SURFACE, Design
from tests.laws.synthetic import profiles_of

STUDIES = 40
BETWEEN, WITHIN, ERROR = 0.02, 0.006, 0.003


def planned(design: Design) -> Grid:
    """The cells of the design, with exact losses."""
    return grid_of([profile.cells for profile in profiles_of(design.rows())])


def measured(grid: Grid, between: float, within: float, error: float, seed: int) -> np.ndarray:
    """ln loss of one noisy study."""
    random = np.random.default_rng(seed)
    of_runs = between * random.standard_normal(len(grid.runs))[grid.run_BxM]
    own = math.hypot(within, error) * random.standard_normal(grid.run_BxM.shape)
    return np.where(grid.there_BxM, grid.log_loss_BxM, np.nan) + of_runs + own


def told(grid: Grid, value_BxM: np.ndarray, error: float) -> NoiseModel:
    place = grid.log_params_BxM, grid.log_samples_BxM, grid.run_BxM
    found = noise_of(value_BxM, np.full(value_BxM.shape, error), *place, SURFACE)
    assert found is not None
    return found


def typical(design: Design, between: float, within: float, error: float = ERROR) -> tuple[float, float]:
    """Root mean squares of the estimates of both standard deviations."""
    grid = planned(design)
    found = [told(grid, measured(grid, between, within, error, seed), error) for seed in range(STUDIES)]
    return root_mean_square([each.between for each in found]), root_mean_square([each.within for each in found])


def root_mean_square(values: list[float]) -> float:
    return math.sqrt(float(np.mean(np.square(values))))


def test_one_run_a_size_tells_both_deviations() -> None:
    between, within = typical(Design(9, 6), BETWEEN, WITHIN)
    assert between == pytest.approx(BETWEEN, rel=0.15)
    assert within == pytest.approx(WITHIN, rel=0.15)


def test_three_seeds_a_size_tell_both_deviations() -> None:
    between, within = typical(Design(5, 4, seeds=3), BETWEEN, WITHIN)
    assert between == pytest.approx(BETWEEN, rel=0.15)
    assert within == pytest.approx(WITHIN, rel=0.15)


@pytest.mark.parametrize("drift", [False, True])
def test_cells_that_are_runs_of_their_own_tell_what_their_errors_leave(drift: bool) -> None:
    between, within = typical(Design(7, 6, own=True, drift=drift), BETWEEN, 0.0)
    assert between == pytest.approx(BETWEEN, rel=0.15)
    assert within == 0


def test_noise_of_measurement_alone_is_not_taken_for_that_of_runs() -> None:
    between, within = typical(Design(9, 6), 0.0, 0.0, error=0.02)
    assert between < 0.01
    assert within < 0.01


def test_misfit_of_the_mean_is_not_taken_for_noise_where_sizes_are_replicated() -> None:
    """A step in the losses of the largest size, which no smooth mean follows."""
    grid = planned(Design(5, 4, seeds=3))
    largest = grid.log_params_BxM == grid.log_params_BxM.max()
    found = []
    for seed in range(STUDIES):
        value = measured(grid, BETWEEN, WITHIN, ERROR, seed) + 0.3 * largest
        found.append(told(grid, value, ERROR))
    assert all(each.replicated for each in found)
    assert root_mean_square([each.between for each in found]) == pytest.approx(BETWEEN, rel=0.15)


def test_runs_that_stop_early_still_tell_both_deviations() -> None:
    """One of the three seeds of each size has the first three of six budgets only.

    Means of three and of two runs differ by the runs' noise, which is none within them.
    """
    whole = planned(Design(6, 6, seeds=3))
    stopped = np.array(["seed 2" in run for run in whole.runs])[whole.run_BxM] & (np.arange(6)[:, None] >= 3)
    grid = replace(whole, log_loss_BxM=np.where(stopped, np.inf, whole.log_loss_BxM))
    found = [told(grid, measured(grid, BETWEEN, WITHIN, ERROR, seed), ERROR) for seed in range(STUDIES)]
    assert all(each.replicated for each in found)
    assert all(11 < each.freedom <= 12 for each in found)
    assert root_mean_square([each.between for each in found]) == pytest.approx(BETWEEN, rel=0.15)
    assert root_mean_square([each.within for each in found]) == pytest.approx(WITHIN, rel=0.15)


def test_draws_have_the_planted_moments() -> None:
    """Cells of one run share its noise, those of two runs share none; in every block without error of sampling."""
    grid = planned(Design(4, 3, seeds=2))
    found = told(grid, measured(grid, BETWEEN, WITHIN, ERROR, 0), ERROR)
    model = replace(found, between=0.03, within=0.01, error_BxM=np.full(grid.run_BxM.shape, 0.02))
    draws, shared = model.draw(2 * BLOCK, seed=3)
    assert draws.shape == (2 * BLOCK, *grid.run_BxM.shape)
    assert shared.shape == (2 * BLOCK, len(grid.runs))
    run_P = grid.run_BxM.ravel()
    expected = 0.03**2 * (run_P[:, None] == run_P) + (0.01**2 + 0.02**2) * np.eye(len(run_P))
    for flat in draws.reshape(2, BLOCK, -1):
        assert np.cov(flat.T, bias=True) == pytest.approx(expected, abs=1e-12)
        assert flat.mean(axis=0) == pytest.approx(model.mean_BxM.ravel(), abs=1e-12)
    for run in range(len(grid.runs)):
        cells = draws[:, grid.run_BxM == run].mean(axis=1)
        assert np.corrcoef(cells, shared[:, run])[0, 1] > 0.85


@pytest.mark.parametrize("columns", [5, 290, 700])
def test_matched_noise_is_normal_noise(columns: int) -> None:
    """Its quantiles, of single variables and of sums of them, are those of the normal distribution."""
    drawn = matched_normal(np.random.default_rng(0), 3 * BLOCK, columns)
    assert np.mean(drawn**2, axis=0) == pytest.approx(1)
    assert np.mean(drawn, axis=0) == pytest.approx(0, abs=1e-12)
    others = [matched_normal(np.random.default_rng(seed), BLOCK, columns) for seed in range(1, 30)]
    weight = np.random.default_rng(2).standard_normal(columns)
    sums = np.concatenate(others) @ weight / np.linalg.norm(weight)
    single = np.concatenate(others)[:, 0]
    for value in (sums, single):
        assert np.quantile(value, [0.025, 0.5, 0.975]) == pytest.approx([-1.96, 0, 1.96], abs=0.06)


def test_draws_of_padding_are_missing() -> None:
    rows = Design(7, 6).rows()
    grid = grid_of([profile.cells for profile in profiles_of([row for row in rows[:-2] if row.loss])])
    found = told(grid, measured(grid, BETWEEN, WITHIN, ERROR, 0), ERROR)
    draws, _ = found.draw(5)
    assert np.array_equal(np.isfinite(draws), np.broadcast_to(grid.there_BxM, draws.shape))


@pytest.mark.parametrize(("sizes", "budgets", "seeds"), [(5, 4, 3), (4, 4, 3), (6, 3, 2), (3, 5, 4)])
def test_replicated_designs_have_the_degrees_of_freedom_of_analysis_of_variance(
    sizes: int, budgets: int, seeds: int
) -> None:
    """Between runs: each size's runs less one. Within: each run's cells less one, of these."""
    grid = planned(Design(sizes, budgets, seeds=seeds))
    found = told(grid, measured(grid, BETWEEN, WITHIN, ERROR, 1), ERROR)
    assert found.replicated
    assert found.freedom == pytest.approx(sizes * (seeds - 1))
    assert found.freedom_within == pytest.approx(sizes * (seeds - 1) * (budgets - 1))


def test_replicated_cells_of_their_own_have_their_degrees_of_freedom() -> None:
    grid = planned(Design(5, 4, seeds=3, own=True))
    found = told(grid, measured(grid, BETWEEN, 0.0, ERROR, 1), ERROR)
    assert found.replicated
    assert found.freedom == pytest.approx(5 * 4 * 2)
    assert found.freedom_within == 0


def test_single_runs_have_what_the_mean_leaves() -> None:
    """At most the cells less the terms of the mean, and at most the runs less those that tell sizes apart."""
    grid = planned(Design(9, 6))
    found = told(grid, measured(grid, BETWEEN, WITHIN, ERROR, 1), ERROR)
    terms = {"quadratic": 6, "cubic": 10, "quartic": 15, "quintic": 21, "L(N, D)": 5}[found.mean]
    assert not found.replicated
    assert 9 - terms <= found.freedom < 9 - 1
    assert found.freedom + found.freedom_within == pytest.approx(grid.there_BxM.sum() - terms, abs=1 + 1e-6)


def test_too_few_cells_tell_no_noise() -> None:
    grid = planned(Design(3, 1))
    value = measured(grid, BETWEEN, WITHIN, ERROR, 1)
    place = grid.log_params_BxM, grid.log_samples_BxM, grid.run_BxM
    assert noise_of(value, np.full(value.shape, ERROR), *place) is None


def unequal(design: Design, power: float, seed: int) -> NoiseModel:
    """The noise that is told of a study whose noise between runs grows with a power of the loss."""
    grid = planned(design)
    random = np.random.default_rng(seed)
    exact = np.where(grid.there_BxM, grid.log_loss_BxM, np.nan)
    scale_BxM = np.exp(power * (exact - np.nanmean(exact)))
    of_runs = BETWEEN * random.standard_normal(len(grid.runs))[grid.run_BxM]
    own = WITHIN * random.standard_normal(grid.run_BxM.shape)
    return told(grid, exact + scale_BxM * (of_runs + own), ERROR)


def test_noise_that_grows_with_the_loss_is_told_of_by_replicates() -> None:
    """From the least to the greatest loss, 4 times as large here, the noise grows 16 times."""
    design = Design(8, 5, seeds=3)
    grid = planned(design)
    steps, betweens = [], []
    for seed in range(STUDIES):
        found = unequal(design, 2.0, seed)
        rise = found.scale_BxM[grid.there_BxM].max() / found.scale_BxM[grid.there_BxM].min()
        steps.append(math.log(rise) / np.ptp(grid.log_loss_BxM[grid.there_BxM]))
        betweens.append(found.between)
    assert float(np.median(steps)) == pytest.approx(2.0, rel=0.15)
    assert root_mean_square(betweens) == pytest.approx(BETWEEN, rel=0.15)


def test_equal_noise_is_seldom_taken_for_unequal() -> None:
    found = [unequal(Design(8, 5, seeds=3), 0.0, seed) for seed in range(STUDIES)]
    assert sum(bool(np.ptp(each.scale_BxM)) for each in found) <= 0.15 * STUDIES
    once = [unequal(Design(8, 5), 2.0, seed) for seed in range(3)]
    assert not any(np.ptp(each.scale_BxM) for each in once), "runs of sizes that were trained once tell nothing of it"


def test_draws_of_unequal_noise_have_its_standard_deviations() -> None:
    found = unequal(Design(8, 5, seeds=3), 2.0, 0)
    drawn, _ = found.draw(2 * BLOCK)
    there = np.isfinite(found.mean_BxM)
    expected = np.hypot(found.scale_BxM * math.hypot(found.between, found.within), found.error_BxM)
    assert np.std(drawn, axis=0)[there] == pytest.approx(expected[there], rel=0.2)
    assert float(np.mean(np.std(drawn, axis=0)[there] / expected[there])) == pytest.approx(1, rel=0.02)
