"""What the command prints, and the reporting checklist."""

from dataclasses import replace

import numpy as np

from laws.fitting.analysis import GameFit, fit
from laws.report.checklist import checklist
from laws.report.screen import MOST_LINES, fit_lines
from laws.study.coverage import DESIGNS
from tests.laws.synthetic import only, sweep


def answers_of(found: GameFit, columns: dict[str, str]) -> dict[str, str]:
    return {row[0]: row[1] for row in checklist(found, columns).rows}


def test_at_most_three_lines_of_doubt_are_printed() -> None:
    rows = [replace(row, schedule="cosine", batch=10**6, run="all") for row in sweep() if row.params > 10_000]
    found = fit(rows, draws=0)
    lines = list(fit_lines(found))
    doubts = [line for line in lines if line.startswith("warning:")]
    assert len({item.code for item in found.diagnostics if item.severity == "warning"}) > MOST_LINES
    assert len(doubts) == MOST_LINES
    assert "more in the report: " in doubts[-1]
    assert sum("~" in line for line in lines) == len(found.games[0].laws) + 2


def test_the_checklist_is_filled_in_from_the_rows() -> None:
    study = DESIGNS["7x6"].rows(np.random.default_rng(0))
    rows = [replace(row, lr=1e-3, schedule="wsd", flop_convention="exact", store="abc") for row in study]
    answers = answers_of(only(fit(rows, draws=200)), {"params": "Model Size"})
    assert answers["To what"].startswith("42 cells of 7 trainings: 7 sizes at 6 budgets, 6 of these with a vertex")
    assert answers["N counted as"] == "column Model Size"
    assert answers["C counted as"].endswith("convention exact")
    assert answers["Seeds"] == "one training of each size and budget"
    assert answers["Learning rate schedules"] == "wsd"
    assert answers["Hyperparameters"] == "not tuned: learning rate 0.001"
    assert answers["Data"] == "abc"
    assert "200 simulated studies" in answers["Intervals"]


def test_seeds_and_tuned_settings_are_told() -> None:
    seeds = [replace(row, run=f"{row.run}-{seed}") for row in sweep() for seed in range(3)]
    assert answers_of(only(fit(seeds, draws=0)), {})["Seeds"] == "up to 3 trainings at 20 of 20 sizes and budgets"
    tuned = [replace(row, run=f"{row.run}-{lr}", lr=lr) for row in sweep() for lr in (1e-3, 1e-2)]
    answers = answers_of(only(fit(tuned, draws=0)), {})
    assert answers["Hyperparameters"] == "the best of several settings at 20 of 20 sizes and budgets"


def test_the_noise_of_a_study_stands_in_the_checklist() -> None:
    design = DESIGNS["5x5, 3 seeds"]
    found = only(fit(design.rows(np.random.default_rng(0)), draws=200, choosing=False))
    assert "from replicated sizes" in answers_of(found, {})["Intervals"]
