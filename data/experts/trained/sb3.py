"""Policies that Stable-Baselines3 saved, as in its zoo: PPO and A2C with `CnnPolicy`.

A zip archive (stable-baselines3.readthedocs.io, "On saving and loading"), of which two entries are read: `data`, see
`data.experts.trained.sb3data`, and `policy.pth`: the state dict, saved by torch, of a NatureCNN and of one linear layer
each for actor and critic. Convolutions are [out, in, rows, columns], linear layers [out, in]; the inputs of the first
linear layer are channels, then rows, then columns. Since version 1.7 the state dict holds the feature extractor three
times.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from data.common.torchfile import DAMAGE, Refused, Unsupported, load_tensors, texts
from data.experts.trained.checkpoint import Checkpoint, Unfit, actions_of, check
from data.experts.trained.networks import NATURE_SIDE, nature_shapes
from data.experts.trained.sb3data import divisor_of, refuse_others

_POLICY, _DATA = "policy.pth", "data"
_LARGEST = 1 << 26
"""Bytes; such a network has 6.7 million."""
_LAYERS = {
    "conv0": "features_extractor.cnn.0",
    "conv1": "features_extractor.cnn.2",
    "conv2": "features_extractor.cnn.4",
    "hidden": "features_extractor.linear.0",
    "actor": "action_net",
    "critic": "value_net",
}
_COPIES = ("pi_features_extractor.", "vf_features_extractor.")
_PREFIX = len("pi_")


def read(path: Path) -> Checkpoint:
    """The network in an archive.

    Raises: Unfit: the archive is damaged, or holds another network.
    """
    about, state = _entries(path)
    refuse_others(state)
    divisor, state = divisor_of(about), _without_copies(state)
    shapes = nature_shapes(actions_of(state, f"{_LAYERS['actor']}.bias"))
    expected: dict[str, tuple[int, ...]] = {}
    for layer, name in _LAYERS.items():
        *window, inputs, outputs = shapes[layer]
        expected |= {f"{name}.weight": (outputs, inputs, *window), f"{name}.bias": (outputs,)}
    check(state, expected, "Stable-Baselines3's CnnPolicy")
    weights = {
        layer: {
            "kernel": _kernel(state[f"{name}.weight"], NATURE_SIDE if layer == "hidden" else 1).reshape(shapes[layer]),
            "bias": state[f"{name}.bias"].astype(np.float32),
        }
        for layer, name in _LAYERS.items()
    }
    return Checkpoint("Stable-Baselines3", "nature", weights, divisor=divisor)


def _entries(path: Path) -> tuple[bytes, dict[str, Any]]:
    """What an archive says of its policy, and the policy's state dict."""
    try:
        with zipfile.ZipFile(path) as archive:
            if _POLICY not in archive.namelist():
                raise Unfit(_other_archive(path, archive.namelist()))
            if _DATA not in archive.namelist():
                raise Unfit(f"an archive without {_DATA}, which says how the policy sees: copy it again")
            for name in (_DATA, _POLICY):
                if (size := archive.getinfo(name).file_size) > _LARGEST:
                    raise Unfit(f"its {name} claims {size:,} bytes, which no CnnPolicy has: give another file")
            about, state = archive.read(_DATA), load_tensors(archive.read(_POLICY))
    except (*DAMAGE, zlib.error) as error:
        raise Unfit(f"damaged ({str(error)[:100] or type(error).__name__}): copy it again") from error
    except Unsupported as error:
        raise Unfit(f"its {_POLICY} is {error}") from error
    except Refused as error:
        raise Unfit(f"its {_POLICY} is refused ({error}): copy it again, or give another policy") from error
    if not isinstance(state, dict):
        raise Unfit(f"its {_POLICY} is no state dict: give an archive that Stable-Baselines3 saved")
    return about, state


def _other_archive(path: Path, names: list[str]) -> str:
    """What a zip archive without a policy is, and what would do: torch's own files are such archives too."""
    if not any(name.endswith("/data.pkl") for name in names):
        return f"a zip archive without {_POLICY}: give one that Stable-Baselines3 saved"
    words = texts(path.read_bytes())
    if {"state_dict", "data"} <= words:
        return "saved by policy.save() of Stable-Baselines3: give an archive that model.save() made"
    if any(word.startswith("network.") for word in words):
        script = "PPO" if any(word.startswith("actor.") for word in words) else "DQN or C51"
        return f"CleanRL's {script} in PyTorch: give a policy that a PPO script in JAX saved"
    return "a PyTorch file of another program: give an archive that model.save() of Stable-Baselines3 made"


def _without_copies(state: dict[str, Any]) -> dict[str, Any]:
    """The state without the copies of the feature extractor; refused if a copy differs."""
    copies = {name for name in state if str(name).startswith(_COPIES)}
    for name in copies:
        if not np.array_equal(state[name], state.get(name[_PREFIX:], ())):
            raise Unfit("another network than Stable-Baselines3's CnnPolicy (actor and critic share nothing): give one")
    return {str(name): array for name, array in state.items() if name not in copies}


def _kernel(weight: np.ndarray, side: int) -> np.ndarray:
    """A torch weight [out, in] or [out, in, rows, columns] as [rows, columns, in, out].

    The inputs of a linear layer are taken for a window of `side` x `side` positions.
    """
    if weight.ndim == 2:
        weight = weight.reshape(len(weight), -1, side, side)
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0), np.float32)
