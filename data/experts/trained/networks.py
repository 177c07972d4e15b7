"""The two Atari networks of trained policies: shapes of their layers, and forward passes in NumPy.

`nature` is the network of Mnih et al. (2015) as PPO trains it: three convolutions and a hidden layer. `impala` is the
residual network of Espeholt et al. (2018) as CleanRL trains it: three sequences of a convolution, a 3x3 max-pool of
stride 2 and two residual blocks of two convolutions, then a hidden layer; `conv0` to `conv14`, of which every fifth
begins a sequence. Both end in a linear actor and a linear critic on the hidden layer, and have ReLU activations.

Convolutions are im2col: one matrix product of all patches with the kernel. N samples, [H, W] positions, C channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from data.experts.trained.checkpoint import Layer, Weights
from data.spec import STACK

NATURE_CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Channels, kernel size and stride of each convolution; no padding."""
NATURE_SIDE, NATURE_HIDDEN = 7, 512
"""Rows (and columns) of the last convolution's output; features of the hidden layer."""
IMPALA_CHANNELS, IMPALA_BLOCKS = (16, 32, 32), 2
"""Channels of each sequence; residual blocks per sequence."""
IMPALA_SIDE, IMPALA_HIDDEN = 11, 256
"""Rows (and columns) of the last sequence's output; features of the hidden layer."""


@dataclass(frozen=True)
class Network:
    """An architecture."""

    shapes: Callable[[int], dict[str, tuple[int, ...]]]
    """From the number of actions to the shape of each layer's kernel."""
    apply: Callable[[Weights, np.ndarray, float], tuple[np.ndarray, np.ndarray]]
    """From weights, stacks uint8 [N, 84, 84, 4], newest frame last, and what to divide pixels by, to logits
    [N, actions] and values [N], float32."""


def nature_shapes(actions: int) -> dict[str, tuple[int, ...]]:
    """Kernel shapes of `nature` by layer: [rows, columns, in, out] of a convolution, [in, out] of a linear layer."""
    found: dict[str, tuple[int, ...]] = {}
    channels = STACK
    for number, (features, side, _) in enumerate(NATURE_CONVOLUTIONS):
        found[f"conv{number}"] = (side, side, channels, features)
        channels = features
    return found | _dense_shapes(NATURE_SIDE**2 * channels, NATURE_HIDDEN, actions)


def impala_shapes(actions: int) -> dict[str, tuple[int, ...]]:
    """Kernel shapes of `impala` by layer."""
    found: dict[str, tuple[int, ...]] = {}
    channels = STACK
    for features in IMPALA_CHANNELS:
        for _ in range(1 + 2 * IMPALA_BLOCKS):
            found[f"conv{len(found)}"] = (3, 3, channels, features)
            channels = features
    return found | _dense_shapes(IMPALA_SIDE**2 * channels, IMPALA_HIDDEN, actions)


def _dense_shapes(features: int, hidden: int, actions: int) -> dict[str, tuple[int, ...]]:
    return {"hidden": (features, hidden), "actor": (hidden, actions), "critic": (hidden, 1)}


def nature(weights: Weights, stacks_Nx84x84x4: np.ndarray, divisor: float) -> tuple[np.ndarray, np.ndarray]:
    """The forward pass of `nature`, see `Network.apply`."""
    x = stacks_Nx84x84x4.astype(np.float32) / np.float32(divisor)
    for number, (_, _, stride) in enumerate(NATURE_CONVOLUTIONS):
        x = _relu(_convolve(weights[f"conv{number}"], x, stride))
    return _heads(weights, x)


def impala(weights: Weights, stacks_Nx84x84x4: np.ndarray, divisor: float) -> tuple[np.ndarray, np.ndarray]:
    """The forward pass of `impala`, see `Network.apply`."""
    layers = (weights[f"conv{number}"] for number in count())
    x = stacks_Nx84x84x4.astype(np.float32) / np.float32(divisor)
    for _ in IMPALA_CHANNELS:
        x = _max_pool(_convolve(next(layers), _padded(x)))
        for _ in range(IMPALA_BLOCKS):
            inner = _convolve(next(layers), _padded(_relu(x)))
            x = x + _convolve(next(layers), _padded(_relu(inner)))
    return _heads(weights, _relu(x))


NETWORKS = {"nature": Network(nature_shapes, nature), "impala": Network(impala_shapes, impala)}
"""Every architecture by name."""


def _heads(weights: Weights, x_NxHxWxC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, actions] and values [N] of the last convolution's output."""
    x = _relu(_linear(weights["hidden"], x_NxHxWxC.reshape(len(x_NxHxWxC), -1)))
    return _linear(weights["actor"], x), _linear(weights["critic"], x)[:, 0]


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, np.float32(0))


def _linear(layer: Layer, x_NxC: np.ndarray) -> np.ndarray:
    return x_NxC @ layer["kernel"] + layer["bias"]


def _convolve(layer: Layer, x_NxHxWxC: np.ndarray, stride: int = 1) -> np.ndarray:
    """A convolution without padding, [N, H', W', out]."""
    rows, columns, channels, features = layer["kernel"].shape
    windows = sliding_window_view(x_NxHxWxC, (rows, columns), axis=(1, 2))[:, ::stride, ::stride]
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, rows * columns * channels)
    return (patches @ layer["kernel"].reshape(-1, features) + layer["bias"]).reshape(*windows.shape[:3], features)


def _padded(x_NxHxWxC: np.ndarray) -> np.ndarray:
    """With a border of one zero, so that a 3x3 convolution keeps the size."""
    return np.pad(x_NxHxWxC, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _max_pool(x_NxHxWxC: np.ndarray) -> np.ndarray:
    """3x3 max-pool of stride 2 with "SAME" padding: an even side is padded at its end only, an odd one at both."""
    rows, columns = ((size % 2, 1) for size in x_NxHxWxC.shape[1:3])
    x = np.pad(x_NxHxWxC, ((0, 0), rows, columns, (0, 0)), constant_values=-np.inf)
    for axis in (1, 2):
        x = np.moveaxis(x, axis, 0)
        outputs = (len(x) - 1) // 2
        x = np.maximum(np.maximum(x[: 2 * outputs : 2], x[1 : 2 * outputs : 2]), x[2::2][:outputs])
        x = np.moveaxis(x, 0, axis)
    return x
