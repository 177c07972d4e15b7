"""The fit of whole games: the paper's exponents, sweeps with known laws, returns, order, units and diagnostics."""

import math
import random
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from agents.atari.cnn import of_params
from laws.fitting import analysis
from laws.fitting.analysis import Fit, GameFit
from laws.fitting.checks import MOVED, check_single_run
from laws.fitting.isoflop import Quantity
from laws.fitting.parametric import HOFFMANN
from laws.report.document import document
from laws.rows.runs import read
from laws.study.coverage import Design
from tests.laws.synthetic import BUDGETS, SIZES, fitted, hoffmann_sweep, only, sweep

# Bootstrap draws take most of the time and change nothing else.
fit = partial(analysis.fit, draws=0)


@pytest.fixture
def nethack(nethack_fit: Fit) -> GameFit:
    return only(nethack_fit)


@pytest.mark.parametrize(
    ("y", "exponent"), [("loss", -0.172), ("params", 0.605), ("samples", 0.395), ("return", 0.340)]
)
def test_the_paper_nethack_exponents(nethack: GameFit, y: Quantity, exponent: float) -> None:
    """If this fails, the envelope is no longer the best cell of each of the 22 budgets."""
    law = nethack.law(y, "envelope")
    assert law is not None
    assert round(law.exponent, 3) == exponent
    assert len(law.points) == 22
    assert law.exponent_ci is not None
    assert law.exponent_ci[0] < exponent < law.exponent_ci[1]


@pytest.mark.parametrize(
    ("y", "interval"),
    [
        ("loss", (-0.191, -0.153)),
        ("params", (0.546, 0.664)),
        ("samples", (0.336, 0.454)),
        ("return", (0.273, 0.408)),
    ],
)
def test_the_paper_nethack_intervals(nethack: GameFit, y: Quantity, interval: tuple[float, float]) -> None:
    law = nethack.law(y, "envelope")
    assert law is not None
    assert law.exponent_ci == pytest.approx(interval, abs=5e-4)


def test_the_paper_exponents_have_intervals_by_bootstrap_of_the_study(nethack: GameFit) -> None:
    """Noise of its trainings is about a hundredth."""
    assert nethack.simulated is not None
    assert 0.008 < nethack.simulated.losses.between < 0.03
    for law in nethack.laws:
        ends = law.exponent_ci
        assert ends is not None
        assert ends[0] <= law.exponent <= ends[1]
        assert ends[1] - ends[0] < 0.6 * abs(law.exponent)
        assert law.discrete == (law.method == "envelope" and law.y in ("params", "samples"))
        # The budgets end at 1e19.
        beyond = law.interval_at(1e20)
        assert beyond is not None
        assert beyond[0] <= float(law.power.predict(1e20)) <= beyond[1]
        assert (law.offset_ci is None) == (law.form == "power")
        if law.offset_ci is not None:
            assert 0.085 < law.offset_ci[0] < law.power.offset < law.offset_ci[1] < 0.135
    assert all(law.exponent_ci is None and law.interval_at(1e20) is None for law in only(fit(sweep())).laws)


def test_single_trainings_move_the_paper_exponents_by_more_than_noise(nethack_fit: Fit, nethack: GameFit) -> None:
    """The published 207 cells are 15 trainings: without one of them, N grows with exponents of 0.52 to 0.64."""
    law = nethack.found("params", "envelope")
    assert law is not None
    assert law.sensitivity == pytest.approx((0.516, 0.644), abs=1e-3)
    messages = [item.message for item in nethack_fit.diagnostics if item.code == "one_run"]
    assert any("params (envelope), 0.605, as far as 0.516," in message for message in messages)
    outside = [
        law
        for law in nethack.laws
        if law.sensitivity
        and law.exponent_ci
        and (law.sensitivity[0] < law.exponent_ci[0] or law.sensitivity[1] > law.exponent_ci[1])
        and max(abs(end - law.exponent) for end in law.sensitivity) > MOVED
    ]
    assert len(messages) == len(outside) > 0


def test_the_window_decides_the_paper_exponent(nethack: GameFit) -> None:
    of_loss = [
        c for c in nethack.choices if (c.y, c.method, c.form, c.weights) == ("loss", "envelope", "power", "equal")
    ]
    assert [(c.window[0], round(c.exponent, 3)) for c in of_loss] == [
        (1e14, -0.172),
        (1e15, -0.145),
        (1e16, -0.115),
        (1e17, -0.083),
        (1e18, -0.056),
    ]


def test_the_paper_vertices_share_compute_between_size_and_samples(nethack: GameFit) -> None:
    """C = 6·N·D in every published cell, so the exponents of N and D must add up to 1."""
    size, samples = nethack.law("params", "isoflop"), nethack.law("samples", "isoflop")
    assert size is not None
    assert samples is not None
    assert size.exponent + samples.exponent == pytest.approx(1, abs=1e-3)
    assert round(size.exponent, 3) == 0.603
    assert len(size.points) == 11


