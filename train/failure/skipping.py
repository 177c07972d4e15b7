"""Steps whose loss or gradient is not finite are skipped, in the compiled step, without waiting for the device."""

from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train.state import TrainState

LAG = 2
"""Dispatches before the outcome of one is read, so that the device always has work."""


def all_finite(*trees: Any) -> jax.Array:
    """Whether all floating-point numbers of these pytrees are finite, a bool scalar."""
    leaves = [leaf for leaf in jax.tree.leaves(trees) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def skip_nonfinite(before: TrainState, after: TrainState, finite: jax.Array, max_skipped: int) -> TrainState:
    """The state after a step: `after` if the step was `finite`, else that of `before` at the next position in the data.

    After `max_skipped` steps in a row everything is skipped, so that the state stays the last good one however late the
    host stops.
    """
    applied = finite & (before.skipped < max_skipped)
    state = jax.tree.map(lambda new, old: jnp.where(applied, new, old), after, before)
    return state._replace(step=after.step, skipped=jnp.where(applied, 0, before.skipped + 1))


def last_good(state: TrainState) -> TrainState:
    """The state before the steps that were skipped last, from which a run repeats them. Waits for the state.

    The members of a population are not set back: not all of them skipped the step.
    """
    if state.skipped.ndim:
        return state
    skipped = int(state.skipped)
    return state._replace(step=state.step - skipped, skipped=state.skipped - skipped) if skipped else state


class SkipLimit:
    """Notices that `max_skipped` steps in a row were skipped, at most two dispatches later."""

    def __init__(self, max_skipped: int) -> None:
        self._max_skipped = max_skipped
        self._unread: deque[jax.Array] = deque()

    def reached(self, skipped: jax.Array, *, now: bool = False) -> np.ndarray:
        """Whether so many were skipped, as known two dispatches after, or now.

        `skipped` are the counts after the steps of a dispatch, [K], or [K, M] of a population's members; the result has
        a bool for each member. A count that has reached the limit never falls, as nothing is learned any more.
        """
        self._unread.append(skipped)
        while len(self._unread) > (1 if now else 1 + LAG):
            self._unread.popleft()
        if not now and len(self._unread) <= LAG:
            return np.zeros(skipped.shape[1:], bool)
        return np.asarray(self._unread[0]).max(axis=0) >= self._max_skipped
