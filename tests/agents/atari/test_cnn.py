"""The paper's Atari networks: its parameters exactly, and the samples of each published budget."""

import csv
import math
from pathlib import Path

import pytest

from agents.atari.cnn import CNN, WIDTHS, of_params
from agents.ladder import find

BREAKOUT = (725, 2575, 4969, 9580, 19985, 50995, 100814, 202654, 499045, 1007257, 2005507, 4985110)
BATCH = 4096
"""Samples of the paper's optimiser step."""


def test_the_ladder_has_the_papers_parameters() -> None:
    assert tuple(CNN(width, 4).cost().params for width in WIDTHS) == BREAKOUT
    for params in BREAKOUT:
        found = of_params(params)
        assert found is not None
        assert (found.actions, found.cost().params) == (4, params)
    assert of_params(726) is None


def test_the_ladder_has_both_families_for_any_number_of_actions() -> None:
    assert [find(f"atari/cnn/{width}", 4).cost(1).params for width in WIDTHS] == list(BREAKOUT)
    assert find("atari/impala/16", 9).cost(1).params > find("atari/impala/16", 4).cost(1).params


@pytest.mark.parametrize("game", ["Breakout", "BankHeist", "BattleZone", "NameThisGame"])
def test_the_papers_convention_gives_its_samples(paper: Path, game: str) -> None:
    """Every cell ran the least whole number of steps that reaches its budget."""
    cells = 0
    with (paper / f"{game}.csv").open() as file:
        for row in csv.DictReader(file):
            if not row["samples"]:
                continue
            config = of_params(int(row["params"]))
            assert config is not None
            steps = math.ceil(float(row["flops"]) / config.cost().train_flops("paper") / BATCH)
            assert int(row["samples"]) == steps * BATCH
            cells += 1
    assert cells > 100


def test_a_convolution_does_less_than_the_paper_counts() -> None:
    cost = CNN(1, 4).cost()
    products = 256 * 400, 32 * 81, 36 * 49, 98 * 4
    biases_and_maxima = 2 * (400 + 2 * 81 + 2 * 49) + 4
    assert cost.forward_flops == 2 * sum(products) + biases_and_maxima + 4 * 84 * 84
    assert cost.train_flops("paper") == 6 * (256 * 7056 + 32 * 400 + 36 * 81 + 98 * 4)
