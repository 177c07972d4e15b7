"""A trained network as a file holds it, before anybody asked whether it fits a game."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Weights = dict[str, dict[str, np.ndarray]]
"""Parameters by layer as `data.experts.trained.nature` has them, float32."""
Shapes = Mapping[str, tuple[int, ...]]


class Unfit(Exception):
    """A file gives no policy; the message says why, and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds."""

    maker: str
    """Whose file it is."""
    network: str
    """`nature` or `impala`."""
    weights: Weights
    game: str | None = None
    """The game it was trained on; None where the file doesn't say."""
    actions: tuple[str, ...] | None = None
    """Its action set by names; None where the file doesn't say."""


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested dicts by their path, `actor/bias`."""
    if not isinstance(tree, dict):
        return {path: tree}
    leaves: dict[str, Any] = {}
    for name, branch in tree.items():
        leaves |= flat(branch, f"{path}/{name}" if path else str(name))
    return leaves


def paths(shapes: Shapes, names: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """The shapes of `NAME/kernel` and `NAME/bias`, from the kernels' shapes and a name for each layer."""
    kernels = {f"{names[layer]}/kernel": shape for layer, shape in shapes.items()}
    return kernels | {f"{names[layer]}/bias": shape[-1:] for layer, shape in shapes.items()}


def weights(arrays: Mapping[str, np.ndarray], names: Mapping[str, str]) -> Weights:
    """The checked arrays of such paths, by layer."""
    return {
        layer: {part: np.array(arrays[f"{name}/{part}"], np.float32) for part in ("kernel", "bias")}
        for layer, name in names.items()
    }


def check(found: Mapping[str, Any], expected: Shapes, of: str) -> None:
    """Refuse what has other names or shapes than the network `of`, or is not of float32, or not finite."""
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
    """How many actions the actor has whose bias is named so; 0 if there is no such bias."""
    shape = getattr(found.get(bias), "shape", ())
    return shape[0] if len(shape) == 1 else 0
