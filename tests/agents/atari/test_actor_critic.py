"""The network that PPO trains: as initialised, and the same by every way of computing it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from agents.atari.actor_critic import Params, actor_critic, init, make_network
from agents.atari.convolutions import blocks_of
from data.experts.trained.networks import nature, nature_shapes
from data.spec import STACK

STACKS = np.random.default_rng(0).integers(0, 256, (6, 84, 84, STACK)).astype(np.uint8)
BLOCKS = blocks_of(jnp.moveaxis(jnp.asarray(STACKS), -1, 1), jnp.zeros((6, 1), jnp.int32))


def by_xla(params: Params, blocks: jax.Array) -> tuple[jax.Array, jax.Array]:
    return actor_critic(params, blocks, im2col=False)


def by_im2col(params: Params, blocks: jax.Array) -> tuple[jax.Array, jax.Array]:
    return actor_critic(params, blocks, im2col=True)


def on_two_devices(params: Params, blocks: jax.Array) -> tuple[jax.Array, jax.Array]:
    return make_network(jax.make_mesh((2,), ("data",), (AxisType.Auto,), devices=jax.devices()[:2]))(params, blocks)


@functools.cache
def params() -> Params:
    """Parameters whose logits differ."""
    fresh = init(jax.random.key(0), 4)
    biases = jax.random.normal(jax.random.key(1), (len(fresh), 512))
    params = {
        name: layer | {"bias": 0.1 * bias[: len(layer["bias"])]}
        for (name, layer), bias in zip(fresh.items(), biases, strict=True)
    }
    return params | {"actor": {**params["actor"], "kernel": params["actor"]["kernel"] * 50}}


def test_a_new_network_is_orthogonal() -> None:
    fresh = init(jax.random.key(0), 6)
    assert {layer: arrays["kernel"].shape for layer, arrays in fresh.items()} == nature_shapes(6)
    scales = dict.fromkeys(("conv0", "conv1", "conv2", "hidden"), 2.0) | {"actor": 0.01**2, "critic": 1.0}
    for layer, arrays in fresh.items():
        kernel = np.asarray(arrays["kernel"], np.float64).reshape(-1, arrays["kernel"].shape[-1])
        np.testing.assert_allclose(kernel.T @ kernel, scales[layer] * np.eye(kernel.shape[1]), atol=1e-5)
        assert not arrays["bias"].any()


@pytest.mark.parametrize("way", [by_xla, by_im2col, on_two_devices], ids=lambda way: way.__name__)
def test_it_is_the_network_of_the_players(way: Any) -> None:
    """Those compute in NumPy, from stacks of frames."""
    expected = nature(jax.tree.map(np.asarray, params()), STACKS, 255.0)
    for found, wanted in zip(jax.jit(way)(params(), BLOCKS), expected, strict=True):
        assert found.dtype == wanted.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected[0]) > 0.1


@pytest.mark.parametrize("way", [by_im2col, on_two_devices], ids=lambda way: way.__name__)
def test_gradients_are_the_same_whatever_computes_them(way: Any) -> None:
    def grads(way: Any) -> Any:
        def total(params: Params) -> jax.Array:
            logits, value = way(params, BLOCKS)
            return jax.nn.log_softmax(logits)[:, 0].sum() + jnp.square(value).sum()

        return jax.jit(jax.grad(total))(params())

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), grads(way), grads(by_xla))
