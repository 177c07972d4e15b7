"""Adaptive sweeps, on rows of a planted law in place of trainings."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.common.rows import as_record
from eval.results import ResultRow
from laws.design.config import Shared, Sweep, SweepConfig, read_sweep, shared_of, write_sweep
from laws.design.grid import Content, content_of, grid_of
from laws.design.runs import SweepRun, runs_in, runs_of
from laws.sweep import stages
from laws.sweep.stages import advance, ended
from laws.sweep.state import State
from laws.sweep.table import rows_of

BUDGETS = (1e11, 1e12, 1e13, 1e14)
OPTIMUM, EXPONENT = 4e4, 0.6
"""N of least loss at the first budget, and its exponent of C."""


@pytest.fixture
def content(store: Path) -> Content:
    return replace(content_of(shared_of(Shared(store=store))), epoch=10**13)


@pytest.fixture
def adaptive(store: Path, content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an adaptive sweep whose first budget is planned far from the optimum, on games without end."""
    monkeypatch.setattr(stages, "content_of", lambda shared, game: content)
    config = SweepConfig(budgets=BUDGETS, refine=True, refine_factor=1.5, spread=2.0, prior="2000", min_steps=1)
    shared = shared_of(Shared(store=store, lanes=16))
    first = grid_of(replace(config, budgets=BUDGETS[:1]), shared, content).sizes
    State(tmp_path).make()
    write_sweep(tmp_path, Sweep(config, shared, content.checksum, first))
    return tmp_path


def measure(folder: Path, noise: float = 0.002) -> int:
    """Give every cell that has none a row of the planted law; returns their number."""
    sweep, state, count = read_sweep(folder), State(folder), 0
    params = {size.agent: size for sizes in sweep.sizes.values() for size in sizes}
    for run in runs_of(sweep, folder):
        for cell in run.cells:
            if state.row(cell) is None:
                state.add(cell, as_record(row(run, cell.flops, params[run.config.agent].params, noise)))
                count += 1
    return count


def row(run: SweepRun, flops: float, params: int, noise: float) -> ResultRow:
    away = math.log(params / OPTIMUM) - EXPONENT * math.log(flops / BUDGETS[0])
    random = np.random.default_rng([params, round(math.log10(flops))])
    loss = (flops / 1e11) ** -0.1 * math.exp(0.05 * away**2 + noise * random.normal())
    return ResultRow("nethack", run.name, flops, params, int(flops / 6 / params), loss, seed=run.config.init_seed)


def steps(folder: Path) -> Iterator[Sweep]:
    """The sweep after each decision, until there is none."""
    for _ in range(40):
        measure(folder)
        if not advance(folder):
            return
        yield read_sweep(folder)
    raise AssertionError("it does not end")


def test_it_finds_optima_far_from_the_prior_and_plans_each_budget_by_those_before(adaptive: Path) -> None:
    planned = [len(sweep.sizes) for sweep in steps(adaptive)]
    assert planned == sorted(planned), "a budget is planned once"
    sweep = read_sweep(adaptive)
    assert list(sweep.sizes) == list(BUDGETS)
    for budget, sizes in sweep.sizes.items():
        best = OPTIMUM * (budget / BUDGETS[0]) ** EXPONENT
        assert sizes[0].params < best < sizes[-1].params
        assert [size.params for size in sizes] == sorted(size.params for size in sizes)
    # From the second on the law of the rows is nearer than the prior, which is wrong by a factor of ten.
    assert len(sweep.sizes[BUDGETS[-1]]) <= 7
    assert any("adds" in decision for decision in sweep.decisions)
    assert len(rows_of(adaptive)) == sum(len(sizes) for sizes in sweep.sizes.values())
    assert not advance(adaptive)
    assert ended(adaptive)


