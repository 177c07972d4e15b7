"""What the host cuts out of a screen is what the network reads of it."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agents.ladder import find
from agents.nethack.sight import BLOCK, CROP_CHARS, CROP_COLORS, LINES, VIEW, crop, cut_out, lines, wide_view
from agents.spec import Agent, Params
from data.sampling.stream import batches
from data.spec import NETHACK
from data.store.reader import TrajectoryStore
from train.compile.step import batch_shapes
from train.input.transfer import sent
from train.mesh import make_mesh


@pytest.mark.parametrize("side", [1, 4, 9])
def test_the_crop_is_the_neighbourhood_of_the_cursor_on_host_and_device(side: int) -> None:
    random = np.random.default_rng(side)
    screens = {name: random.integers(1, 255, (2, 32, *NETHACK[name].shape), np.uint8) for name in ("chars", "colors")}
    cursor = random.integers((24, 80), size=(2, 32, 2)).astype(np.uint8)
    cursor[0, :2] = [0, 0], [23, 79]
    observation = {**screens, "cursor": cursor, "prev_action": np.zeros((2, 32), np.uint8)}
    found = cut_out(observation, side, view=True)
    on_device = {name: jnp.asarray(x.reshape(64, *x.shape[2:])) for name, x in observation.items()}
    for name, (cut, x) in zip(screens, zip((CROP_CHARS, CROP_COLORS), crop(on_device, side), strict=True), strict=True):
        half = side // 2
        padded = np.pad(screens[name], ((0, 0), (0, 0), (half, side), (half, side)))
        near = [
            padded[lane, step, row : row + side, column : column + side]
            for lane in range(2)
            for step, (row, column) in enumerate(cursor[lane])
        ]
        np.testing.assert_array_equal(found[cut].reshape(64, side, side), near)
        np.testing.assert_array_equal(x, near)
    view = np.asarray(wide_view(on_device)) * BLOCK
    np.testing.assert_allclose(found[VIEW].reshape(view.shape), view, rtol=1e-6)
    message, status = lines(on_device)
    np.testing.assert_array_equal(found[LINES].reshape(64, -1), np.concatenate([message, status], axis=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sent_bytes"),
    [
        ("nethack/lstm/16", 403),
        ("nethack/transformer/64x2", 403),
        ("nethack/lstm/128", 2347),
        ("nethack/lstm/512", 3843),
    ],
)
def test_the_network_computes_the_same_from_what_is_sent(name: str, sent_bytes: int, store: Path) -> None:
    agent = find(name)
    batch = next(batches(TrajectoryStore.open(store), "train", 8, 16, seed=0))
    seen = sent(agent, batch)
    assert sum(x.nbytes for x in seen.observation.values()) == sent_bytes * 8 * 16
    assert jax.tree.leaves(seen.episode) == []
    shapes = batch_shapes(agent, make_mesh(), 8, 16)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes) == jax.tree.map(lambda x: (x.shape, x.dtype), seen)
    params, carry = jax.jit(agent.init)(jax.random.key(0)), agent.initial_carry(8)
    whole, _ = jax.jit(agent.apply)(params, batch.observation, batch.first, carry)
    found, _ = jax.jit(agent.apply)(params, seen.observation, seen.first, carry)
    np.testing.assert_allclose(found, whole, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["gpu", "tpu"])
@pytest.mark.parametrize(
    "name",
    [
        "nethack/lstm/16+encoders.screen=4",
        "nethack/transformer/64x2",
        "nethack/paper/190k",
    ],
)
def test_on_an_accelerator_it_computes_the_same(name: str, platform: str, store: Path) -> None:
    """Folded embeddings, or copies of their tables: loss and gradients, here on a CPU."""
    batch = next(batches(TrajectoryStore.open(store), "train", 4, 16, seed=0))
    agents = [find(name).for_backend("float32", backend) for backend in ("cpu", platform)]
    assert [agent.platform for agent in agents] == ["cpu", platform]  # pyright: ignore[reportAttributeAccessIssue]
    params = jax.jit(agents[0].init)(jax.random.key(0))

    def loss(params: Params, agent: Agent) -> jax.Array:
        logits, _ = agent.apply(params, sent(agent, batch).observation, batch.first, agent.initial_carry(4))
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.action).mean()

    (one, of_one), (two, of_two) = (jax.jit(jax.value_and_grad(partial(loss, agent=agent)))(params) for agent in agents)
    assert float(one) == pytest.approx(float(two), rel=1e-5)
    for group in of_one:
        far = optax.tree.norm(jax.tree.map(jnp.subtract, of_one[group], of_two[group]))
        assert float(far) <= 1e-4 * float(optax.tree.norm(of_one[group])), group
