"""The bootstrap of a study: it reads the cells as the report does, one study or many, and gives basic intervals."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval.results import ResultRow
from laws.fitting.bootstrap import MIN_DRAWS, MOST_LEFT_OUT, RunNoise, basic, optima, simulate, slopes, without_each_run
from laws.fitting.isoflop import METHODS, QUANTITIES, grid_of, profiles
from laws.fitting.law import fit_laws, points_of, spread_of
from laws.fitting.parabola import Grid
from laws.fitting.power import LEVEL, Z95
from laws.rows.runs import read
from laws.study.coverage import SURFACE, Design
from tests.laws.synthetic import fitted, hoffmann_sweep, profiles_of, sweep

GAMES = ("nethack", "BankHeist", "BattleZone", "Breakout", "NameThisGame")


def simulated_rows(design: Design, seed: int = 0) -> list[ResultRow]:
    return design.rows(np.random.default_rng(seed))


def with_two_seeds(rows: list[ResultRow]) -> list[ResultRow]:
    """Each training twice, the second with other losses, returns and lengths."""
    random = np.random.default_rng(0)
    return rows + [
        replace(
            row,
            run=f"{row.run} again",
            samples=round(row.samples * random.uniform(0.9, 1.1)),
            loss=(row.loss or 0) * random.uniform(0.95, 1.05),
            return_mean=None if row.return_mean is None else row.return_mean * random.uniform(0.8, 1.2),
        )
        for row in rows
    ]


def grid_from(rows: list[ResultRow]) -> Grid:
    return grid_of([profile.cells for profile in profiles_of(rows)])


def assert_read_as_reported(rows: list[ResultRow], least: int = 5) -> None:
    """The optima of the arrays are the points of the laws, for every method and quantity."""
    found, _ = profiles(rows[0].game, rows, least=least)
    grid = grid_of([profile.cells for profile in found])
    drawn = optima(grid, grid.log_loss_BxM, grid.return_BxM, least)
    powers = {(law.y, law.method): law.power for law in fit_laws("", found)[0] if law.form == "power"}
    compared = 0
    for method in METHODS:
        for y in QUANTITIES:
            points, _ = points_of("", found, y, method)
            x_B, y_B = np.broadcast_arrays(*drawn[method, y])
            good = np.isfinite(y_B)
            read_off = np.exp(np.stack([x_B[good], y_B[good]], axis=1))
            assert read_off == pytest.approx(np.array(points).reshape(-1, 2), rel=1e-9), (method, y)
            if len(points) > 1:
                assert powers[y, method].points == tuple(points)
                assert slopes(x_B, y_B)[0] == pytest.approx(powers[y, method].exponent, abs=1e-9)
                compared += 1
    assert compared >= 3


@pytest.mark.parametrize("game", GAMES)
def test_the_papers_optima_are_the_points_of_the_reported_laws(paper: Path, game: str) -> None:
    rows = list(read([paper / f"{game}.csv"]).rows)
    assert_read_as_reported(rows)
    assert_read_as_reported(rows, least=3)
    assert_read_as_reported(with_two_seeds(rows))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(sweep(), id="exact"),
        pytest.param(with_two_seeds(sweep()), id="two seeds"),
        pytest.param(hoffmann_sweep(0.02, seed=4), id="own runs without returns"),
        pytest.param([replace(row, return_mean=None) if row.params > 1e5 else row for row in sweep()], id="few played"),
        pytest.param([replace(row, return_mean=5 - (row.loss or 0) * 10) for row in sweep()], id="some below zero"),
        pytest.param(simulated_rows(Design(5, 4, seeds=3)), id="three seeds"),
        pytest.param(simulated_rows(Design(9, 5, own=True, drift=True, noise=0.03)), id="drifting"),
    ],
)
def test_the_optima_of_sweeps_are_the_points_of_the_reported_laws(rows: list[ResultRow]) -> None:
    assert_read_as_reported(rows)


def test_many_studies_at_once_are_as_one_at_a_time() -> None:
    """With ties, missing returns, and studies that lack whole sizes."""
    rows = with_two_seeds(sweep())
    grid = grid_from([replace(row, return_mean=None) if row.params == 30_000 else row for row in rows])
    random = np.random.default_rng(1)
    loss = grid.log_loss_BxM + 0.1 * random.standard_normal((20, *grid.log_loss_BxM.shape))
    loss[random.random(loss.shape) < 0.15] = np.inf
    returns = grid.return_BxM + random.standard_normal(loss.shape)
    together = optima(grid, loss, returns)
    some_missing = 0
    for place in range(20):
        for key, (x_B, y_B) in optima(grid, loss[place], returns[place]).items():
            x_SxB, y_SxB = np.broadcast_arrays(*together[key])
            np.testing.assert_allclose(y_SxB[place], y_B, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(x_SxB[place], np.broadcast_to(x_B, y_B.shape), rtol=1e-12)
            some_missing += int(np.isnan(y_B).any())
    assert some_missing


def test_each_run_is_left_out_in_turn() -> None:
    """What is left is the study of the other rows; budgets that lose all their cells have no optimum."""
    rows = simulated_rows(Design(7, 4))
    grid = grid_from(rows)
    found = without_each_run(grid)
    assert found is not None
    for place, run in enumerate(grid.runs):
        rest = grid_from([row for row in rows if row.run != run])
        for key, (_, y_B) in optima(rest, rest.log_loss_BxM, rest.return_BxM).items():
            np.testing.assert_allclose(found[key][1][place], y_B, rtol=1e-9, atol=1e-9, err_msg=f"{run} {key}")
    alone = without_each_run(grid_from([row for row in rows if row.run == rows[0].run]))
    assert alone is None, "of one run nothing is left"
    pair = [row for row in rows if row.run == grid.runs[0] or (row.run == grid.runs[1] and row.flops > 1e14)]
    left = without_each_run(grid_from(pair))
    assert left is not None
    assert np.isnan(left["envelope", "loss"][1][0, :2]).all()
    assert np.isfinite(left["envelope", "loss"][1][1]).all()
    many = [replace(row, run=f"{place}") for place, row in enumerate(rows * (MOST_LEFT_OUT // len(rows) + 1))]
    assert without_each_run(grid_from(many)) is None


def test_runs_of_a_population_are_left_out_together() -> None:
    rows = [replace(row, population=row.run[:6]) for row in simulated_rows(Design(5, 4, seeds=2))]
    grid = grid_from(rows)
    assert grid.runs == tuple(f"size {place}" for place in range(5))
    found = without_each_run(grid)
    assert found is not None
    assert found["envelope", "loss"][1].shape == (5, 4)


def known_noise(drawn_SxR: np.ndarray) -> RunNoise:
    """Runs whose variance is known without error."""
    trial = np.random.default_rng(9).standard_normal((2000, drawn_SxR.shape[1]))
    return RunNoise(drawn_SxR, trial, np.ones(2000), np.ones(2000))


def test_an_interval_is_the_estimate_less_what_noise_does_to_it() -> None:
    """Normal noise with a bias of 3 and a standard deviation of 2, known exactly."""
    drawn_SxR = np.random.default_rng(0).standard_normal((20_000, 3))
    drawn_S = 100 + 3 + 2 * drawn_SxR[:, 0]
    ends = basic(42.0, drawn_S, 100.0, [known_noise(drawn_SxR)])
    assert ends is not None
    assert ends == pytest.approx((42 - 3 - 2 * Z95, 42 - 3 + 2 * Z95), abs=0.25)
    shifted = basic(52.0, drawn_S, 100.0, [known_noise(drawn_SxR)])
    assert shifted == pytest.approx((ends[0] + 10, ends[1] + 10))


def test_an_interval_reaches_to_an_estimate_that_noise_biases_by_more_than_it_scatters() -> None:
    drawn_SxR = np.random.default_rng(0).standard_normal((20_000, 3))
    for bias in (-9, 9):
        ends = basic(42.0, bias + 2 * drawn_SxR[:, 0], 0.0, [known_noise(drawn_SxR)])
        assert ends is not None
        assert 42.0 in ends
        assert ends[0] < 42 - bias < ends[1]


def test_an_interval_allows_for_skewed_noise() -> None:
    """What noise adds rarely but much is taken off the estimate's lower side."""
    drawn_SxR = np.random.default_rng(0).standard_normal((20_000, 1))
    ends = basic(0.0, np.exp(drawn_SxR[:, 0]) - 1, 0.0, [known_noise(drawn_SxR)])
    assert ends is not None
    assert -ends[0] > 4 * ends[1] > 0


