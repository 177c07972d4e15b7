"""The runs of a sweep, named by their configuration."""

from dataclasses import replace
from pathlib import Path

from laws.design.runs import SweepRun, runs_of
from tests.laws.sweep.sweeps import BUDGETS, described

FOLDER = Path("sweep")


def keys(runs: list[SweepRun]) -> set[str]:
    return {cell.key for run in runs for cell in run.cells}


def test_a_run_makes_the_cells_of_all_its_budgets(store: Path) -> None:
    runs = runs_of(described(store, seeds=3), FOLDER)
    assert len(runs) == 6
    assert {(run.config.agent, run.config.init_seed, run.config.data_seed) for run in runs} == {
        (f"nethack/lstm/{size}", seed, seed) for size in (16, 32) for seed in range(3)
    }
    for run in runs:
        assert run.config.flops == BUDGETS
        assert run.config.optimizer.schedule == "wsd"
        assert [cell.flops for cell in run.cells] == list(BUDGETS)
        assert run.config.run == FOLDER / "runs" / run.name
    assert len({run.name for run in runs}) == 6
    assert len(keys(runs)) == 12


def test_a_schedule_that_ends_at_a_budget_makes_each_cell_a_run(store: Path) -> None:
    sweep = described(store)
    shared = replace(sweep.shared, optimizer=replace(sweep.shared.optimizer, schedule="cosine"))
    runs = runs_of(replace(sweep, shared=shared), FOLDER)
    assert sorted((run.config.agent, *run.config.flops) for run in runs) == [
        (f"nethack/lstm/{size}", budget) for size in (16, 32) for budget in BUDGETS
    ]


def test_what_changes_a_result_changes_the_run_and_nothing_else_does(store: Path) -> None:
    sweep = described(store)
    before = runs_of(sweep, FOLDER)
    for change in ({"lanes": 16}, {"dropout": 0.1}, {"compute": "bfloat16"}, {"window": 16}):
        after = runs_of(replace(sweep, shared=replace(sweep.shared, **change)), FOLDER)
        assert not {run.name for run in before} & {run.name for run in after}, change
        assert not keys(before) & keys(after)
    for change in ({"threads": 2}, {"checkpoint_seconds": 1.0}, {"microbatch": 64}, {"store": Path("moved")}):
        assert runs_of(replace(sweep, shared=replace(sweep.shared, **change)), FOLDER) != before
        after = runs_of(replace(sweep, shared=replace(sweep.shared, **change)), FOLDER)
        assert {run.name for run in before} == {run.name for run in after}, change
        assert keys(before) == keys(after)
    other = runs_of(replace(sweep, checksum="another"), FOLDER)
    assert not {run.name for run in before} & {run.name for run in other}


def test_another_evaluation_makes_other_cells_of_the_same_runs(store: Path) -> None:
    before, after = runs_of(described(store), FOLDER), runs_of(described(store, episodes=10), FOLDER)
    assert [run.name for run in before] == [run.name for run in after]
    assert not keys(before) & keys(after)


def test_more_budgets_and_seeds_extend_what_is_there(store: Path) -> None:
    before, after = runs_of(described(store), FOLDER), runs_of(described(store, budgets=(*BUDGETS, 2e9)), FOLDER)
    assert {run.name for run in before} == {run.name for run in after}
    assert keys(before) < keys(after)
    more = runs_of(described(store, seeds=2), FOLDER)
    assert keys(before) < keys(more)


def test_small_budgets_come_first_and_of_these_the_middle_sizes(store: Path) -> None:
    sweep = described(store, sizes=("16", "32", "48"))
    small = sweep.sizes[6e8]
    sizes = {2e8: small, 6e8: small[2:]}
    runs = runs_of(replace(sweep, sizes=sizes, config=replace(sweep.config, seeds=2)), FOLDER)
    order = [(run.config.agent.rpartition("/")[2], run.config.init_seed) for run in runs]
    assert order == [("32", 0), ("16", 0), ("32", 1), ("16", 1), ("48", 0), ("48", 1)]
