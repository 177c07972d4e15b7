"""The residual network of IMPALA (Espeholt et al. 2018), as CleanRL trains it by PPO.

Three sequences of a convolution, a maximum over 3 x 3 places with a stride of 2, and two residual blocks of two
convolutions; then a hidden layer, with an actor and a critic on it. Kernels are 3 x 3, padding keeps the size. Pure
functions of parameters as in `data.experts.trained.nature`; of `conv0` to `conv14` every fifth begins a sequence.
"""

from itertools import count

import jax
import jax.numpy as jnp
from jax import lax

from data.experts.trained.nature import Params, convolved, linear
from data.spec import STACK

CHANNELS, HIDDEN = (16, 32, 32), 256
"""Of each sequence; features of the hidden layer."""
BLOCKS = 2
SEQUENCE = 1 + 2 * BLOCKS
"""Convolutions of a sequence."""
_SIDE = 11
"""Rows (and columns) that the last sequence leaves of 84."""


def shapes(actions: int) -> dict[str, tuple[int, ...]]:
    """The kernels' shapes by layer."""
    found: dict[str, tuple[int, ...]] = {}
    channels = STACK
    for features in CHANNELS:
        for _ in range(SEQUENCE):
            found[f"conv{len(found)}"] = (3, 3, channels, features)
            channels = features
    return found | {"hidden": (_SIDE * _SIDE * channels, HIDDEN), "actor": (HIDDEN, actions), "critic": (HIDDEN, 1)}


def apply(params: Params, stacks_Nx84x84x4: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of stacks uint8, the newest frame last: logits [N, actions] and values [N], float32."""
    layers = (params[f"conv{number}"] for number in count())
    x = stacks_Nx84x84x4.astype(jnp.float32) / 255
    for _ in CHANNELS:
        x = _halved(convolved(next(layers), x, 1, "SAME"))
        for _ in range(BLOCKS):
            inner = convolved(next(layers), jax.nn.relu(x), 1, "SAME")
            x = x + convolved(next(layers), jax.nn.relu(inner), 1, "SAME")
    x = jax.nn.relu(linear(params["hidden"], jax.nn.relu(x).reshape(len(x), -1)))
    return linear(params["actor"], x), linear(params["critic"], x)[:, 0]


def _halved(x_NxHxWxC: jax.Array) -> jax.Array:
    return lax.reduce_window(x_NxHxWxC, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
