"""Atari agents: both forms of computing convolutions agree, and steps see the right frames."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.atari.agent import AtariAgent
from agents.atari.cnn import CNN
from agents.atari.convolutions import blocks_of, stacks_of
from agents.atari.impala import IMPALA

NETWORKS = [CNN(1, 6), CNN(13, 6), IMPALA(2, 6)]


def observed(lanes: int, steps: int, frames: int) -> dict[str, jax.Array]:
    """Random frames, and steps that show any four that follow one another."""
    random = np.random.default_rng(0)
    return {
        "frames": jnp.asarray(random.integers(0, 256, (lanes, frames, 84, 84), np.uint8)),
        "oldest": jnp.asarray(random.integers(0, frames - 3, (lanes, steps)), jnp.int32),
    }


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_im2col_gives_what_convolutions_give(network: CNN | IMPALA) -> None:
    """Logits and gradients are the same either way, and one step of play gives what the window gives."""
    plain, im2col = (AtariAgent("atari/x/1", network, im2col=im2col) for im2col in (False, True))
    params, seen, first = jax.jit(plain.init)(jax.random.key(1)), observed(2, 3, 8), jnp.zeros((2, 3), bool)

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
    step, _ = jax.jit(im2col.apply)(params, alone, first[:1, :1], ())
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
