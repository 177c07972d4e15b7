"""The paper's Atari networks: to the last parameter, and to the last sample of each published budget."""

import csv
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from agents.cnn import CNN, WIDTHS, of_params
from agents.convolutions import Convolutions

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


@pytest.mark.parametrize("width", [1, 13])
def test_counts_are_those_of_the_network(width: int) -> None:
    """Parameters exist; FLOPs are XLA's, which also counts the cast and the scaling of pixels, and biases."""
    config = CNN(width, 6)
    module, frames = Convolutions(config), jnp.zeros((8, 84, 84, 4), jnp.uint8)
    params = module.init(jax.random.key(0), frames)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == config.cost().params
    logits: Any = module.apply(params, frames)
    assert logits.shape == (8, 6)
    analysis = jax.jit(module.apply).lower(params, frames).compile().cost_analysis()
    assert analysis is not None
    assert analysis["flops"] / 8 == pytest.approx(config.cost().forward_flops + 2 * 84 * 84 * 4, rel=0.02)


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
    assert cost.forward_flops == 2 * (256 * 400 + 32 * 81 + 36 * 49 + 98 * 4) + 4
    assert cost.train_flops("paper") == 6 * (256 * 7056 + 32 * 400 + 36 * 81 + 98 * 4)
