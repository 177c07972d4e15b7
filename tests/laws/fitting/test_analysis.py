"""The fit of whole games: the paper's exponents, sweeps with known laws, returns, order, units and diagnostics."""

import math
import random
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from agents.atari.cnn import of_params
from laws.fitting import analysis
from laws.fitting.analysis import Fit, GameFit
from laws.fitting.isoflop import Quantity
from laws.fitting.parametric import HOFFMANN
from laws.report.document import document
from laws.rows.runs import read
from tests.laws.synthetic import BUDGETS, SIZES, hoffmann_sweep, only, sweep

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


def test_runs_are_far_fewer_than_cells(nethack: GameFit) -> None:
    """The published 207 cells are 15 trainings: the interval of N widens to 0.36 to 0.67."""
    [law] = [law for law in nethack.laws if (law.y, law.method) == ("params", "envelope")]
    assert law.runs_ci == pytest.approx((0.36, 0.67), abs=0.015)
    assert fit(sweep()).games[0].laws[0].runs_ci is None


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
    assert round(size.exponent, 3) == 0.576
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
    assert "no_interval" in {item.code for item in found.diagnostics}


def test_rows_without_returns_still_give_the_other_laws() -> None:
    found = fit([replace(row, return_mean=None, return_se=None) for row in sweep()])
    assert {law.y for law in only(found).laws} == {"loss", "params", "samples"}
    assert only(found).correlation is None
    assert {"no_return", "few_budgets", "unfittable"} <= {item.code for item in found.diagnostics}


def test_the_envelope_takes_the_greatest_return_and_says_so() -> None:
    rows = [replace(row, return_mean=1e6) if row.params == SIZES[-1] else row for row in sweep()]
    found = fit(rows)
    law = only(found).law("return", "envelope")
    assert law is not None
    assert {y for _, y in law.points} == {1e6}
    assert "best_of_noisy" in {item.code for item in found.diagnostics}


def test_a_law_that_depends_on_one_run_says_so() -> None:
    rows = sweep()
    spoilt = [
        replace(row, loss=(row.loss or 0) * 0.3) if (row.params, row.flops) == (SIZES[0], BUDGETS[-1]) else row
        for row in rows
    ]
    messages = [item.message for item in fit(spoilt).diagnostics if item.code == "one_run"]
    assert any("r10000" in message for message in messages)


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


def test_vertices_and_offsets_have_intervals_by_run() -> None:
    """Around the truth, Hoffmann's law: N = 0.6·C^0.45 at the vertex, and what its loss falls to."""
    rows = hoffmann_sweep(0.01, seed=3, sizes=9)
    found = analysis.fit(rows, draws=200)
    profiles = only(found).profiles
    covered = []
    for profile in profiles:
        assert profile.vertex is not None
        ends = profile.vertex.params_ci_runs
        assert ends is not None
        covered.append(ends[0] / 1.2 <= float(HOFFMANN.optimum(profile.flops).params) <= ends[1] * 1.2)
    assert sum(covered) >= len(covered) - 2
    offsets = [law for law in only(found).laws if law.form == "offset"]
    assert {law.method for law in offsets} == {"envelope", "isoflop"}
    for law in offsets:
        assert law.runs_ci is not None
        assert law.runs_ci[0] <= law.power.exponent <= law.runs_ci[1]
    records = document(found)["profiles"]
    assert [each["flops"] for each in records] == sorted({row.flops for row in rows})
    assert all(each["vertex"]["params_ci_runs"] for each in records)


def test_intervals_by_run_that_are_wider_are_pointed_at(nethack_fit: Fit) -> None:
    """The paper's 207 cells are 15 trainings: the interval of N is 0.12 wide or 0.31."""
    messages = [item.message for item in nethack_fit.diagnostics if item.code == "intervals_differ"]
    assert any("params (envelope)" in message for message in messages)
    alone = analysis.fit(hoffmann_sweep(0.01, seed=1), draws=200)
    assert "intervals_differ" not in {item.code for item in alone.diagnostics}


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
