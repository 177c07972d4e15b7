"""The Atari networks: the paper's to the last parameter, and to the last sample of each published budget."""

import csv
import math
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.atari.agent import AtariAgent
from agents.atari.cnn import CNN, WIDTHS, of_params
from agents.atari.im2col import blocks_of, stacks_of
from agents.atari.impala import IMPALA
from agents.ladder import find
from data.common.cli import UserError

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


NETWORKS = [CNN(1, 6), CNN(13, 6), IMPALA(2, 6)]


def observed(lanes: int, steps: int, frames: int) -> dict[str, jax.Array]:
    """Random frames, and steps that show any four that follow one another."""
    random = np.random.default_rng(0)
    return {
        "frames": jnp.asarray(random.integers(0, 256, (lanes, frames, 84, 84), np.uint8)),
        "oldest": jnp.asarray(random.integers(0, frames - 3, (lanes, steps)), jnp.int32),
    }


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_products_are_convolutions(network: CNN | IMPALA) -> None:
    """Logits and gradients are the same either way, and one step of play gives what the window gives."""
    plain, im2col = (AtariAgent("atari/x/1", network, im2col=im2col) for im2col in (False, True))
    params, seen, first = plain.init(jax.random.key(1)), observed(2, 3, 8), jnp.zeros((2, 3), bool)

    def worth(agent: AtariAgent, params: Any) -> tuple[jax.Array, jax.Array]:
        logits, _ = agent.apply(params, seen, first, ())
        return (logits**2).sum(), logits

    (_, expected), grads = jax.jit(jax.value_and_grad(partial(worth, plain), has_aux=True))(params)
    (_, logits), others = jax.jit(jax.value_and_grad(partial(worth, im2col), has_aux=True))(params)
    assert logits.shape == (2, 3, 6)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    for one, other in zip(jax.tree.leaves(grads), jax.tree.leaves(others), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * float(jnp.abs(one).max()))
    oldest = int(seen["oldest"][1, 2])
    alone = {"frames": seen["frames"][1:, oldest : oldest + 4], "oldest": jnp.zeros((1, 1), jnp.int32)}
    step, _ = im2col.apply(params, alone, first[:1, :1], ())
    np.testing.assert_allclose(step[0, 0], logits[1, 2], rtol=1e-4, atol=1e-5)


def test_frames_become_stacks_the_newest_last() -> None:
    seen = observed(2, 3, 9)
    stacks = np.asarray(stacks_of(seen["frames"], seen["oldest"]))
    blocks = np.asarray(blocks_of(seen["frames"], seen["oldest"])).reshape(6, 21, 21, 4, 4, 4)
    for number, (lane, step) in enumerate(np.ndindex(2, 3)):
        oldest = int(seen["oldest"][lane, step])
        shown = np.asarray(seen["frames"])[lane, oldest : oldest + 4]
        np.testing.assert_array_equal(stacks[number], np.moveaxis(shown, 0, -1))
        # Rows and columns of blocks, frame, row and column in the block.
        np.testing.assert_array_equal(blocks[number].transpose(2, 0, 3, 1, 4).reshape(4, 84, 84), shown)


def test_the_ladder_has_both_families_for_any_number_of_actions() -> None:
    assert [find(f"atari/cnn/{width}", 4).cost(1).params for width in WIDTHS] == list(BREAKOUT)
    assert find("atari/impala/16", 9).cost(1).params > find("atari/impala/16", 4).cost(1).params
    with pytest.raises(UserError, match="near it: atari/cnn/23"):
        find("atari/cnn/2")


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