def test_an_interval_is_as_wide_as_few_runs_make_it() -> None:
    """With one run of 4 degrees of freedom, Student's t is wider by 2.776 / 1.960."""
    random = np.random.default_rng(0)
    drawn_SxR = random.standard_normal((20_000, 1))
    ratio = np.sqrt(random.chisquare(4, 2000) / 4)
    noise = RunNoise(drawn_SxR, random.standard_normal((2000, 1)), ratio, np.ones(2000))
    ends = basic(0.0, drawn_SxR[:, 0], 0.0, [noise])
    assert ends is not None
    assert (ends[1] - ends[0]) / 2 == pytest.approx(2.776, rel=0.1)
    assert LEVEL == 0.95


def test_an_interval_needs_enough_draws_with_a_value() -> None:
    drawn_SxR = np.random.default_rng(0).standard_normal((2 * MIN_DRAWS, 2))
    drawn_S = drawn_SxR.sum(axis=1)
    noise = [known_noise(drawn_SxR)]
    assert basic(0.0, drawn_S, 0.0, noise) is not None
    assert basic(math.nan, drawn_S, 0.0, noise) is None
    assert basic(0.0, drawn_S, math.nan, noise) is None
    a_tenth = np.where(np.arange(len(drawn_S)) % 10 == 0, np.nan, drawn_S)
    assert basic(0.0, a_tenth, 0.0, noise) is not None
    a_fifth = np.where(np.arange(len(drawn_S)) % 5 == 0, np.inf, drawn_S)
    assert basic(0.0, a_fifth, 0.0, noise) is None, "noise often makes the estimate impossible"
    few = MIN_DRAWS - 1
    assert basic(0.0, drawn_S[:few], 0.0, [known_noise(drawn_SxR[:few])]) is None


