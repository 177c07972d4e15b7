"""The decay of the learning rate in a branch."""

import jax
import jax.numpy as jnp
import numpy as np


def decay_factor(step: jax.Array | np.int32, decay: jax.Array | np.ndarray, least: float | jax.Array) -> jax.Array:
    """Learning rate at `step` over that of the trunk, a float32 scalar: linear from 1 to `least` in a branch.

    `decay` is int32 [2], the steps at which the branch starts and ends (`Segment.decay`); on the trunk the factor is 1.
    """
    start, stop = decay
    progress = (step - start).astype(jnp.float32) / jnp.maximum(1, stop - start).astype(jnp.float32)
    return jnp.where(stop > start, 1 - (1 - jnp.asarray(least, jnp.float32)) * progress, jnp.float32(1))
