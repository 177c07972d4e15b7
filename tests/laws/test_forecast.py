"""Forecasts: the paper's own, planted laws, the scores of the past, and the command."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval.results import ResultRow, write_rows
from laws.fitting.isoflop import Profile, profiles
from laws.fitting.parametric import HOFFMANN
from laws.predict.forecast import Entry, Forecast, at_size, combine, forecast_loss, forecast_return
from laws.predict.plan import plan
from laws.rows.runs import read


def planted(noise: float = 0.0, budgets: int = 8, seed: int = 0, sizes: int = 7) -> list[ResultRow]:
    """Hoffmann's law at 7 sizes about the optimum of budgets half a decade apart, each cell a run of its own."""
    random = np.random.default_rng(seed)
    rows = []
    for flops in 10 ** (18 + np.arange(budgets) / 2):
        best = float(HOFFMANN.optimum(flops).params)
        for place, params in enumerate(np.geomspace(best / 4, best * 4, sizes)):
            samples = flops / 6 / params
            loss = float(HOFFMANN.predict(params, samples)) * math.exp(noise * random.normal())
            run = f"{flops:.3g}-{place}"
            rows.append(ResultRow("text", run, float(flops), round(params), round(samples), loss))
    return rows


def profiles_of(rows: list[ResultRow]) -> tuple[Profile, ...]:
    return profiles(rows[0].game, rows)[0]


@pytest.fixture(scope="module")
def nethack(paper: Path) -> tuple[Profile, ...]:
    return profiles("nethack", read([paper / "nethack.csv"]).rows)[0]


@pytest.fixture(scope="module")
def told(nethack: tuple[Profile, ...]) -> Forecast:
    return forecast_loss(nethack, 3.3e19, draws=120)


def values(told: Forecast, form: str) -> dict[float, float]:
    return {entry.window[0]: round(entry.value, 3) for entry in told.entries if entry.form == form}


def test_the_window_decides_the_papers_forecast(told: Forecast) -> None:
    found = values(told, "envelope power")
    assert (found[1e14], found[1e17]) == (0.098, 0.126)


def test_a_law_without_an_offset_would_have_foretold_the_paper_badly(told: Forecast) -> None:
    """The irreducible loss shows in the past: whatever the window, the offset errs less."""
    score = {(entry.form, entry.window[0]): entry.score or math.inf for entry in told.entries}
    for low in (1e14, 1e15, 1e16, 1e17):
        assert score["envelope offset", low] < score["envelope power", low]
    assert told.combined is not None
    value, (low, high) = told.combined
    assert 0.13 < value < 0.14
    assert low < 0.126 < high


def test_intervals_hold_their_values(told: Forecast) -> None:
    for entry in told.entries:
        assert 0 < entry.interval[0] <= entry.value <= entry.interval[1]
        assert entry.score is None or entry.score > 0


def test_a_law_without_noise_is_foretold_by_its_own_form() -> None:
    told = forecast_loss(profiles_of(planted()), 1e23, draws=0)
    truth = float(HOFFMANN.optimum(1e23).loss)
    by_form = {entry.form: entry for entry in told.entries if entry.window[0] == 1e18}
    assert by_form["parametric"].value == pytest.approx(truth, rel=1e-3)
    assert by_form["parametric"].score == pytest.approx(0, abs=1e-3)
    assert abs(math.log(by_form["envelope power"].value / truth)) > 0.1
    assert told.combined is not None
    assert told.combined[0] == pytest.approx(truth, rel=0.02)


def test_what_is_held_out_is_not_looked_at() -> None:
    """The score of a cut hangs on later budgets only through what they turned out to be."""
    rows = planted(0.01)
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
    # Three cuts foretell the last budget, each of them badly now: twice the loss is ln 2 off.
    assert after.score > before.score + 0.2


def test_forecasts_of_planted_laws_hold_what_comes() -> None:
    """Of 12 noisy studies the combined interval should hold the truth nearly always, and not by being vast."""
    held, width = 0, []
    for seed in range(12):
        told = forecast_loss(profiles_of(planted(0.01, seed=seed, sizes=5)), 1e22, draws=0)
        assert told.combined is not None
        _, (low, high) = told.combined
        held += low <= float(HOFFMANN.optimum(1e22).loss) <= high
        width.append(math.log(high / low))
    assert held >= 11
    assert float(np.median(width)) < 0.3


