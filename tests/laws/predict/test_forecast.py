"""Forecasts: of the paper's rows, of known laws, and the command."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.common.cli import UserError
from eval.results import write_rows
from laws.fitting.analysis import Fit, GameFit, fit
from laws.fitting.parametric import HOFFMANN
from laws.predict.backtest import Miss
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
from tests.laws.synthetic import command, fitted, hoffmann_sweep, only, sweep


@pytest.fixture(scope="module")
def nethack(nethack_fit: Fit) -> GameFit:
    return only(nethack_fit)


@pytest.fixture(scope="module")
def paper_forecast(nethack: GameFit) -> Forecast:
    return forecast_loss(nethack, 3.3e19)


def values(found: Forecast, form: str) -> dict[float, float]:
    return {entry.window[0]: round(entry.value, 3) for entry in found.entries if entry.form == form}


def test_the_window_decides_the_papers_forecast(paper_forecast: Forecast) -> None:
    found = values(paper_forecast, "envelope power")
    assert (found[1e14], found[1e17]) == (0.098, 0.126)


def test_a_law_without_an_offset_would_have_predicted_the_paper_badly(paper_forecast: Forecast) -> None:
    """The irreducible loss shows in the past: whatever the window, the offset errs less."""
    score = {(entry.form, entry.window[0]): entry.score for entry in paper_forecast.entries}
    for low in (1e14, 1e15, 1e16, 1e17):
        with_offset, without = score["envelope offset", low], score["envelope power", low]
        assert with_offset is not None
        assert without is not None
        assert with_offset < without
    assert paper_forecast.combined is not None
    value, (low, high) = paper_forecast.combined
    assert 0.13 < value < 0.14
    assert low < value < high


@pytest.mark.parametrize("last", [1e18, 2e18, 5e18])
def test_the_paper_so_far_would_have_predicted_the_rest(nethack_rows: Runs, last: float) -> None:
    """The combined interval of the budgets up to `last` holds the least loss at the largest, 1e19."""
    found = forecast_loss(fitted([row for row in nethack_rows.rows if row.flops < last * 1.01]), 1e19)
    measured = min(row.loss or math.inf for row in nethack_rows.rows if row.flops == 1e19)
    assert found.combined is not None
    value, (low, high) = found.combined
    assert low < measured < high
    assert value == pytest.approx(measured, rel=0.15)


def test_scores_are_of_the_same_past_predictions(paper_forecast: Forecast) -> None:
    """As far ahead as the asked budget lies; a window that lacks some of them has no score."""
    assert paper_forecast.horizon is not None
    assert paper_forecast.cuts >= 3
    cuts = set.intersection(*({cut for cut, _ in entry.misses} for entry in paper_forecast.entries if entry.score))
    assert len(cuts) >= paper_forecast.cuts
    for entry in paper_forecast.entries:
        misses = dict(entry.misses)
        if entry.score is None:
            assert entry.coverage is None
            assert not entry.preferred
            continue
        own = sorted(cuts & set(misses))
        assert len(own) == paper_forecast.cuts
        errors = np.array([misses[cut].error for cut in own])
        assert entry.score == pytest.approx(math.sqrt(float(np.mean(errors**2))))
        assert entry.coverage == pytest.approx(float(np.mean([misses[cut].covered for cut in own])))


def test_richer_forms_count_where_they_beat_the_baseline(paper_forecast: Forecast) -> None:
    power = {
        (entry.form.split()[0], entry.window[0]): entry.score
        for entry in paper_forecast.entries
        if entry.form.endswith("power")
    }
    preferred = [entry for entry in paper_forecast.entries if entry.preferred]
    assert {"envelope power", "envelope offset", "isoflop offset"} <= {entry.form for entry in preferred}
    for entry in paper_forecast.entries:
        baseline = power.get((entry.form.split()[0], entry.window[0]))
        if entry.score is not None and baseline is not None and not entry.form.endswith("power"):
            assert entry.preferred == (entry.score < baseline)


def test_intervals_hold_their_values(paper_forecast: Forecast) -> None:
    for entry in paper_forecast.entries:
        assert 0 < entry.interval[0] <= entry.value <= entry.interval[1]
        assert entry.score is None or entry.score > 0


def test_intervals_hold_what_noise_does_to_the_study() -> None:
    """That of a law fitted to few residuals is no narrower than the bootstrap of the study makes it."""
    rows = hoffmann_sweep(0.01, sizes=9)
    plain = {(entry.form, entry.window): entry for entry in forecast_loss(fitted(rows), 1e23).entries}
    wider = 0
    for entry in forecast_loss(fitted(rows, draws=200), 1e23).entries:
        other = plain[entry.form, entry.window]
        assert entry.value == pytest.approx(other.value)
        assert entry.interval[0] <= other.interval[0] * (1 + 1e-9)
        assert entry.interval[1] >= other.interval[1] * (1 - 1e-9)
        assert (entry.score, entry.coverage) == (other.score, other.coverage)
        wider += entry.interval != other.interval
    assert wider


def test_a_law_without_noise_is_predicted_by_its_own_form() -> None:
    found = forecast_loss(fitted(hoffmann_sweep()), 1e23)
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
            for entry in forecast_loss(fitted(each), 3e22).entries
            if entry.form == "envelope power" and entry.window[0] == 1e18
        )
        for each in (rows, spoilt)
    )
    *same, (_, right) = before.misses
    *unchanged, (_, wrong) = after.misses
    assert unchanged == same
    # Twice the loss is ln 2 off.
    assert right.error - wrong.error == pytest.approx(math.log(2))
    assert not wrong.covered
    assert before.score is not None
    assert after.score is not None
    assert after.score > before.score + 0.2


def combined_of_known_laws(flops: float, studies: int, noise: float = 0.01) -> tuple[float, float]:
    """Share of noisy studies whose combined interval covers the truth, and its median width in ln loss."""
    truth, covered, width = float(HOFFMANN.optimum(flops).loss), 0, []
    for seed in range(studies):
        found = forecast_loss(fitted(hoffmann_sweep(noise, seed=seed, sizes=5)), flops)
        assert found.combined is not None
        _, (low, high) = found.combined
        covered += low <= truth <= high
        width.append(math.log(high / low))
    return covered / studies, float(np.median(width))


def test_combined_intervals_of_known_laws_cover_the_truth() -> None:
    """Of 6 noisy studies nearly always, and not by being vast."""
    covered, width = combined_of_known_laws(1e22, 6)
    assert covered >= 5 / 6
    assert width < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("flops", [1e22, 1e23])
def test_combined_intervals_of_many_known_laws_cover_the_truth(flops: float) -> None:
    covered, width = combined_of_known_laws(flops, 60)
    assert covered >= 0.9
    assert width < 0.3


def test_returns_end_at_the_experts_where_that_is_known(nethack: GameFit) -> None:
    found = forecast_return(nethack, 3.3e20, expert=10_000.0)
    assert {"envelope power", "envelope clipped", "envelope saturating"} <= {entry.form for entry in found.entries}
    for entry in found.entries:
        if entry.form.endswith(("clipped", "saturating")):
            assert entry.value <= 10_000
            assert entry.interval[1] <= 10_000
    assert any(entry.value > 10_000 for entry in found.entries)
    assert not any(entry.form.endswith(("clipped", "saturating")) for entry in forecast_return(nethack, 3.3e20).entries)


def saturating(flops: float, top: float) -> float:
    return top * -math.expm1(-2e-9 * flops**0.5 / top)


def test_a_saturating_law_is_found_with_its_ceiling_known_and_unknown() -> None:
    rows = [replace(row, return_mean=saturating(row.flops, 100.0), run=f"r{row.params}") for row in hoffmann_sweep()]
    found = forecast_return(fitted(rows), 1e23, expert=100.0)
    for form, tolerance in (("envelope saturating", 1e-6), ("envelope ceiling", 1e-3)):
        [entry] = [each for each in found.entries if each.form == form and each.window[0] == 1e18]
        assert entry.value == pytest.approx(saturating(1e23, 100.0), rel=tolerance), form


def test_the_loss_of_a_given_size_is_predicted() -> None:
    entry = forecast_at_size(fitted(hoffmann_sweep()), 3e9, 1e12)
    assert entry is not None
    truth = float(HOFFMANN.predict(3e9, 1e12))
    assert entry.value == pytest.approx(truth, rel=1e-3)
    noisy = forecast_at_size(fitted(hoffmann_sweep(0.01), draws=100), 3e9, 1e12)
    assert noisy is not None
    assert noisy.interval[0] < truth < noisy.interval[1] < 1.3 * noisy.interval[0]
    assert forecast_at_size(fitted(hoffmann_sweep()[:3]), 3e9, 1e12) is None


CUTS = (1.0, 2.0, 3.0, 4.0)


def entry_with(form: str, value: float, errors: tuple[float, ...], *, preferred: bool = True) -> ForecastEntry:
    """One whose 95 % intervals are 0.2 wide in ln value, now and in the past."""
    misses = tuple((cut, Miss(error, abs(error) < 0.1, 0.1)) for cut, error in zip(CUTS, errors, strict=True))
    ends = value * math.exp(-0.1), value * math.exp(0.1)
    return ForecastEntry(form, (1, 10), value, ends, 0.1, 1.0, preferred=preferred, misses=misses)


def test_the_combined_forecast_trusts_what_was_right() -> None:
    good = entry_with("a", 1.0, (0.01, -0.01, 0.01, -0.01))
    bad = entry_with("b", 2.0, (0.5, 0.5, 0.4, 0.6))
    ignored = entry_with("c", 9.0, (0.0, 0.0, 0.0, 0.0), preferred=False)
    found = combine([good, bad, ignored], CUTS)
    assert found is not None
    assert found[0] == pytest.approx(1.0, abs=0.01)
    assert combine([ignored], CUTS) is None
    assert combine([good, bad], CUTS[:1]) is None, "one past prediction says nothing of its spread"


def test_the_combined_interval_is_as_wide_as_the_past_asks_for() -> None:
    """Errors as large as their intervals said leave these as they are; larger ones widen them."""

    def width(*errors: float) -> float:
        found = combine([entry_with("a", 1.0, errors)], CUTS)
        assert found is not None
        value, (low, high) = found
        assert value == pytest.approx(1.0)
        assert low * high == pytest.approx(1.0)
        return math.log(high / low)

    honest = width(0.05, -0.05, 0.05, -0.05)
    assert 0.15 < honest < 0.4
    assert width(0.5, -0.5, 0.5, -0.5) > 3 * honest
    assert width(0.0, 0.0, 0.0, 0.0) <= honest


def test_rows_and_their_fit_give_the_same_forecast() -> None:
    rows = [replace(row, return_mean=3 / (row.loss or 1) ** 2) for row in hoffmann_sweep(0.01, budgets=6)]
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
    rows = [replace(row, return_mean=3 / (row.loss or 1) ** 2) for row in hoffmann_sweep(0.01, budgets=8)]
    write_rows(tmp_path / "runs.jsonl", rows)
    path = str(tmp_path / "runs.jsonl")
    done = command("forecast", path, "--flops", "1e22", "--params", "1e9", "--samples", "1e11", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"forms", "combined", "horizon", "cuts", "return"}
    for part in (found, found["return"]):
        assert set(part["combined"]) == {"value", "interval"}
        for entry in part["forms"]:
            names = {"form", "window", "value", "interval", "score", "coverage", "aicc", "preferred"}
            assert names == set(entry)
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
