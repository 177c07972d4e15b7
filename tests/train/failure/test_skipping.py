"""A step that is not finite changes nothing but the position in the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.train.failure.tiny import batch, step_and_state
from train.failure.skipping import SkipLimit, last_good
from train.state import TrainState


def learned(state: TrainState) -> list[bytes]:
    """Everything but the position, bit for bit."""
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(jax.device_get(state._replace(step=0, skipped=0)))]


@pytest.mark.parametrize("fault", ["loss", "gradient", "carry"])
def test_a_step_that_is_not_finite_is_skipped_and_the_next_goes_on(fault: str) -> None:
    step, state = step_and_state(fault)
    state, _ = step(state, batch(bad=False))
    before = learned(state)
    state, metrics = step(state, batch(bad=True))
    assert learned(state) == before
    assert (int(state.step), int(state.skipped), int(metrics.skipped)) == (2, 1, 1)
    if fault == "loss":
        assert not np.isfinite(metrics.loss)
        assert (float(metrics.top1), float(metrics.top3)) == (0, 0)
    state, metrics = step(state, batch(bad=False))
    assert learned(state) != before
    assert (int(state.step), int(metrics.skipped)) == (3, 0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(state)))


def test_after_too_many_in_a_row_the_state_stays_the_last_good_one() -> None:
    step, state = step_and_state("loss", max_skipped=3)
    state, _ = step(state, batch(bad=False))
    before = learned(state)
    for bad in (True, True, True, False, False):
        state, _ = step(state, batch(bad=bad))
    assert learned(state) == before
    assert int(state.skipped) == 5
    good = last_good(state)
    assert learned(good) == before
    assert (int(good.step), int(good.skipped)) == (1, 0)


def noticed(counts: list[int], *, now: tuple[int, ...] = ()) -> int | None:
    """The step at which a limit of 3 is noticed."""
    limit = SkipLimit(3)
    return next((n for n, c in enumerate(counts) if limit.reached(jnp.full(1, c, jnp.int32), now=n in now)), None)


def test_the_limit_is_noticed_two_steps_later_or_when_asked() -> None:
    assert noticed([0, 1, 2, 0, 1, 2, 0, 0, 0]) is None
    counts = [0, 1, 2, 3, 4, 5, 6]
    assert noticed(counts) == 5
    assert noticed(counts, now=(3,)) == 3
    assert noticed(counts, now=(2,)) == 5
    assert noticed(counts, now=(0, 1, 2, 3, 4)) == 3
