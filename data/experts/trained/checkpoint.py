"""The network that a file of a trained policy holds, before it is matched with a game."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Layer = dict[str, np.ndarray]
"""`kernel`, [rows, columns, in, out] of a convolution or [in, out] of a linear layer, and `bias` [out], float32."""
Weights = dict[str, Layer]
"""Parameters by layer: `conv0`, `conv1` and so on, `hidden`, `actor` and `critic`."""
Shapes = Mapping[str, tuple[int, ...]]


PIXELS = 255.0
"""What a policy divides pixels by, unless its file says otherwise."""


class Unfit(Exception):
    """A file holds no usable policy; the message says why, and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a file."""

    maker: str
    """The library that saved it."""
    network: str
    """Name in `data.experts.trained.networks.NETWORKS`."""
    weights: Weights
    game: str | None = None
    """The game that it was trained on; None where the file doesn't say."""
    actions: tuple[str, ...] | None = None
    """Names of its actions; None where the file doesn't say."""
    divisor: float = PIXELS
    """What it divides pixels by."""


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested dicts by path, for example `actor/bias`."""
    if not isinstance(tree, dict):
        return {path: tree}
    leaves: dict[str, Any] = {}
    for name, branch in tree.items():
        leaves |= flat(branch, f"{path}/{name}" if path else str(name))
    return leaves


def paths(shapes: Shapes, names: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """The shapes of `NAME/kernel` and `NAME/bias`, given the kernels' shapes and the file's name of each layer."""
    kernels = {f"{names[layer]}/kernel": shape for layer, shape in shapes.items()}
    return kernels | {f"{names[layer]}/bias": shape[-1:] for layer, shape in shapes.items()}


def weights(arrays: Mapping[str, np.ndarray], names: Mapping[str, str]) -> Weights:
    """Arrays that passed `check`, by layer instead of by path."""
    return {
        layer: {part: np.array(arrays[f"{name}/{part}"], np.float32) for part in ("kernel", "bias")}
        for layer, name in names.items()
    }


def check(found: Mapping[str, Any], expected: Shapes, of: str) -> None:
    """Compare names, shapes and dtypes with those of the network `of`, and look for numbers that aren't finite.

    Raises: Unfit: something differs.
    """
    if strange := sorted(found.keys() ^ expected.keys()):
        verb = "without" if strange[0] in expected else "with"
        raise Unfit(f"another network than {of} ({verb} {strange[0]}): give a policy of that network")
    for name, shape in expected.items():
        array = found[name]
        dtype = getattr(array, "dtype", None)
        if not isinstance(dtype, np.dtype) or dtype.newbyteorder("=") != np.float32:
            raise Unfit(f"{name} isn't an array of float32: give a policy of that precision")
        if tuple(array.shape) != shape:
            sizes = f"{name} is {list(array.shape)}, not {list(shape)}"
            raise Unfit(f"another network than {of} ({sizes}): give a policy of that network")
        if isinstance(array, np.ndarray) and not np.isfinite(array).all():
            raise Unfit(f"{name} has numbers that aren't finite, as a training that failed leaves: give another policy")


def actions_of(found: Mapping[str, Any], bias: str) -> int:
    """The number of actions, from the actor's bias of that name; 0 if there is no such bias."""
    shape = getattr(found.get(bias), "shape", ())
    return shape[0] if len(shape) == 1 else 0
