"""Which rows of a table are of one training."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from data.common.cli import UserError
from eval.results import ResultRow
from laws.fitting.isoflop import cells_of
from laws.rows.protocols import distinct, of_protocol
from laws.rows.runs import Runs, read_records
from tests.laws.synthetic import fitted, sweep

RATES = (1e-4, 3e-4, 1e-3)


def named_by_size(rows: Sequence[ResultRow]) -> list[ResultRow]:
    return [replace(row, run=f"n{row.params}") for row in rows]


def measured(rows: Sequence[ResultRow], part: float) -> list[ResultRow]:
    """Rows whose FLOPs are off by up to this part."""
    random = np.random.default_rng(0)
    return [replace(row, flops=row.flops * (1 + random.uniform(-part, part))) for row in rows]


@pytest.mark.parametrize("part", [0.0, 0.003])
def test_seeds_of_one_name_are_trainings_whatever_their_flops(part: float) -> None:
    rows = named_by_size([replace(row, seed=seed) for seed in range(3) for row in sweep()])
    found = fitted(distinct(measured(rows, part)))
    assert len(cells_of(found.profiles)) == 3 * len(sweep())
    assert len({cell.run for cell in cells_of(found.profiles)}) == len({row.run for row in rows}) * 3


@pytest.mark.parametrize("part", [0.0, 0.003])
def test_of_learning_rates_under_one_name_the_best_enters(part: float) -> None:
    rows = named_by_size(
        [replace(row, lr=lr, loss=(row.loss or 0) * (1 + place)) for place, lr in enumerate(RATES) for row in sweep()]
    )
    found = fitted(distinct(measured(rows, part)))
    assert sorted(cell.loss for cell in cells_of(found.profiles)) == sorted(row.loss or 0 for row in sweep())


@pytest.mark.parametrize("schedule", ["decays", "decays at the end"])
def test_a_learning_rate_that_falls_along_a_training_does_not_divide_it(schedule: str) -> None:
    flops = np.geomspace(1e12, 1e14, 300)
    rates = np.where(flops < 9e13, 1.0, 0.0) if schedule == "decays at the end" else np.zeros(300)
    rates = np.maximum(rates, 1 - flops / 2e14)
    rows = [
        replace(sweep()[0], run="a", flops=float(c), samples=int(c / 1e6), lr=float(lr))
        for c, lr in zip(flops, rates, strict=True)
    ]
    assert {row.run for row in distinct(rows)} == {"a"}


def read(rows: Sequence[ResultRow]) -> Runs:
    """Read rows from a table without a column of runs."""
    return read_records([{name: value for name, value in vars(row).items() if name != "run"} for row in rows])


def test_without_runs_the_protocols_of_a_checkpoint_are_of_one_training() -> None:
    rows = [replace(row, protocol=protocol, return_mean=10.0) for protocol in "ab" for row in sweep()]
    # One checkpoint more was evaluated by the second protocol alone, the first of its size and budget.
    rows.append(replace(rows[-1], loss=(rows[-1].loss or 0) / 2))
    records = [{name: value for name, value in vars(row).items() if name != "run"} for row in rows]
    with pytest.raises(UserError, match="choose one with --protocol"):
        read_records(records)
    kept = of_protocol(distinct([replace(row, run="") for row in rows]), "a")
    assert len(kept) == len(sweep()) + 1
    assert sum(row.return_mean is None for row in kept) == 1


def test_rows_of_their_own_may_agree_in_what_is_fitted() -> None:
    rows = [replace(row, loss=round(row.loss or 0, 1), seconds=float(place)) for place in range(3) for row in sweep()]
    assert len(read(rows).rows) == len(rows)
    assert len(read(rows + rows).rows) == len(rows), "rows that agree in all are one"