def test_the_paper_return_follows_the_loss(nethack: GameFit) -> None:
    assert nethack.correlation is not None
    assert round(nethack.correlation.r, 3) == -0.977
    assert round(nethack.correlation.power.exponent, 3) == -2.031


def test_a_sweep_with_exact_laws_gives_them_back() -> None:
    found = only(fit(sweep()))
    for y, exponent, tolerance in (("loss", -0.15, 1e-9), ("params", 0.6, 1e-9), ("samples", 0.4, 1e-4)):
        law = next(law.power for law in found.laws if (law.y, law.method) == (y, "isoflop"))
        assert law.exponent == pytest.approx(exponent, abs=tolerance)
    assert found.correlation is not None
    assert found.correlation.power.exponent == pytest.approx(-2)
    assert found.correlation.r == pytest.approx(-1)


def test_the_order_of_rows_changes_not_one_bit() -> None:
    rows = sweep() + sweep("chess")
    shuffled = rows.copy()
    random.Random(0).shuffle(shuffled)
    assert document(fit(rows)) == document(fit(shuffled))


def test_units_of_compute_and_loss_change_no_exponent() -> None:
    found = only(fit(sweep()))
    scaled = [replace(row, flops=row.flops / 1e15, loss=(row.loss or 0) / math.log(2)) for row in sweep()]
    other = only(fit(scaled))
    for law in (law for law in found.laws if law.form == "power"):
        same = other.law(law.y, law.method)
        assert same is not None
        assert same.exponent == pytest.approx(law.power.exponent, rel=1e-7)


def test_returns_that_are_not_positive_are_left_out_and_never_clipped() -> None:
    first, second = BUDGETS[:2]
    rows = [replace(row, return_mean={first: -5.0, second: 0.0}.get(row.flops, row.return_mean)) for row in sweep()]
    found = fit(rows)
    law = only(found).law("return", "envelope")
    assert law is not None
    assert [x for x, _ in law.points] == list(BUDGETS[2:])
    messages = [item for item in found.diagnostics if item.code == "nonpositive_return" and "envelope" in item.message]
    assert [item.flops for item in messages] == [first, second]


def test_a_study_that_does_not_tell_its_noise_has_no_intervals_and_says_so() -> None:
    """Five sizes of one training each: a smooth mean takes up what their noise might be."""
    found = analysis.fit(sweep(), draws=100, choosing=False)
    assert all(law.exponent_ci is None for law in only(found).laws)
    assert all(profile.vertex is None or profile.vertex.params_ci is None for profile in only(found).profiles)
    assert only(found).parametric is not None
    [message] = [item.message for item in found.diagnostics if item.code == "no_interval"]
    assert "trainings: 5, sizes: 5" in message
    assert "three seeds" in message
    seeded = Design(5, 4, seeds=3).rows(np.random.default_rng(0))
    found = analysis.fit(seeded, draws=100, choosing=False)
    assert "no_interval" not in {item.code for item in found.diagnostics}
    assert all(law.exponent_ci for law in only(found).laws)
    assert "no_interval" not in {item.code for item in fit(sweep()).diagnostics}, "none were asked for"


def test_rows_without_returns_still_give_the_other_laws() -> None:
    found = fit([replace(row, return_mean=None, return_se=None) for row in sweep()])
    assert {law.y for law in only(found).laws} == {"loss", "params", "samples"}
    assert only(found).correlation is None
    codes = {item.code for item in found.diagnostics}
    assert "unfittable" in codes
    assert not {"no_return", "few_budgets"} & codes, "nobody expects a law of returns that were not measured"
    rows = [replace(row, return_mean=None) if row.flops == BUDGETS[0] else row for row in sweep()]
    assert [item.flops for item in fit(rows).diagnostics if item.code == "no_return"] == [BUDGETS[0]] * 2


def test_the_envelope_takes_the_greatest_return_and_says_so() -> None:
    rows = [replace(row, return_mean=1e6) if row.params == SIZES[-1] else row for row in sweep()]
    found = fit(rows)
    law = only(found).law("return", "envelope")
    assert law is not None
    assert {y for _, y in law.points} == {1e6}
    assert "best_of_noisy" in {item.code for item in found.diagnostics}


def test_a_law_that_depends_on_one_run_shows_it() -> None:
    """The smallest size with a third of its loss at the last budget takes the exponent from -0.15 to -0.40."""
    spoilt = [
        replace(row, loss=(row.loss or 0) * 0.3) if (row.params, row.flops) == (SIZES[0], BUDGETS[-1]) else row
        for row in sweep()
    ]
    law = only(fit(spoilt)).found("loss", "envelope")
    assert law is not None
    assert law.sensitivity is not None
    assert law.exponent < -0.4
    assert law.sensitivity[1] == pytest.approx(-0.15, abs=0.005)


