"""Every way to fit an exponent, each with the interval of its own way to count."""

from dataclasses import replace

import pytest

from eval.results import ResultRow
from laws.fitting.analysis import FitOptions, fit
from laws.fitting.choices import Choice
from tests.laws.synthetic import hoffmann_sweep, only

POWER, SCALE = 1.25, 3.0


@pytest.fixture(scope="module")
def rows() -> list[ResultRow]:
    """Compute is also counted as its power, and N as a multiple."""
    return [
        replace(
            row, flops_exact=row.flops**POWER, params_all=round(SCALE * row.params), return_mean=3 / (row.loss or 1)
        )
        for row in hoffmann_sweep(0.01, budgets=6)
    ]


@pytest.fixture(scope="module")
def choices(rows: list[ResultRow]) -> tuple[Choice, ...]:
    return only(fit(rows, draws=400)).choices


def pairs(choices: tuple[Choice, ...], **other: str) -> list[tuple[Choice, Choice]]:
    """Choices as the rows count, and the same with another count."""

    def key(choice: Choice) -> tuple[object, ...]:
        return choice.y, choice.method, choice.form, choice.weights, choice.budgets

    usual = {key(each): each for each in choices if (each.convention, each.params) == ("as given", "as given")}
    counted = {"convention": "as given", "params": "as given"} | other
    return [
        (usual[key(each)], each)
        for each in choices
        if (each.convention, each.params) == (counted["convention"], counted["params"])
    ]


def test_counted_otherwise_exponents_and_intervals_change_as_they_must(choices: tuple[Choice, ...]) -> None:
    found = pairs(choices, convention="exact")
    assert {usual.y for usual, other in found if other.exponent_ci} == {"loss", "params", "samples", "return"}
    for usual, other in found:
        if usual.form == "power":
            assert other.exponent == pytest.approx(usual.exponent / POWER)
            assert (other.exponent_ci is None) == (usual.exponent_ci is None)
        if usual.form == "power" and usual.exponent_ci:
            assert other.exponent_ci == pytest.approx([end / POWER for end in usual.exponent_ci])
    sized = pairs(choices, params="all")
    assert len(sized) > 10
    for usual, other in sized:
        assert other.exponent == pytest.approx(usual.exponent, rel=1e-3)
        if usual.exponent_ci:
            assert other.exponent_ci == pytest.approx(list(usual.exponent_ci), rel=1e-3)


def test_choices_have_the_intervals_of_the_laws(rows: list[ResultRow]) -> None:
    game = only(fit(rows, draws=400))
    for law in game.laws:
        method = {"isoflop": "isoflop, ln loss"}.get(law.method, law.method)
        same = [
            choice
            for choice in game.choices
            if (choice.y, choice.method, choice.form, choice.weights) == (law.y, method, law.form, "equal")
            and (choice.convention, choice.params) == ("as given", "as given")
            and choice.budgets == len(law.power.points)
        ]
        for choice in same:
            assert choice.exponent == pytest.approx(law.exponent)
            assert choice.exponent_ci == pytest.approx(law.exponent_ci)
    assert game.parametric is not None
    [found] = [
        each
        for each in game.choices
        if (each.y, each.method, each.budgets) == ("params", "parametric", len(game.profiles))
    ]
    assert found.exponent_ci == game.parametric.intervals["params"]


def test_with_three_sizes_a_budget_parabolas_are_a_choice_if_asked() -> None:
    rows = hoffmann_sweep(0.01, budgets=6, sizes=3)
    methods = {choice.method for choice in only(fit(rows, draws=0)).choices}
    assert "isoflop, ln loss" not in methods
    asked = only(fit(rows, draws=0, options=FitOptions(min_sizes=3))).choices
    assert {choice.y for choice in asked if choice.method == "isoflop, ln loss"} == {"params", "loss"}