def test_a_study_is_simulated_where_it_tells_its_noise() -> None:
    grid = grid_from(simulated_rows(Design(7, 6)))
    assert simulate(grid, MIN_DRAWS - 1) is None
    found = simulate(grid, MIN_DRAWS, SURFACE)
    assert found is not None
    again = simulate(grid, MIN_DRAWS, SURFACE)
    assert again is not None
    assert np.array_equal(found.log_loss, again.log_loss, equal_nan=True)
    for key, (_, y_SxB) in found.draws.items():
        assert y_SxB.shape == (MIN_DRAWS, 6)
        assert np.broadcast_to(found.clean[key][1], 6).shape == (6,)
    assert simulate(grid_from(sweep()[::3]), MIN_DRAWS) is None


def test_the_law_of_simulated_studies_lies_about_that_of_the_study() -> None:
    """Bias by noise is small against its spread for the vertices, and the envelope's losses are too low."""
    game = fitted(simulated_rows(Design(9, 6)), draws=400)
    assert game.simulated is not None
    for y in QUANTITIES:
        law = game.law(y, "isoflop")
        assert law is not None
        spread = spread_of(game.simulated, law, "isoflop", y)
        off = spread.exponent_S[np.isfinite(spread.exponent_S)] - spread.clean[0]
        assert abs(np.mean(off)) < np.std(off), y
    drawn, clean = game.simulated.draws["envelope", "loss"][1], game.simulated.clean["envelope", "loss"][1]
    assert np.all(drawn.mean(axis=0) < clean)


def test_laws_without_noise_have_intervals_of_no_width() -> None:
    rows = [replace(row, loss_se=None, return_se=None) for row in Design(7, 6).rows()]
    for law in fitted(rows, draws=100).laws:
        if law.discrete or law.y == "return":
            continue
        ends = law.exponent_ci
        assert ends is not None
        assert ends[1] - ends[0] < 5e-3 * abs(law.exponent), (law.y, law.method)


def test_an_offset_at_its_bound_has_an_interval_above_it() -> None:
    """A fitted E of 0 doesn't say that E is 0."""
    at_bound = 0
    for seed in range(6):
        game = fitted(Design(5, 5, seeds=3).rows(np.random.default_rng(seed)), draws=400)
        assert game.parametric is not None
        found = [(law.power.offset, law.offset_ci) for law in game.laws if law.form == "offset"]
        found.append((game.parametric.values["E"], game.parametric.intervals["E"]))
        for offset, ends in found:
            assert ends is not None
            assert ends[0] <= offset <= ends[1]
            if offset < 1e-6:
                at_bound += 1
                assert ends[0] == 0
                assert ends[1] > 0.005
    assert at_bound > 3


def test_intervals_of_returns_do_not_depend_on_the_unit_of_the_score() -> None:
    rows = Design(7, 6).rows(np.random.default_rng(0))
    first = min(rows, key=lambda row: row.return_mean or 0)

    def of(unit: float) -> tuple[float, tuple[float, float] | None]:
        scored = [
            replace(row, return_mean=unit * (-0.1 if row is first else row.return_mean or 0), return_se=None)
            for row in rows
        ]
        game = fitted(scored, draws=400)
        assert game.simulated is not None
        assert game.simulated.returns is not None
        law = game.found("return", "envelope")
        assert law is not None
        return game.simulated.returns.between / unit, law.exponent_ci

    (between, ends), *others = [of(unit) for unit in (1.0, 1000.0, 1e-3)]
    for other, other_ends in others:
        assert other == pytest.approx(between, rel=1e-3)
        assert other_ends == pytest.approx(ends, rel=1e-3)