@pytest.mark.parametrize(
    ("sensitivity", "said"),
    [((-0.3, -0.1), False), ((-0.3, 0.6), False), ((-0.3, 9.0), True), ((-9.0, -0.1), True), (None, False)],
)
def test_exponents_that_move_far_out_of_their_interval_without_one_run_are_named(
    sensitivity: tuple[float, float] | None, said: bool
) -> None:
    game = fitted(Design(7, 6, noise=0.02).rows(np.random.default_rng(0)), draws=100)
    law = game.found("loss", "isoflop")
    assert law is not None
    assert law.exponent_ci is not None
    within = None
    if sensitivity is not None:
        half = (law.exponent_ci[1] - law.exponent_ci[0]) / 2
        middle = law.exponent_ci[0] + half
        within = middle + 2 * half * sensitivity[0], middle + 2 * half * sensitivity[1]
    assert bool(check_single_run("planted", [replace(law, sensitivity=within)])) is said


def test_one_budget_gives_no_law_and_says_so() -> None:
    found = fit([row for row in sweep() if row.flops == BUDGETS[0]])
    assert only(found).laws == ()
    assert "few_budgets" in {item.code for item in found.diagnostics}


@pytest.mark.parametrize(("field", "code"), [("flop_convention", "mixed_convention"), ("protocol", "mixed_protocol")])
def test_rows_that_do_not_compare_are_named(field: str, code: str) -> None:
    rows = sweep()
    mixed = [replace(row, **{field: "ab"[i % 2]}) for i, row in enumerate(rows)]
    assert code in {item.code for item in fit(mixed).diagnostics}
    assert code not in {item.code for item in fit(rows).diagnostics}


def test_vertices_and_offsets_have_intervals_by_bootstrap_of_the_study() -> None:
    """Around what the same sweep gives without noise."""
    found = analysis.fit(hoffmann_sweep(0.01, seed=3, sizes=9), draws=200)
    game, clean = only(found), fitted(hoffmann_sweep(sizes=9))
    covered = []
    for profile, exact in zip(game.profiles, clean.profiles, strict=True):
        assert profile.vertex is not None
        assert exact.vertex is not None
        ends = profile.vertex.params_ci
        assert ends is not None
        assert ends[0] <= profile.vertex.params <= ends[1] < 4 * ends[0]
        assert profile.vertex.params_ci_residuals is not None
        covered.append(ends[0] <= exact.vertex.params <= ends[1])
    assert sum(covered) >= len(covered) - 1
    offsets = [law for law in game.laws if law.form == "offset"]
    assert {law.method for law in offsets} == {"envelope", "isoflop"}
    for law in offsets:
        truth = clean.law("loss", law.method, "offset")
        assert truth is not None
        assert law.exponent_ci is not None
        assert law.exponent_ci[0] <= truth.exponent <= law.exponent_ci[1]
        assert law.offset_ci is not None
        assert law.offset_ci[0] <= truth.offset == pytest.approx(HOFFMANN.E, abs=1e-3)
        assert truth.offset <= law.offset_ci[1]
    records = document(found)["profiles"]
    assert [each["flops"] for each in records] == sorted({profile.flops for profile in game.profiles})
    assert all(each["vertex"]["params_ci"] and each["vertex"]["params_ci_residuals"] for each in records)


def test_intervals_depend_on_the_noise_and_not_on_the_draws() -> None:
    """Twice the noise, about twice the width; more draws change it little."""

    def width(noise: float, draws: int, seed: int) -> float:
        design = Design(9, 5, noise=noise, loss_noise=noise / 5)
        law = fitted(design.rows(np.random.default_rng(seed)), draws=draws).found("loss", "isoflop")
        assert law is not None
        assert law.exponent_ci is not None
        return law.exponent_ci[1] - law.exponent_ci[0]

    ratios = [width(0.02, 300, seed) / width(0.01, 300, seed) for seed in range(4)]
    assert 1.6 < float(np.exp(np.mean(np.log(ratios)))) < 2.6
    assert width(0.01, 300, 2) == pytest.approx(width(0.01, 1000, 2), rel=0.2)
    assert width(0.01, 300, 2) == width(0.01, 300, 2)


@pytest.mark.parametrize(
    ("game", "given", "exact"),
    [
        ("Breakout", 0.727, 0.646),
        ("BankHeist", 0.427, 0.393),
        ("BattleZone", 0.413, 0.381),
        ("NameThisGame", 0.558, 0.502),
    ],
)
def test_the_overcount_of_convolutions_made_the_atari_exponents_larger(
    paper: Path, game: str, given: float, exact: float
) -> None:
    """The paper counts a convolution at its input's resolution, and an input gradient of the first: training of its
    smallest network costs a 23rd of that, of its largest a fifth. True compute grows faster over its budgets."""
    rows = []
    for row in read([paper / f"{game}.csv"]).rows:
        network = of_params(row.params)
        assert network is not None
        rows.append(replace(row, flops_exact=float(network.cost().train_flops("exact") * row.samples)))
    found = {
        (choice.convention, choice.budgets): choice.exponent
        for choice in only(fit(rows)).choices
        if (choice.y, choice.method, choice.weights) == ("params", "envelope", "equal")
    }
    assert round(found["as given", 16], 3) == given
    assert round(found["exact", 16], 3) == exact
