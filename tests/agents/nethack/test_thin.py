"""Thin NetHack encoders: what they see around the cursor, and that gradients reach them unspoilt."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agents.ladder import find
from agents.nethack.sight import BLOCK, KINDS, wide_view
from agents.spec import Params
from data.sampling.stream import batches
from data.store.reader import TrajectoryStore


def test_the_wide_view_counts_kinds_in_blocks() -> None:
    chars, colors = np.full((1, 24, 80), ord(" "), np.uint8), np.full((1, 24, 80), 7, np.uint8)
    chars[0, 12, 40] = ord("@")
    chars[0, 13, 41] = ord(".")
    chars[0, 11:14, 43] = ord("|")
    colors[0, 12, 43] = 3
    chars[0, 0, 0] = ord("<")
    cursor = np.array([[12, 40]], np.uint8)
    view = wide_view({name: jnp.asarray(x) for name, x in (("chars", chars), ("colors", colors), ("cursor", cursor))})
    counts = np.asarray(view).reshape(9, len(KINDS), 27) * BLOCK
    wanted = {(4, 13): {None: 1, ".": 1}, (4, 14): {"|-": 2, "+": 1}, (0, 0): {"<>": 1}}
    for (row, column), kinds in wanted.items():
        for place, kind in enumerate(KINDS):
            assert counts[row, place, column] == pytest.approx(kinds.get(kind, 0)), (row, column, kind)
    assert counts.sum() == pytest.approx(6)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize("name", ["nethack/lstm/16", "nethack/lstm/16+encoders.screen=4"])
def test_no_gradient_explodes_at_initialisation(name: str, store: Path) -> None:
    """As it does where a norm is given zeros, of a blank screen for example."""
    opened = TrajectoryStore.open(store)
    agent = find(name, len(opened.manifest["actions"]), opened.codec.observation)
    batch = next(batches(opened, "train", 16, 16, seed=0))

    @jax.jit
    def gradient(params: Params) -> Params:
        def loss(params: Params) -> jax.Array:
            logits, _ = agent.apply(params, batch.observation, batch.first, agent.initial_carry(16))
            return optax.softmax_cross_entropy_with_integer_labels(logits, batch.action).mean()

        return jax.grad(loss)(params)

    norms = {group: float(optax.tree.norm(grads)) for group, grads in gradient(agent.init(jax.random.key(0))).items()}
    assert all(0 < norm < 10 for norm in norms.values()), norms
