"""Dropout masks: the right rate, independent, and a function of the lane's bits and the position."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.cores.dropout import dropped
from agents.spec import Dropout

LANES, STEPS, FEATURES = 32, 16, 64


def kept(rate: float, layer: int = 0, seed: int = 0) -> np.ndarray:
    bits = jax.random.bits(jax.random.key(seed), (LANES,), jnp.uint32)
    return np.asarray(dropped(jnp.ones((LANES, STEPS, FEATURES)), Dropout(rate, bits), layer))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_fraction_is_dropped_and_the_mean_stays(rate: float) -> None:
    x = kept(rate)
    np.testing.assert_allclose(np.unique(x), [0, 1 / (1 - rate)], rtol=1e-6)
    # Of 32,768 draws, 6 standard deviations; of the 512 of a feature and the 1,024 of a lane, 5.
    for axes, draws in (((0, 1, 2), x.size), ((0, 1), LANES * STEPS), ((1, 2), STEPS * FEATURES)):
        error = np.abs((x == 0).mean(axis=axes) - rate)
        assert np.max(error) < 6 * (rate * (1 - rate) / draws) ** 0.5


def test_masks_of_lanes_layers_seeds_and_steps_are_uncorrelated() -> None:
    masks = [kept(0.5, layer, seed).reshape(LANES, -1) for layer, seed in ((0, 0), (1, 0), (2, 0), (0, 1))]
    correlation = np.corrcoef(np.concatenate(masks))
    np.fill_diagonal(correlation, 0)
    # 8,128 pairs of 1,024 draws: 6 standard deviations.
    assert np.abs(correlation).max() < 6 / (STEPS * FEATURES) ** 0.5
    steps = kept(0.5).swapaxes(1, 2).reshape(-1, STEPS)
    assert np.abs(np.corrcoef(steps.T) - np.eye(STEPS)).max() < 6 / len(steps) ** 0.5


def test_a_lane_has_the_same_mask_in_any_part_of_the_batch() -> None:
    bits, x = jax.random.bits(jax.random.key(0), (LANES,), jnp.uint32), jnp.ones((LANES, STEPS, FEATURES))
    part = dropped(x[4:6], Dropout(0.3, bits[4:6]), 1)
    np.testing.assert_array_equal(part, dropped(x, Dropout(0.3, bits), 1)[4:6])