def test_a_training_never_goes_back_to_a_budget_that_it_has_passed(adaptive: Path) -> None:
    before = read_sweep(adaptive)
    for after in steps(adaptive):
        for budget, sizes in after.sizes.items():
            new = set(sizes) - set(before.sizes.get(budget, ()))
            assert not any(size in larger for size in new for b, larger in before.sizes.items() if b > budget)
        before = after


def test_a_sweep_has_not_ended_between_a_budget_and_the_next(adaptive: Path) -> None:
    measure(adaptive)
    assert not State(adaptive).status(runs_in(adaptive)).waiting
    before = (adaptive / "sweep.json").read_text()
    assert not ended(adaptive)
    assert (adaptive / "sweep.json").read_text() == before, "who only asks decides nothing"


def test_a_sweep_that_is_extended_while_a_decision_is_made_stays_extended(
    adaptive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(adaptive)
    before, decide = read_sweep(adaptive), stages._after
    extended = replace(before, config=replace(before.config, budgets=(*BUDGETS, 1e15)))

    def meanwhile(*args: Any) -> Sweep | None:
        write_sweep(adaptive, extended)
        return decide(*args)

    def meanwhile_nothing(*args: Any) -> Sweep | None:
        meanwhile(*args)
        return None

    for decision in (meanwhile, meanwhile_nothing):
        write_sweep(adaptive, before)
        monkeypatch.setattr(stages, "_after", decision)
        assert advance(adaptive)
        assert read_sweep(adaptive) == extended
    monkeypatch.setattr(stages, "_after", decide)
    assert advance(adaptive)
    after = read_sweep(adaptive)
    assert after.config == extended.config
    assert after.decisions


def test_it_ends_within_the_total(adaptive: Path) -> None:
    sweep = read_sweep(adaptive)
    first = sum(run.flops for run in runs_of(sweep, adaptive))
    write_sweep(adaptive, replace(sweep, config=replace(sweep.config, total=4 * first)))
    for after in steps(adaptive):
        assert sum(run.flops for run in runs_of(after, adaptive)) <= 4 * first
    assert "would pass --total" in read_sweep(adaptive).decisions[-1]


def test_nothing_is_decided_while_runs_are_left(adaptive: Path) -> None:
    before = (adaptive / "sweep.json").read_text()
    assert advance(adaptive)
    assert (adaptive / "sweep.json").read_text() == before


def test_sizes_that_are_added_to_a_tuned_sweep_are_trained_beside_the_others(
    store: Path, content: Content, tmp_path: Path
) -> None:
    config = SweepConfig(budgets=BUDGETS[:2], tune=("lr",), tune_budgets=1, prior="2000", min_steps=1)
    shared = shared_of(Shared(store=store, lanes=16))
    State(tmp_path).make()
    write_sweep(tmp_path, Sweep(config, shared, content.checksum, grid_of(config, shared, content).sizes))
    state, sweep = State(tmp_path), read_sweep(tmp_path)
    for run in runs_of(sweep, tmp_path):
        assert run.tries
        for cell, member in zip(run.cells, run.members, strict=True):
            rate, params = float(member.optimizer.lr), sweep.agents[run.config.agent].params
            loss = math.exp(0.05 * math.log(rate / (2 * params**-0.3)) ** 2)
            found = row(run, cell.flops, params, 0.0)
            found = replace(found, run=cell.run, loss=loss, lr=rate, batch=member.batch)
            state.add(cell, as_record(found))
    assert advance(tmp_path)
    tuned = read_sweep(tmp_path)
    assert set(tuned.settings) == set(tuned.agents)
    larger = grid_of(replace(config, budgets=BUDGETS[:3]), shared, content).sizes
    write_sweep(tmp_path, replace(tuned, sizes=larger))
    assert state.status(runs_of(tuned, tmp_path)).waiting
    assert set(read_sweep(tmp_path).agents) - set(tuned.settings)
    assert advance(tmp_path)
    extended = read_sweep(tmp_path)
    assert set(extended.settings) == set(extended.agents)
    assert tuned.settings.items() <= extended.settings.items()
    assert extended.decisions == tuned.decisions
