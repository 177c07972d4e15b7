"""An agent's parameters for the PyTorch module of the same network."""

from typing import Any

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]  # an extra

from agents.spec import Params

LEAVES = {"kernel": "weight", "scale": "weight", "rows": "weight"}
"""PyTorch's names of Flax's leaves, where they differ."""


def state_dict(params: Params) -> dict[str, Any]:
    """The `state_dict` of a module whose modules are called as the parameters' groups."""
    state: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        *modules, name = (entry.key for entry in path)
        array = np.asarray(leaf)
        if name in ("kernel", "hidden"):
            # Flax's axes are (..., in, out), PyTorch's (out, in, ...).
            array = np.moveaxis(array, (-1, -2), (0, 1))
        state[".".join([*modules, LEAVES.get(name, name)])] = array
    return {name: torch.from_numpy(array.copy()) for name, array in _lstm_by_layer(state).items()}


def _lstm_by_layer(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state with LSTM layers as `nn.LSTM` names them. Its second bias is our constant, 1 in the forget gate."""
    named = {}
    for name, array in state.items():
        match name.split("."):
            case ["core", layer, "hidden"]:
                number, width = layer.removeprefix("layer"), array.shape[1]
                named[f"core.weight_hh_l{number}"] = array
                named[f"core.bias_hh_l{number}"] = np.repeat(np.array([0, 1, 0, 0], np.float32), width)
            case ["core", layer, "input", leaf]:
                named[f"core.{leaf}_ih_l{layer.removeprefix('layer')}"] = array
            case _:
                named[name] = array
    return named
