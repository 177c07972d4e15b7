"""Tuned settings: laws of the optima, and the settings that a sweep takes from them."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from data.common.cli import UserError
from eval.results import ResultRow
from laws.design.config import Settings, Sweep
from laws.design.runs import runs_of, with_settings
from laws.design.tuning import SD, law_of, rules_of, settings_of, told, with_given
from laws.predict.hyperparameters import Scale, Setting
from tests.laws.sweep.sweeps import described
from train.scaling.rule import NETHACK

TRUE: dict[tuple[Setting, Scale], float] = {
    ("lr", "params"): -0.25,
    ("lr", "samples"): 0.0,
    ("batch", "params"): 0.0,
    ("batch", "samples"): 0.5,
}


def rows(lr_of_samples: float, noise: float, seed: int = 0) -> Iterator[ResultRow]:
    """Rows of five learning rates and three batches, best at N^-0.25 (D / 3e6)^`lr_of_samples` / 3 and D^0.5 / 2."""
    random = np.random.default_rng(seed)
    for params, factor in product((1e4, 3e4, 1e5), (1e5, 1e6)):
        samples = 10 * factor * (params / 1e4) ** 0.5
        best = math.log(params**-0.25 * (samples / 3e6) ** lr_of_samples / 3), math.log(samples**0.5 / 2)
        for lr, batch in product((0.25, 0.5, 1, 2, 4), (256, 1024, 4096)):
            tried = 0.2 * params**-0.2 * lr
            away = math.log(tried) - best[0], math.log(batch) - best[1]
            loss = params**-0.1 * math.exp(0.1 * away[0] ** 2 + 0.05 * away[1] ** 2 + noise * random.normal())
            yield ResultRow("g", f"{params}-{batch}/{tried}", 6 * params * samples, int(params), int(samples), loss,
                            lr=tried, batch=batch)  # fmt: skip


def test_a_planted_law_is_found_with_the_exponents_it_has() -> None:
    law = law_of(list(rows(lr_of_samples=-0.2, noise=0.003)), ("lr", "batch"), NETHACK)
    assert law.settings == ("lr", "batch")
    assert law.exponent("lr", "params").value == pytest.approx(-0.25, abs=0.05)
    assert law.exponent("lr", "samples").value == pytest.approx(-0.2, abs=0.05)
    assert law.exponent("batch", "samples").value == pytest.approx(0.5, abs=0.1)
    assert law.optimum("lr", 1e6, 1e8).value == pytest.approx(1e6**-0.25 * (1e8 / 3e6) ** -0.2 / 3, rel=0.2)
    assert rules_of(law)["lr"].startswith("tuned: ")
    assert "lr = " in told(law)


def test_noisy_exponents_are_as_near_as_expected_ones_and_their_intervals_cover() -> None:
    errors, covered = [], []
    for seed in range(20):
        law = law_of(list(rows(lr_of_samples=0.0, noise=0.05, seed=seed)), ("lr", "batch"), NETHACK)
        assert law.scales == ("params", "samples")
        for (name, scale), true in TRUE.items():
            exponent = law.exponent(name, scale)
            assert exponent.interval is not None
            errors.append(exponent.value - true)
            covered.append(exponent.interval[0] < true < exponent.interval[1])
    assert np.sqrt(np.mean(np.square(errors))) < SD
    assert np.mean(covered) > 0.85


def test_along_one_budget_the_rows_tell_one_direction_only() -> None:
    one = [row for row in rows(lr_of_samples=-0.2, noise=0.003) if row.batch == 1024 and row.samples < 5e6]
    assert len({row.samples for row in one}) == len({row.params for row in one}) == 3
    law = law_of(one, ("lr",), NETHACK)
    # D = 1e6 (N / 1e4)^0.5, so that N^-0.25 D^-0.2 is N^-0.35.
    along = law.exponent("lr", "params").value + 0.5 * law.exponent("lr", "samples").value
    assert along == pytest.approx(-0.35, abs=0.05)
    for size in one:
        found = law.optimum("lr", size.params, size.samples)
        assert found.value == pytest.approx(size.params**-0.25 * (size.samples / 3e6) ** -0.2 / 3, rel=0.1)


@pytest.mark.parametrize("curvature", [0.02, 0.0, -0.002])
@pytest.mark.parametrize("seed", range(12))
def test_where_the_runs_determine_no_optimum_settings_stay_among_those_tried(curvature: float, seed: int) -> None:
    random, ridge = np.random.default_rng(seed), []
    for (params, samples), factor, batch in product(
        ((12_800, 2530), (40_700, 832)), (0.1, 0.3, 1.0, 3.0, 10.0), (16, 32, 64)
    ):
        # A larger batch undoes a larger learning rate, and noise bends what is flat up or down.
        lr, along = 0.2 * params**-0.25 * factor, 0.3 * math.log(factor) - 0.2 * math.log(batch / 32)
        loss = 4 * math.exp(curvature * along**2 - 0.05 * along + 0.003 * random.normal())
        ridge.append(ResultRow("g", f"{params}-{batch}/{lr}", 2e8, params, samples, loss, lr=lr, batch=batch))
    law = law_of(ridge, ("lr", "batch"), NETHACK)
    for size in ridge:
        lr, batch = (law.optimum(name, size.params, size.samples) for name in law.settings)
        assert size.params**-0.25 / 500 < lr.value < size.params**-0.25 * 20
        assert 4 < batch.value < 256
        assert batch.interval is not None
        assert batch.interval[1] / batch.interval[0] > 2


def test_no_optimum_is_one_line_with_the_remedy() -> None:
    best = [row for row in rows(-0.2, 0.0) if row.lr == pytest.approx(0.2 * row.params**-0.2)]
    with pytest.raises(UserError, match=r"--tune found no optimum of lr and batch: .*--tune-lr"):
        law_of([row for row in best if row.batch == 256], ("lr", "batch"), NETHACK)


@pytest.fixture
def sweep(store: Path) -> Sweep:
    return described(store, tune=("lr", "batch"), tune_budgets=1, tune_lr=(0.5, 2.0), tune_batch=(0.5, 1e3))


def test_settings_are_tried_in_populations_and_nothing_else_before_they_are_known(sweep: Sweep) -> None:
    runs = runs_of(sweep, Path("sweep"))
    assert {(run.config.agent, run.config.lanes) for run in runs} == {
        (f"nethack/lstm/{size}", lanes) for size, lanes in ((16, 4), (16, 8), (32, 4), (32, 8))
    }, "a batch of 8,000 lanes would make no step"
    for run in runs:
        assert run.tries
        assert run.config.flops == sweep.config.budgets[:1]
        assert len({member.optimizer.lr for member in run.members}) == 3
        assert {cell.run for cell in run.cells} == {f"{run.name}/{member.run.name}" for member in run.members}
        assert run.flops == 3 * 2e8
    assert len({cell.key for run in runs for cell in run.cells}) == 12
    later = [run for run in runs_of(with_settings(sweep), Path("sweep")) if not run.tries]
    assert {run.config.agent for run in later} == {"nethack/lstm/16", "nethack/lstm/32"}


def test_settings_follow_the_law_and_stay(sweep: Sweep) -> None:
    law = law_of(list(rows(-0.2, 0.001)), ("lr", "batch"), NETHACK)
    found = settings_of(sweep, law)
    for size in sweep.sizes[6e8]:
        settings, samples = found[size.agent], [size.samples(budget) for budget in sweep.config.budgets]
        middle = math.sqrt(samples[0] * samples[1])
        assert settings.lr == pytest.approx(law.optimum("lr", size.params, middle).value, rel=0.01)
        assert math.log2(settings.lanes).is_integer()
        assert min(samples) >= sweep.config.min_steps * settings.lanes * sweep.shared.window
    known = {"nethack/lstm/16": Settings(0.5, 2)}
    assert settings_of(replace(sweep, settings=known), law)["nethack/lstm/16"] == known["nethack/lstm/16"]
    runs = runs_of(replace(sweep, settings=found), Path("sweep"))
    for run in runs:
        if not run.tries:
            assert run.config.optimizer.lr == found[run.config.agent].lr
            assert run.config.lanes == found[run.config.agent].lanes


def test_given_settings_are_among_those_that_are_tried(sweep: Sweep) -> None:
    tried = [
        ResultRow("nethack", run.name, 2e8, size.params, 1, 1.0, lr=member.optimizer.peak, batch=run.config.batch)
        for run in runs_of(sweep, Path("sweep"))
        for size in sweep.sizes[2e8]
        if size.agent == run.config.agent
        for member in run.members
    ]
    assert [(row.params, row.batch) for row in with_given(sweep, tried)] == [
        (size.params, sweep.shared.batch) for size in sweep.sizes[2e8]
    ]
