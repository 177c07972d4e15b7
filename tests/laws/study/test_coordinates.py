"""The coordinate check: by µP, wide layers move as far in the first steps as narrow ones; else readouts move more."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.ladder import find
from data.common.cli import UserError
from data.sampling.stream import batches
from data.store.reader import TrajectoryStore
from laws.study.coordinates import LANES, WINDOW, check, draw
from train.config import Optimizer
from train.optimizer import bc_optimizer
from train.scaling import mup

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nethack/lstm/64", "nethack/transformer/64"])
def test_changes_are_flat_by_mup_and_rise_otherwise(name: str, store: Path) -> None:
    batch = next(batches(TrajectoryStore.open(store), "train", LANES, WINDOW, 0))
    with jax.numpy_dtype_promotion("standard"):
        lines = check(find(name), batch, (64, 256), steps=8, lr=3e-3)
    slopes = {(line.scaling, line.layer): line.slope for line in lines}
    for layer in ("mixer", "core", "head"):
        assert abs(slopes["mup", layer]) < 0.3, (layer, slopes)
    assert slopes["standard", "head"] > 0.35, slopes
    assert draw(lines, name, 8).axes[3].get_lines()


@pytest.mark.slow
def test_mup_is_the_standard_parametrisation_at_its_base_width_and_scales_what_is_wider() -> None:
    base, wide = find("nethack/lstm/64"), find("nethack/lstm/64+core.width=256+encoders.width=128")
    key = jax.random.key(0)
    for agent, fan_in in ((base, 1.0), (wide, 0.25)):
        plain, scaled = jax.jit(agent.init)(key), jax.jit(mup.init, static_argnums=0)(agent, key)
        same: Any = jax.tree.map(lambda a, b: bool((a == b).all()), plain, scaled)
        assert all(jax.tree.leaves(same["core"])), "hidden matrices keep their initial values"
        np.testing.assert_allclose(scaled["head"]["kernel"], plain["head"]["kernel"] * fan_in**0.5, rtol=1e-6)
        optimizer = mup.scale_updates(agent)
        ones = jax.tree.map(jnp.ones_like, plain)
        shares: Any = optimizer.update(ones, optimizer.init(plain))[0]
        found = {path: float(shares[path[0]][path[1]].ravel()[0]) for path in (("head", "kernel"), ("crop", "kernel"))}
        assert found == {("head", "kernel"): fan_in, ("crop", "kernel"): 1.0}
        assert float(shares["core"]["layer0"]["hidden"][0, 0]) == fan_in
        assert float(shares["head"]["bias"][0]) == 1.0


def test_mup_needs_an_agent_of_several_widths() -> None:
    class OneWidth:
        name = "one"

        def of_width(self, width: int) -> None:
            return

    with pytest.raises(UserError, match="one has one width only: choose --scaling standard"):
        bc_optimizer(Optimizer(lr=1e-3, scaling="mup"), 8, 10, OneWidth())  # pyright: ignore[reportArgumentType]
