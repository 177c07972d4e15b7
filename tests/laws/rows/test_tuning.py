"""Sizes that were trained with several settings, and trainings that say little about their budget."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.results import ResultRow
from laws.fitting.isoflop import Profile, profiles
from laws.rows.runs import Runs, read_records
from laws.rows.tuning import FEW_STEPS, best_tuned, check_training
from tests.laws.rows.test_budgets import sweep

RATES = (1e-4, 3e-4, 1e-3)


def tuned_sweep() -> list[ResultRow]:
    """The sweep with three learning rates each, of which another is best at each budget and size."""
    chance = random.Random(2)
    rows: list[ResultRow] = []
    for row in sweep():
        best = chance.choice(RATES)
        for rate in RATES:
            loss = (row.loss or 0.0) * (1 if rate == best else chance.uniform(1.1, 2))
            rows.append(replace(row, run=f"{row.run} {rate}", lr=rate, loss=loss))
    return rows


def vertices(found: tuple[Profile, ...]) -> list[float]:
    return [profile.vertex.params for profile in found if profile.vertex]


def from_table(rows: list[ResultRow], *columns: str) -> Runs:
    return read_records([{name: getattr(row, name) for name in columns} for row in rows])


def test_a_sweep_of_learning_rates_moves_no_vertex() -> None:
    plain, _ = profiles("g", sweep())
    assert len(vertices(plain)) == 4
    for columns in (("run", "flops", "params", "samples", "loss", "lr"), ("flops", "params", "loss", "lr")):
        found, diagnostics = profiles("g", from_table(tuned_sweep(), *columns).rows)
        assert vertices(found) == pytest.approx(vertices(plain), rel=1e-9)
        assert [len(profile.cells) for profile in found] == [7] * 4
        (item,) = [item for item in diagnostics if item.code == "tuned"]
        assert item.severity == "info"
        assert item.message.startswith("Of 28 sizes at a budget that were trained with several settings (lr), the runs")


def test_rates_of_equally_named_runs_are_trainings_of_their_own() -> None:
    rows = [replace(row, run=row.run.rsplit(" ", 1)[0]) for row in tuned_sweep()]
    found = from_table(rows, "run", "flops", "params", "samples", "loss", "lr")
    assert len({row.run for row in found.rows}) == len(rows)
    assert vertices(profiles("g", found.rows)[0]) == pytest.approx(vertices(profiles("g", sweep())[0]), rel=1e-9)


def test_two_seeds_of_equally_named_runs_are_two_runs() -> None:
    rows = [replace(row, seed=seed, loss=(row.loss or 0.0) + seed / 100) for row in sweep() for seed in (0, 1)]
    found = from_table(rows, "run", "flops", "params", "samples", "loss", "seed")
    assert len(found.rows) == len({row.run for row in found.rows}) == 56
    made, diagnostics = profiles("g", found.rows)
    # A seed is no setting: both are kept.
    assert [len(profile.cells) for profile in made] == [14] * 4
    assert "tuned" not in [item.code for item in diagnostics]


def test_the_setting_with_the_least_mean_over_seeds_is_kept() -> None:
    losses = {(1e-3, 0): 2.0, (1e-3, 1): 3.0, (1e-4, 0): 2.4, (1e-4, 1): 2.4}
    rows = [ResultRow("g", f"{key}", 1e15, 10, 10, loss, lr=key[0], seed=key[1]) for key, loss in losses.items()]
    found = best_tuned([*rows, ResultRow("g", "other", 1e15, 20, 5, 9.0, lr=5.0)])
    assert [(row.lr, row.seed) for row in found.rows] == [(1e-4, 0), (1e-4, 1), (5.0, None)]
    assert (found.sizes, found.settings) == (1, frozenset({"lr"}))


@given(st.lists(st.tuples(st.sampled_from([5, 6, 7]), st.sampled_from([None, *RATES]), st.floats(1, 9)), max_size=20))
def test_of_every_size_the_runs_of_one_setting_are_kept(cells: list[tuple[int, float | None, float]]) -> None:
    rows = [ResultRow("g", str(n), 1e15, size, 5, loss, lr=rate) for n, (size, rate, loss) in enumerate(cells)]
    found = best_tuned(rows)
    assert {row.params for row in found.rows} == {row.params for row in rows}
    for size in {row.params for row in rows}:
        kept = [row for row in found.rows if row.params == size]
        assert len({row.lr for row in kept}) == 1
        assert kept == [row for row in rows if row.params == size and row.lr == kept[0].lr]
    assert found.settings <= {"lr"}
    assert bool(found.settings) == bool(found.sizes)


def test_trainings_of_few_steps_are_named() -> None:
    rows = [replace(row, batch=row.samples // (FEW_STEPS // 2)) for row in sweep()[:3]] + sweep()[3:]
    (item,) = check_training("g", rows)
    assert (item.code, item.severity) == ("undercooked", "warning")
    assert item.message.startswith("3 of 28 cells have fewer than 1,000 optimiser steps")


def test_checkpoints_before_the_end_of_a_decay_are_named() -> None:
    last = ResultRow("g", "a", 1e17, 10, 10, 2.0, schedule="warmup, Cosine")
    rows = [replace(last, flops=1e15, samples=1), replace(last, flops=1e16, samples=5), last]
    (item,) = check_training("g", rows)
    assert item.code == "unfinished_schedule"
    assert "2 of 3 cells" in item.message
    assert "(warmup, Cosine)" in item.message
    assert not check_training("g", [replace(row, run=str(row.flops)) for row in rows])
    assert not check_training("g", [replace(row, schedule="constant") for row in rows])
