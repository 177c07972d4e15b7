"""Forecasts: of the paper's rows, of known laws, and the command."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.common.cli import UserError
from eval.results import write_rows
from laws.fitting.analysis import fit
from laws.fitting.isoflop import Profile
from laws.fitting.parametric import HOFFMANN
from laws.predict.forecast import (
    Forecast,
    ForecastEntry,
    combine,
    forecast,
    forecast_at_size,
    forecast_loss,
    forecast_return,
)
from laws.rows.runs import Runs
from tests.laws.synthetic import command, hoffmann_sweep, profiles_of, sweep


@pytest.fixture(scope="module")
def nethack(nethack_rows: Runs) -> tuple[Profile, ...]:
    return profiles_of(list(nethack_rows.rows))


@pytest.fixture(scope="module")
def paper_forecast(nethack: tuple[Profile, ...]) -> Forecast:
    return forecast_loss(nethack, 3.3e19, draws=120)


def values(found: Forecast, form: str) -> dict[float, float]:
    return {entry.window[0]: round(entry.value, 3) for entry in found.entries if entry.form == form}


def test_the_window_decides_the_papers_forecast(paper_forecast: Forecast) -> None:
    found = values(paper_forecast, "envelope power")
    assert (found[1e14], found[1e17]) == (0.098, 0.126)


def test_a_law_without_an_offset_would_have_predicted_the_paper_badly(paper_forecast: Forecast) -> None:
    """The irreducible loss shows in the past: whatever the window, the offset errs less."""
    score = {(entry.form, entry.window[0]): entry.score or math.inf for entry in paper_forecast.entries}
    for low in (1e14, 1e15, 1e16, 1e17):
        assert score["envelope offset", low] < score["envelope power", low]
    assert paper_forecast.combined is not None
    value, (low, high) = paper_forecast.combined
    assert 0.13 < value < 0.14
    assert low < 0.126 < high


def test_intervals_hold_their_values(paper_forecast: Forecast) -> None:
    for entry in paper_forecast.entries:
        assert 0 < entry.interval[0] <= entry.value <= entry.interval[1]
        assert entry.score is None or entry.score > 0


def test_a_law_without_noise_is_predicted_by_its_own_form() -> None:
    found = forecast_loss(profiles_of(hoffmann_sweep()), 1e23, draws=0)
    truth = float(HOFFMANN.optimum(1e23).loss)
    by_form = {entry.form: entry for entry in found.entries if entry.window[0] == 1e18}
    assert by_form["parametric"].value == pytest.approx(truth, rel=1e-3)
    assert by_form["parametric"].score == pytest.approx(0, abs=1e-3)
    assert abs(math.log(by_form["envelope power"].value / truth)) > 0.1
    assert found.combined is not None
    assert found.combined[0] == pytest.approx(truth, rel=0.02)


def test_what_is_held_out_is_not_looked_at() -> None:
    """The score of a cut hangs on later budgets only through what they turned out to be."""
    rows = hoffmann_sweep(0.01)
    last = max(row.flops for row in rows)
    spoilt = [replace(row, loss=(row.loss or 0) * 2) if row.flops == last else row for row in rows]
    before, after = (
        next(
            entry
            for entry in forecast_loss(profiles_of(each), 1e23, draws=0).entries
            if entry.form == "envelope power" and entry.window[0] == 1e18
        )
        for each in (rows, spoilt)
    )
    assert before.score is not None
    assert after.score is not None
    # Three cuts predict the last budget, each of them badly now: twice the loss is ln 2 off.
    assert after.score > before.score + 0.2


def test_combined_intervals_of_known_laws_cover_the_truth() -> None:
    """Of 12 noisy studies the combined interval should cover the truth nearly always, and not by being vast."""
    covered, width = 0, []
    for seed in range(12):
        found = forecast_loss(profiles_of(hoffmann_sweep(0.01, seed=seed, sizes=5)), 1e22, draws=0)
        assert found.combined is not None
        _, (low, high) = found.combined
        covered += low <= float(HOFFMANN.optimum(1e22).loss) <= high
        width.append(math.log(high / low))
    assert covered >= 11
    assert float(np.median(width)) < 0.3


def test_returns_end_at_the_experts_where_that_is_known(nethack: tuple[Profile, ...]) -> None:
    found = forecast_return(nethack, 3.3e20, draws=0, expert=10_000.0)
    assert {"envelope power", "envelope clipped", "envelope saturating"} <= {entry.form for entry in found.entries}
    for entry in found.entries:
        if not entry.form.endswith("power"):
            assert entry.value <= 10_000
            assert entry.interval[1] <= 10_000
    assert any(entry.value > 10_000 for entry in found.entries)


def test_a_saturating_law_is_found() -> None:
    expert = 100.0
    rows = [
        replace(row, return_mean=expert * -math.expm1(-2e-9 * row.flops**0.5 / expert), run=f"r{row.params}")
        for row in hoffmann_sweep()
    ]
    found = forecast_return(profiles_of(rows), 1e23, draws=0, expert=expert)
    [entry] = [each for each in found.entries if each.form == "envelope saturating" and each.window[0] == 1e18]
    assert entry.value == pytest.approx(expert * -math.expm1(-2e-9 * 1e23**0.5 / expert), rel=1e-6)


def test_the_loss_of_a_given_size_is_predicted() -> None:
    entry = forecast_at_size(profiles_of(hoffmann_sweep()), 3e9, 1e12, draws=0)
    assert entry is not None
    assert entry.value == pytest.approx(float(HOFFMANN.predict(3e9, 1e12)), rel=1e-3)


def test_the_combined_forecast_trusts_what_was_right() -> None:
    good = ForecastEntry("a", (1, 10), 1.0, (0.9, 1.1), 0.01, 1.0)
    bad = ForecastEntry("b", (1, 10), 2.0, (1.9, 2.1), 0.5, 0.0)
    unknown = ForecastEntry("c", (1, 10), 9.0, (8.0, 10.0), None, None)
    found = combine([good, bad, unknown])
    assert found is not None
    assert found[0] == pytest.approx(1.0, abs=0.01)
    assert combine([unknown]) is None


def test_rows_and_their_fit_give_the_same_forecast() -> None:
    rows = [replace(row, return_mean=3 / (row.loss or 1) ** 2) for row in hoffmann_sweep(0.01)]
    found = fit(rows, draws=0)
    for y in ("loss", "return"):
        expected = forecast(rows, 1e23, y=y, draws=0)
        assert expected.y == y
        assert expected.entries
        for same in (Runs(tuple(rows)), found, found.games[0]):
            assert forecast(same, 1e23, y=y, draws=0) == expected


def test_what_cannot_be_forecast_is_refused() -> None:
    rows = hoffmann_sweep()
    with pytest.raises(UserError, match="greater than 0"):
        forecast(rows, -1.0)
    with pytest.raises(UserError, match="not of chess, text"):
        forecast([*rows, *sweep("chess")], 1e23)
    with pytest.raises(UserError, match="not of none"):
        forecast([], 1e23)
    with pytest.raises(UserError, match="too few: a forecast needs 5"):
        forecast(hoffmann_sweep(budgets=4), 1e23)
    with pytest.raises(UserError, match="with a return are too few"):
        forecast(rows, 1e23, y="return")


@pytest.mark.slow
def test_the_command_prints_what_the_contract_says(tmp_path: Path) -> None:
    rows = [replace(row, return_mean=3 / (row.loss or 1) ** 2) for row in hoffmann_sweep(0.01, budgets=7)]
    write_rows(tmp_path / "runs.jsonl", rows)
    path = str(tmp_path / "runs.jsonl")
    done = command("forecast", path, "--flops", "1e22", "--params", "1e9", "--samples", "1e11", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"forms", "combined", "return"}
    for part in (found, found["return"]):
        assert set(part["combined"]) == {"value", "interval"}
        for entry in part["forms"]:
            assert {"form", "window", "value", "interval", "score", "coverage"} == set(entry)
            assert entry["interval"][0] <= entry["value"] <= entry["interval"][1]
    assert found["forms"][-1]["form"] == "parametric at N, D"
    words = command("forecast", path, "--flops", "1e22").stdout
    assert "by form and window it ranges" in words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--flops", "0"), "--flops 0 must be a number greater than 0"),
        (("--flops", "nan"), "--flops nan must be"),
        (("--flops", "1e22", "--params", "5"), "belong together"),
        (("--flops", "1e22", "--game", "chess"), "no rows of game 'chess'"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    write_rows(tmp_path / "runs.jsonl", hoffmann_sweep())
    done = command("forecast", str(tmp_path / "runs.jsonl"), *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_too_few_budgets_are_one_line(tmp_path: Path) -> None:
    write_rows(tmp_path / "runs.jsonl", hoffmann_sweep(budgets=2))
    done = command("forecast", str(tmp_path / "runs.jsonl"), "--flops", "1e22")
    assert done.returncode == 2
    assert "too few" in done.stderr
