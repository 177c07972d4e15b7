"""Which sizes are trained at which budgets, and what is left out."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from data.common.cli import UserError
from laws.design.config import Shared, SweepConfig, shared_of
from laws.design.grid import FEWEST, Content, Grid, content_of, grid_of


@pytest.fixture(scope="module")
def content(store: Path) -> Content:
    return replace(content_of(shared_of(Shared(store=store))), epoch=10**13)


def planned(content: Content, lanes: int = 16, **options) -> Grid:
    return grid_of(SweepConfig(**options), Shared(lanes=lanes), content)


BUDGETS = (1e11, 1e12, 1e13, 1e14)


def test_sizes_follow_the_expected_optimum(content: Content) -> None:
    grid = planned(content, budgets=BUDGETS, spread=5.0, min_steps=1)
    for budget, sizes in grid.sizes.items():
        assert len(sizes) >= FEWEST
        ratios = [size.samples(budget) / size.params for size in sizes]
        # Samples per parameter fall with N, on both sides of 20.
        assert ratios == sorted(ratios, reverse=True)
        assert ratios[0] > 20 > ratios[-1]
        outside = [ratio for ratio in ratios if not 5**-2 <= ratio / 20 <= 5**2]
        assert not outside or len(sizes) == FEWEST
    smallest = [sizes[0].params for sizes in grid.sizes.values()]
    assert smallest == sorted(smallest)
    assert smallest[-1] > smallest[0]


def test_the_papers_law_and_a_table_of_rows_are_priors(content: Content, paper: Path) -> None:
    by_name = planned(content, budgets=(1e17, 1e18), prior="paper", family="nethack/paper")
    by_table = planned(content, budgets=(1e17, 1e18), prior=str(paper / "nethack.csv"), family="nethack/paper")
    assert by_name.sizes.keys() == by_table.sizes.keys()
    for budget, sizes in by_name.sizes.items():
        expected = 2515000 * (budget / math.sqrt(1e14 * 1e19)) ** 0.605
        assert sizes[0].params < expected < sizes[-1].params
        # The law of its parabolas differs from that of its envelope, though not by much.
        assert len(set(sizes) & set(by_table.sizes[budget])) >= len(sizes) - 1
        assert not any(size.agent.endswith("-inv") for size in sizes)


def test_cells_of_too_few_steps_or_too_many_epochs_are_left_out_by_name(content: Content) -> None:
    few = replace(content, epoch=1_000_000)
    options = {"budgets": (1e12,), "sizes": ("16", "32", "64", "128", "512"), "min_steps": 200, "max_epochs": 2.0}
    grid = planned(few, lanes=64, **options)
    assert [size.agent for size in grid.sizes[1e12]] == ["nethack/lstm/64", "nethack/lstm/128"]
    for size in grid.sizes[1e12]:
        assert 200 * 2048 <= size.samples(1e12) <= 2_000_000
    steps, epochs = grid.left_out
    assert "1 cell of fewer than 200 steps" in steps
    assert "nethack/lstm/512 at 1e+12" in steps
    assert "2 cells of more than 2 epochs" in epochs
    assert "nethack/lstm/16 at 1e+12, nethack/lstm/32 at 1e+12" in epochs
    with pytest.raises(UserError, match="no cell is left: 1 cell of fewer than 200 steps"):
        planned(few, lanes=64, budgets=(1e12,), sizes=("512",))


def test_budgets_that_are_planned_keep_their_sizes(content: Content) -> None:
    config = SweepConfig(budgets=(1e11, 1e12), min_steps=1)
    other = grid_of(replace(config, sizes=("96",)), Shared(lanes=16), content).sizes[1e11]
    kept = grid_of(config, Shared(lanes=16), content, {1e11: other})
    assert [size.agent for size in kept.sizes[1e11]] == ["nethack/lstm/96"]
    assert kept.sizes[1e12] == planned(content, budgets=(1e12,), min_steps=1).sizes[1e12]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"budgets": ()}, "--budgets is empty"),
        ({"budgets": (1e12,), "family": "nethack/none"}, "there are .*nethack/lstm"),
        ({"budgets": (1e12,), "sizes": ("17",)}, "no agent 'nethack/lstm/17'"),
        ({"budgets": (1e12,), "prior": "nowhere.csv"}, "give a number of samples per parameter"),
        ({"budgets": (1e12, 1e12)}, "names one twice"),
        ({"budgets": (math.nan,)}, "must be more than 0"),
        ({"budgets": (1e12,), "sizes": ("auto", "16")}, "auto alone"),
        ({"budgets": (1e12,), "seeds": 0}, "seeds must be more than 0"),
        ({"budgets": (1e12,), "spread": 1.0}, "a factor of N above 1"),
        ({"budgets": (1e12,), "episodes": 1}, "episodes must be"),
    ],
)
def test_what_cannot_be_planned_is_refused(content: Content, options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        planned(content, **options)
