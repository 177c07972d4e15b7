"""The network of Mnih et al. (2015) as PPO trains it: three convolutions, a hidden layer, an actor and a critic on it.

Pure functions of a nested dict of float32 arrays: `conv0`, `conv1`, `conv2`, `hidden`, `actor` and `critic`, each with
a `kernel` ([rows, columns, in, out] of a convolution, [in, out] of a linear layer) and a `bias` [out].
"""

import jax
import jax.numpy as jnp
from jax import lax

from data.spec import STACK

CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Of each: channels, kernel, stride; without padding."""
SIDE, HIDDEN = 7, 512
"""Rows (and columns) that the last convolution leaves of 84; features of the hidden layer."""
_SCALES = {"actor": 0.01, "critic": 1.0}
"""Of the kernels at the start, where it is not sqrt(2)."""

Layer = dict[str, jax.Array]
Params = dict[str, Layer]


def shapes(actions: int) -> dict[str, tuple[int, ...]]:
    """The kernels' shapes by layer."""
    found: dict[str, tuple[int, ...]] = {}
    channels = STACK
    for number, (features, side, _) in enumerate(CONVOLUTIONS):
        found[f"conv{number}"] = (side, side, channels, features)
        channels = features
    return found | {"hidden": (SIDE * SIDE * channels, HIDDEN), "actor": (HIDDEN, actions), "critic": (HIDDEN, 1)}


def init(key: jax.Array, actions: int) -> Params:
    """Orthogonal kernels, scaled by sqrt(2), of the actor by 0.01 and of the critic by 1; biases of 0."""
    layers = shapes(actions)
    params = {}
    for one, (name, shape) in zip(jax.random.split(key, len(layers)), layers.items(), strict=True):
        kernel = jax.nn.initializers.orthogonal(_SCALES.get(name, 2**0.5))(one, shape, jnp.float32)
        params[name] = {"kernel": kernel, "bias": jnp.zeros(shape[-1], jnp.float32)}
    return params


def apply(params: Params, stacks_Nx84x84x4: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of stacks uint8, the newest frame last: logits [N, actions] and values [N], float32."""
    x = stacks_Nx84x84x4.astype(jnp.float32) / 255
    for number, (_, _, stride) in enumerate(CONVOLUTIONS):
        x = jax.nn.relu(convolved(params[f"conv{number}"], x, stride, "VALID"))
    x = jax.nn.relu(linear(params["hidden"], x.reshape(len(x), -1)))
    return linear(params["actor"], x), linear(params["critic"], x)[:, 0]


def convolved(layer: Layer, x_NxHxWxC: jax.Array, stride: int, padding: str) -> jax.Array:
    """A convolution's output, before any activation."""
    x = lax.conv_general_dilated(
        x_NxHxWxC, layer["kernel"], (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return x + layer["bias"][None, None, None]


def linear(layer: Layer, x_NxC: jax.Array) -> jax.Array:
    """A linear layer's output, before any activation."""
    return x_NxC @ layer["kernel"] + layer["bias"][None]
