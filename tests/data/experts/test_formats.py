"""Files of trained policies: read, checked, refused."""

import json
import zipfile
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.experts.trained.checkpoint import Weights
from data.experts.trained.networks import NETWORKS
from data.experts.trained.policies import load, players
from data.games import atari
from tests.data.experts.policies import (
    SAID,
    STACKS,
    applied,
    by_flax,
    by_torch,
    cleanrl,
    older,
    own,
    sb3,
    weights_of,
)


def assert_same(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for layer, arrays in expected.items():
        for part, array in arrays.items():
            np.testing.assert_array_equal(found[layer][part], array, strict=True)


class ResidualBlock(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner = nn.Conv(self.channels, (3, 3))(nn.relu(x))
        return x + nn.Conv(self.channels, (3, 3))(nn.relu(inner))


class ConvSequence(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.max_pool(nn.Conv(self.channels, (3, 3))(x), (3, 3), (2, 2), "SAME")
        x = ResidualBlock(self.channels)(x)
        return ResidualBlock(self.channels)(x)


class Network(nn.Module):
    """CleanRL's, of frames [N, 4, 84, 84]."""

    kind: str

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        x = jnp.moveaxis(frames, 1, -1) / 255.0
        if self.kind == "impala":
            for channels in (16, 32, 32):
                x = ConvSequence(channels)(x)
            x = nn.relu(x)
        else:
            for channels, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
                x = nn.relu(nn.Conv(channels, (kernel, kernel), (stride, stride), "VALID")(x))
        return nn.relu(nn.Dense(256 if self.kind == "impala" else 512)(x.reshape(len(x), -1)))


class Head(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.outputs)(x)


@pytest.mark.parametrize("network", NETWORKS)
def test_cleanrls_networks_are_those_of_flax(network: str, tmp_path: Path) -> None:
    frames = jnp.moveaxis(jnp.asarray(STACKS, jnp.float32), -1, 1)
    trunk, body = Network(network), weights_of(network)
    of_trunk, of_actor, of_critic = by_flax(body, network)
    made = jax.eval_shape(trunk.init, jax.random.key(0), frames)
    assert jax.tree.map(lambda x: x.shape, made) == jax.tree.map(lambda x: x.shape, of_trunk)
    hidden = np.asarray(trunk.apply(of_trunk, frames))
    policy = load(cleanrl(tmp_path / "policy", body, network), "Breakout")
    assert (policy.maker, policy.network) == ("CleanRL", network)
    assert policy.actions == ("NOOP", "FIRE", "RIGHT", "LEFT")
    assert_same(policy.weights, body)
    found, values = applied(policy.weights, network)
    np.testing.assert_allclose(found, np.asarray(Head(4).apply(of_actor, hidden)), atol=1e-4)
    np.testing.assert_allclose(values, np.asarray(Head(1).apply(of_critic, hidden))[:, 0], atol=1e-4)
    assert np.ptp(found) > 0.1


def test_stable_baselines_network_is_that_of_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    layers = torch.nn
    extractor = layers.Module()
    convolutions = [
        part
        for places in ((4, 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1))
        for part in (layers.Conv2d(*places), layers.ReLU())
    ]
    extractor.cnn = layers.Sequential(*convolutions, layers.Flatten())
    extractor.linear = layers.Sequential(layers.Linear(3136, 512), layers.ReLU())
    policy = layers.Module()
    policy.features_extractor = policy.pi_features_extractor = policy.vf_features_extractor = extractor
    policy.action_net, policy.value_net = layers.Linear(512, 4), layers.Linear(512, 1)
    body = weights_of()
    state = {name: torch.tensor(np.ascontiguousarray(array)) for name, array in by_torch(body).items()}
    assert not policy.load_state_dict(state, strict=False).unexpected_keys
    torch.save(policy.state_dict(), tmp_path / "policy.pth")
    with zipfile.ZipFile(tmp_path / "policy.zip", "w") as file:
        file.write(tmp_path / "policy.pth", "policy.pth")
        file.writestr("data", json.dumps(SAID))
    read = load(tmp_path / "policy.zip", "Breakout")
    assert (read.maker, read.network) == ("Stable-Baselines3", "nature")
    assert_same(read.weights, body)
    with torch.no_grad():
        hidden = extractor.linear(extractor.cnn(torch.tensor(np.moveaxis(STACKS, -1, 1) / np.float32(255))))
        expected = policy.action_net(hidden).numpy(), policy.value_net(hidden)[:, 0].numpy()
    for ours, theirs in zip(applied(read.weights), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("said", [{}, {":type:": "<class 'dict'>", ":serialized:": "gA"}])
def test_images_are_normalised_as_the_file_says(tmp_path: Path, said: dict[str, Any]) -> None:
    body = weights_of()
    whole = load(sb3(tmp_path / "whole", by_torch(body), policy_kwargs=said), "Breakout")
    raw = load(sb3(tmp_path / "raw", by_torch(body), policy_kwargs=said | {"normalize_images": False}), "Breakout")
    assert (whole.divisor, raw.divisor) == (255.0, 1.0)
    assert whole.digest != raw.digest
    acts = [[player(seed).act(STACKS[0]) for seed in range(40)] for player in map(players, (whole, raw))]
    assert acts[0] != acts[1]
    torch = pytest.importorskip("torch")
    x = torch.tensor(np.moveaxis(STACKS, -1, 1).astype(np.float32))
    state = {name: torch.tensor(np.ascontiguousarray(array)) for name, array in by_torch(body).items()}
    for number, stride in ((0, 4), (2, 2), (4, 1)):
        name = f"features_extractor.cnn.{number}"
        x = torch.relu(torch.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride))
    linear = torch.nn.functional.linear
    name = "features_extractor.linear.0"
    x = torch.relu(linear(x.flatten(1), state[f"{name}.weight"], state[f"{name}.bias"]))
    expected = linear(x, state["action_net.weight"], state["action_net.bias"]).numpy()
    np.testing.assert_allclose(applied(raw.weights, divisor=raw.divisor)[0], expected, rtol=1e-3, atol=1e-2)


def test_the_residual_network_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    functions, body = torch.nn.functional, weights_of("impala")
    tensors = {
        layer: (torch.tensor(np.ascontiguousarray(arrays["kernel"].T)), torch.tensor(arrays["bias"]))
        for layer, arrays in body.items()
    }

    def convolved(x: Any, place: int) -> Any:
        kernel, bias = tensors[f"conv{place}"]
        return functions.conv2d(x, kernel.transpose(2, 3), bias, padding=1)

    x = torch.tensor(np.moveaxis(STACKS, -1, 1) / np.float32(255))
    for place in (0, 5, 10):
        x = convolved(x, place)
        # Flax pads an even side behind alone, an odd one on both sides.
        before, after = (0, 1) if x.shape[-1] % 2 == 0 else (1, 1)
        x = functions.max_pool2d(functions.pad(x, (before, after) * 2, value=-torch.inf), 3, 2)
        for block in (place + 1, place + 3):
            x = x + convolved(convolved(x.relu(), block).relu(), block + 1)
    x = functions.linear(x.relu().permute(0, 2, 3, 1).flatten(1), *tensors["hidden"]).relu()
    np.testing.assert_allclose(applied(body, "impala")[0], functions.linear(x, *tensors["actor"]).numpy(), atol=1e-4)


def test_the_same_weights_are_the_same_policy_whoever_saved_them(tmp_path: Path) -> None:
    body = weights_of()
    copies = {name: array for name, array in by_torch(body).items() if name.startswith("features_extractor")}
    state = by_torch(body) | {f"{prefix}_{name}": array for prefix in ("pi", "vf") for name, array in copies.items()}
    paths = (
        own(tmp_path / "run", body),
        older(tmp_path / "older", body),
        cleanrl(tmp_path / "model", body),
        sb3(tmp_path / "old.zip", by_torch(body)),
        sb3(tmp_path / "new.zip", state),
    )
    found = [load(path, "Breakout") for path in paths]
    for policy in found:
        assert_same(policy.weights, body)
        assert policy.actions == ("NOOP", "FIRE", "RIGHT", "LEFT")
    assert len({policy.digest for policy in found}) == 1
    assert found[0].name == f"IsoPlay PPO nature {found[0].digest[:12]}"
    other = load(cleanrl(tmp_path / "other", weights_of(seed=1)), "Breakout")
    assert other.digest != found[0].digest


def test_eighteen_actions_are_the_full_set(tmp_path: Path) -> None:
    policy = load(cleanrl(tmp_path / "model", weights_of("impala", 18), "impala"), "Breakout")
    assert policy.actions == atari.content("Breakout", 18).actions
    assert policy.actions[-1] == "DOWNLEFTFIRE"


WRONG_SHAPE, NOT_A_NUMBER = np.zeros((8, 8, 12, 32), np.float32), np.full((512, 1), np.nan, np.float32)
