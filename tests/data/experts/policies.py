"""Trained policies as each trainer saves them, for tests."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from data.experts.trained import ppo
from data.experts.trained.checkpoint import Weights
from data.experts.trained.networks import NETWORKS
from tests.data.common.torchfiles import archive, mapping, number, sizes, tensor, text, zipped

STACKS = np.random.default_rng(0).integers(0, 256, (3, 84, 84, 4)).astype(np.uint8)


TORCH = {
    "conv0": "features_extractor.cnn.0",
    "conv1": "features_extractor.cnn.2",
    "conv2": "features_extractor.cnn.4",
    "hidden": "features_extractor.linear.0",
    "actor": "action_net",
    "critic": "value_net",
}


SAID: dict[str, Any] = {
    "policy_class": {":type:": "<class 'abc.ABCMeta'>", "__module__": "stable_baselines3.common.policies"},
    "observation_space": {
        ":type:": "<class 'gymnasium.spaces.box.Box'>", ":serialized:": "gAWV", "dtype": "uint8", "_shape": [4, 84, 84],
        "low_repr": "0", "high_repr": "255",
    },
    "action_space": {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>", "n": "4", "start": "0"},
    "n_envs": 8,
    "policy_kwargs": {},
}  # fmt: skip
"""What Stable-Baselines3 says of a policy in an archive's `data`."""


def weights_of(network: str = "nature", actions: int = 4, seed: int = 0) -> Weights:
    """Random ones, such that all layers matter."""
    chance = np.random.default_rng(seed)
    return {
        layer: {
            "kernel": chance.normal(0, np.prod(shape[:-1]) ** -0.5, shape).astype(np.float32),
            "bias": chance.normal(0, 0.1, shape[-1]).astype(np.float32),
        }
        for layer, shape in NETWORKS[network].shapes(actions).items()
    }


def by_flax(weights: Any, network: str = "nature") -> list[dict[str, Any]]:
    """The parameters of network, actor and critic, under the names that Flax gives to CleanRL's modules."""
    convolutions = {f"Conv_{place}": weights[f"conv{place}"] for place in range(3)}
    if network == "impala":
        convolutions = {
            f"ConvSequence_{sequence}": {"Conv_0": weights[f"conv{5 * sequence}"]}
            | {
                f"ResidualBlock_{block}": {
                    f"Conv_{place}": weights[f"conv{5 * sequence + 1 + 2 * block + place}"] for place in range(2)
                }
                for block in range(2)
            }
            for sequence in range(3)
        }
    parts = [convolutions | {"Dense_0": weights["hidden"]}, *({"Dense_0": weights[n]} for n in ("actor", "critic"))]
    return [{"params": part} for part in parts]


def cleanrl(path: Path, weights: Any, network: str = "nature", env_id: str | None = "Breakout-v5") -> Path:
    args = {"env_id": env_id, "seed": 1, "target_kl": None, "actor_device_ids": [0], "anneal_lr": True, "gamma": 0.99}
    path.write_bytes(flax.serialization.to_bytes([args, by_flax(weights, network)]))
    return path


def by_torch(weights: Weights) -> dict[str, np.ndarray]:
    """The state dict of Stable-Baselines3's network."""
    state = {}
    for layer, name in TORCH.items():
        kernel = weights[layer]["kernel"]
        if layer == "hidden":
            kernel = kernel.reshape(7, 7, 64, 512).transpose(2, 0, 1, 3).reshape(-1, 512)
        state[f"{name}.weight"] = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        state[f"{name}.bias"] = weights[layer]["bias"]
    return state


def torch_saved(state: Mapping[str, np.ndarray], storage: str = "FloatStorage") -> bytes:
    """A file as torch saves a module's state dict, which also tells of the module."""
    items: dict[str | int, bytes] = {}
    storages = {}
    for key, (name, array) in enumerate(state.items()):
        raw = np.ascontiguousarray(array, "<f4")
        strides = sizes(*(step // raw.itemsize for step in raw.strides))
        items[name] = tensor(str(key), storage, raw.size, 0, sizes(*raw.shape), strides)
        storages[str(key)] = raw.tobytes()
    about = b"}(" + text("_metadata") + mapping({"": mapping({"version": number(1)})}) + b"ub"
    return archive(mapping(items, b"ccollections\nOrderedDict\n)R") + about, storages)


def sb3(path: Path, state: Mapping[str, np.ndarray], **about: Any) -> Path:
    """An archive as model.save() makes it; `about` replaces parts of what it says of the policy."""
    said = json.dumps(SAID | about).encode()
    path.write_bytes(zipped({"data": said, "policy.pth": torch_saved(state), "system_info.txt": b"- OS"}))
    return path


def own(path: Path, weights: Any, **config: Any) -> Path:
    path.mkdir()
    defaults = {"kind": "ppo", "game": "Breakout", "actions": ["NOOP", "FIRE", "RIGHT", "LEFT"], "seed": 0}
    (path / "config.json").write_text(json.dumps(defaults | config))
    ppo.write(path, weights)
    return path


def older(path: Path, weights: Any, **config: Any) -> Path:
    """A run whose policy Orbax saved."""
    own(path, weights_of(), **config)
    (path / "policy.npz").unlink()
    ocp.v1.save(str((path / "policy").resolve()), jax.tree.map(jnp.asarray, weights))
    return path


def applied(
    weights: Weights, network: str = "nature", stacks: np.ndarray = STACKS, divisor: float = 255.0
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and values."""
    return NETWORKS[network].apply(weights, stacks, divisor)


def changed(**parts: Any) -> Weights:
    """A network with some kernels replaced."""
    body = weights_of()
    return body | {layer: body[layer] | {"kernel": kernel} for layer, kernel in parts.items()}


WRONG_SHAPE, NOT_A_NUMBER = np.zeros((8, 8, 12, 32), np.float32), np.full((512, 1), np.nan, np.float32)


_Made = Callable[[Path], Any]


def of_state(**changes: Any) -> _Made:
    return lambda path: sb3(path, by_torch(weights_of()) | {TORCH[layer]: array for layer, array in changes.items()})