def test_returns_end_at_the_experts_where_that_is_known(nethack: tuple[Profile, ...]) -> None:
    told = forecast_return(nethack, 3.3e20, draws=0, expert=10_000.0)
    assert {"envelope power", "envelope clipped", "envelope saturating"} <= {entry.form for entry in told.entries}
    for entry in told.entries:
        if not entry.form.endswith("power"):
            assert entry.value <= 10_000
            assert entry.interval[1] <= 10_000
    assert any(entry.value > 10_000 for entry in told.entries)


def test_a_saturating_law_is_found() -> None:
    expert = 100.0
    rows = [
        replace(row, return_mean=expert * -math.expm1(-2e-9 * row.flops**0.5 / expert), run=f"r{row.params}")
        for row in planted()
    ]
    told = forecast_return(profiles_of(rows), 1e23, draws=0, expert=expert)
    [entry] = [each for each in told.entries if each.form == "envelope saturating" and each.window[0] == 1e18]
    assert entry.value == pytest.approx(expert * -math.expm1(-2e-9 * 1e23**0.5 / expert), rel=1e-6)


def test_a_size_of_ones_own_is_foretold() -> None:
    entry = at_size(profiles_of(planted()), 3e9, 1e12, draws=0)
    assert entry is not None
    assert entry.value == pytest.approx(float(HOFFMANN.predict(3e9, 1e12)), rel=1e-3)


def test_the_combined_forecast_trusts_what_was_right() -> None:
    good = Entry("a", (1, 10), 1.0, (0.9, 1.1), 0.01, 1.0)
    bad = Entry("b", (1, 10), 2.0, (1.9, 2.1), 0.5, 0.0)
    unknown = Entry("c", (1, 10), 9.0, (8.0, 10.0), None, None)
    found = combine([good, bad, unknown])
    assert found is not None
    assert found[0] == pytest.approx(1.0, abs=0.01)
    assert combine([unknown]) is None


def test_a_budget_is_split_as_the_law_says(paper: Path) -> None:
    rows = planted()
    planned = plan(rows, profiles_of(rows), 1e23, rate=1e15)
    best = HOFFMANN.optimum(1e23)
    by_method = {split.method: split for split in planned.splits}
    assert by_method["parametric"].params == pytest.approx(float(best.params), rel=0.01)
    assert by_method["isoflop"].params == pytest.approx(float(best.params), rel=0.3)
    assert planned.seconds == pytest.approx(1e8)
    assert planned.entry is not None
    assert planned.entry.params == max(row.params for row in rows)
    assert planned.samples == pytest.approx(1e23 / 6 / planned.entry.params, rel=1e-3)
    gains = [each.gain for each in planned.further]
    assert gains == sorted(gains, reverse=True)
    assert 0 < gains[0] < 1
    assert all(each.flops <= 1e22 * 1.001 for each in planned.further)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "laws", *words], capture_output=True, text=True, check=False)


def test_the_command_prints_what_the_contract_says(tmp_path: Path) -> None:
    rows = [replace(row, return_mean=3 / (row.loss or 1) ** 2) for row in planted(0.01, budgets=7)]
    write_rows(tmp_path / "runs.jsonl", rows)
    path = str(tmp_path / "runs.jsonl")
    done = command("forecast", path, "--flops", "1e22", "--params", "1e9", "--samples", "1e11", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"forms", "combined", "return"}
    for part in (told, told["return"]):
        assert set(part["combined"]) == {"value", "interval"}
        for entry in part["forms"]:
            assert {"form", "window", "value", "interval", "score"} <= set(entry)
            assert entry["interval"][0] <= entry["value"] <= entry["interval"][1]
    assert told["forms"][-1]["form"] == "parametric at N, D"
    words = command("forecast", path, "--flops", "1e22").stdout
    assert "form and window alone move it" in words
    assert "worth running" in command("plan", path, "--flops", "1e23").stdout


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
    write_rows(tmp_path / "runs.jsonl", planted())
    done = command("forecast", str(tmp_path / "runs.jsonl"), *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_too_few_budgets_are_one_line(tmp_path: Path) -> None:
    write_rows(tmp_path / "runs.jsonl", planted(budgets=2))
    done = command("forecast", str(tmp_path / "runs.jsonl"), "--flops", "1e22")
    assert done.returncode == 2
    assert "too few" in done.stderr
