"""What NetHack encoders see around the cursor."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.ladder import find
from agents.nethack.agent import NetHackAgent, Network
from agents.nethack.sight import BLOCK, KINDS, wide_view
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


def test_units_tell_screens_apart_from_the_start(store: Path) -> None:
    """Of units whose sign is the same on nearly all screens, a narrow network has too few others to learn with."""
    opened = TrajectoryStore.open(store)
    agent = find("nethack/lstm/16", len(opened.manifest["actions"]), opened.codec.observation)
    batch = next(batches(opened, "train", 16, 64, seed=0))
    assert isinstance(agent, NetHackAgent)

    @jax.jit
    def signs(seed: jax.Array) -> dict[str, jax.Array]:
        """Share of the samples that activate each unit, by layer."""
        params = agent.init(jax.random.key(seed))
        arguments = batch.observation, batch.first, agent.initial_carry(16)
        _, seen = Network(agent).apply({"params": params}, *arguments, capture_intermediates=True)
        found = seen["intermediates"]
        return {name: (jnp.asarray(found[name]["__call__"][0]) > 0).mean(0) for name in ("crop", "message", "status")}

    active = [signs(seed) for seed in np.arange(8, dtype=np.uint32)]
    stuck = {name: np.mean([np.abs(each[name] - 0.5) > 0.45 for each in active]) for name in active[0]}
    assert np.mean([*stuck.values()]) < 0.2, stuck
