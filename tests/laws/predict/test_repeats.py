"""The data-constrained law: planted repetition is found."""

from dataclasses import replace

import numpy as np
import pytest

from eval.results import ResultRow
from laws.fitting.parametric import Surface
from laws.predict.repeats import effective, fit_repeats

SURFACE = Surface(0.3, 60, 120, 0.30, 0.27)


def repeated(half_life: float, noise: float = 0.0) -> list[ResultRow]:
    """Sizes trained on 1e6 to 1e8 unique samples, up to 40 times."""
    random, rows = np.random.default_rng(0), []
    for params in (1e4, 1e5, 1e6):
        for unique in (1e6, 1e7, 1e8):
            for epochs in (1.0, 2.0, 5.0, 15.0, 40.0):
                samples = unique * epochs
                seen = float(effective(np.array(samples), np.array(epochs), half_life))
                loss = float(SURFACE.predict(params, seen)) * np.exp(noise * random.standard_normal())
                run = f"{params:g} {unique:g} {epochs:g}"
                rows.append(
                    ResultRow("g", run, 6 * params * samples, int(params), int(samples), float(loss), epochs=epochs)
                )
    return rows


@pytest.mark.parametrize("half_life", [3.0, 15.0])
def test_what_repetition_is_worth_is_found(half_life: float) -> None:
    found = fit_repeats(repeated(half_life, 0.002))
    assert found is not None
    assert found.half_life == pytest.approx(half_life, rel=0.1)
    assert found.objective < found.unrepeated / 3
    assert found.noticed
    assert found.surface.beta == pytest.approx(SURFACE.beta, rel=0.05)


def test_repetition_that_costs_nothing_is_not_noticed() -> None:
    found = fit_repeats(repeated(1e9, 0.01))
    assert found is not None
    assert not found.noticed


@pytest.mark.parametrize("runs", [2, 3])
def test_a_small_study_of_many_passes_has_a_law_or_none(runs: int) -> None:
    """Repeated samples that are worth little make its few cells alike."""
    rows = [
        ResultRow(
            "g",
            f"{params}",
            6.0 * params * samples,
            params,
            samples,
            3 * (params * samples) ** -0.02,
            epochs=samples / 1e3,
        )
        for params in (10_000, 40_000, 160_000)[:runs]
        for samples in (20_000, 60_000, 180_000)
    ]
    found = fit_repeats(rows)
    assert found is None or found.half_life > 0


def test_effective_samples_are_new_ones_at_first_and_bounded() -> None:
    one = np.ones(1)
    assert effective(100 * one, one, 5.0) == pytest.approx(100)
    assert effective(100 * 1.01 * one, 1.01 * one, 5.0) == pytest.approx(101, rel=1e-4)
    assert effective(100 * 1e6 * one, 1e6 * one, 5.0) == pytest.approx(100 * (1 + 5))


def test_rows_without_repetition_have_no_such_law() -> None:
    rows = repeated(5.0)
    assert fit_repeats([replace(row, epochs=None) for row in rows]) is None
    assert fit_repeats([row for row in rows if row.epochs == 1]) is None
    assert fit_repeats([]) is None
