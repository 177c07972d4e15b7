"""Trained policies as experts: read from several kinds of files, checked, and recorded."""

import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from data.collect.atari import collect_atari, play
from data.collect.base import ToPlay, episode_seed
from data.common.cli import UserError
from data.experts.registry import Expert
from data.experts.trained import ppo
from data.experts.trained.checkpoint import Unfit, Weights
from data.experts.trained.cleanrl import read as read_cleanrl
from data.experts.trained.networks import NETWORKS
from data.experts.trained.policies import LARGEST, SampledPlayer, load, players
from data.experts.trained.sb3 import read as read_sb3
from data.games import atari
from data.store.reader import TrajectoryStore
from tests.data.common.torchfiles import altered, archive, mapping, number, sizes, tensor, text, zipped

STACKS = np.random.default_rng(0).integers(0, 256, (3, 84, 84, 4)).astype(np.uint8)
TORCH = {
    "conv0": "features_extractor.cnn.0",
    "conv1": "features_extractor.cnn.2",
    "conv2": "features_extractor.cnn.4",
    "hidden": "features_extractor.linear.0",
    "actor": "action_net",
    "critic": "value_net",
}


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


def torch_saved(state: Mapping[str, np.ndarray]) -> bytes:
    """A file as torch saves a module's state dict, which also tells of the module."""
    items: dict[str | int, bytes] = {}
    storages = {}
    for key, (name, array) in enumerate(state.items()):
        raw = np.ascontiguousarray(array, "<f4")
        strides = sizes(*(step // raw.itemsize for step in raw.strides))
        items[name] = tensor(str(key), "FloatStorage", raw.size, 0, sizes(*raw.shape), strides)
        storages[str(key)] = raw.tobytes()
    about = b"}(" + text("_metadata") + mapping({"": mapping({"version": number(1)})}) + b"ub"
    return archive(mapping(items, b"ccollections\nOrderedDict\n)R") + about, storages)


def sb3(path: Path, state: Mapping[str, np.ndarray]) -> Path:
    path.write_bytes(zipped({"data": b"{}", "policy.pth": torch_saved(state), "system_info.txt": b"- OS"}))
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


def applied(weights: Weights, network: str = "nature", stacks: np.ndarray = STACKS) -> tuple[np.ndarray, np.ndarray]:
    """Logits and values."""
    return NETWORKS[network].apply(weights, stacks)


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
    read = load(tmp_path / "policy.zip", "Breakout")
    assert (read.maker, read.network) == ("Stable-Baselines3", "nature")
    assert_same(read.weights, body)
    with torch.no_grad():
        hidden = extractor.linear(extractor.cnn(torch.tensor(np.moveaxis(STACKS, -1, 1) / np.float32(255))))
        expected = policy.action_net(hidden).numpy(), policy.value_net(hidden)[:, 0].numpy()
    for ours, theirs in zip(applied(read.weights), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


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


def changed(**parts: Any) -> Weights:
    """A network with some kernels replaced."""
    body = weights_of()
    return body | {layer: body[layer] | {"kernel": kernel} for layer, kernel in parts.items()}


WRONG_SHAPE, NOT_A_NUMBER = np.zeros((8, 8, 12, 32), np.float32), np.full((512, 1), np.nan, np.float32)
HALF = weights_of()["actor"]["kernel"].astype(np.float16)
_Made = Callable[[Path], Any]


def written(content: bytes) -> _Made:
    return lambda path: path.write_bytes(content)


def of_state(**changes: Any) -> _Made:
    return lambda path: sb3(path, by_torch(weights_of()) | {TORCH[layer]: array for layer, array in changes.items()})


def with_config(text: str) -> _Made:
    def make(path: Path) -> None:
        path.mkdir()
        (path / "config.json").write_text(text)

    return make


def cut(make: _Made, share: float) -> _Made:
    """The beginning of a file."""

    def made(path: Path) -> None:
        make(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return made


def without_critic(path: Path) -> None:
    sb3(path, {name: array for name, array in by_torch(weights_of()).items() if not name.startswith("value_net")})


def vast(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)


def unshared(path: Path) -> None:
    state = by_torch(weights_of())
    name = "features_extractor.cnn.0.bias"
    sb3(path, state | {f"pi_{name}": state[name], f"vf_{name}": state[name] + 1})


def cut_policy(path: Path) -> None:
    own(path, weights_of())
    cut(lambda file: None, 0.5)(path / "policy.npz")


def compressed_policy(path: Path) -> None:
    own(path, weights_of())
    np.savez_compressed(path / "policy.npz", kernel=np.zeros(1 << 20, np.float32))


def pickled_policy(path: Path) -> None:
    own(path, weights_of())
    np.savez(path / "policy.npz", kernel=np.array([{}], object))


def damaged_orbax_policy(path: Path) -> None:
    older(path, weights_of())
    for file in (path / "policy" / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def without_policy(path: Path) -> None:
    own(path, weights_of())
    (path / "policy.npz").unlink()


def cleaned(path: Path, **changes: Any) -> None:
    cleanrl(path, changed(**changes))


PICKLE_CALL = archive(b"cposix\nsystem\n" + text("touch mark") + b"\x85R")
MISTAKES: dict[str, tuple[_Made, str]] = {
    "text": (written(b"not a policy"), "of unknown format: give a folder"),
    "nothing": (written(b""), "of unknown format"),
    "a pickle": (written(b"\x80\x04}."), "of unknown format"),
    "a folder of something else": (lambda path: path.mkdir(), "it has no config.json: give a folder"),
    "a file of any size": (vast, "bytes, which no policy"),
    # CleanRL's
    "half a model": (cut(cleanrl_made := lambda path: cleanrl(path, weights_of()), 0.5), "damaged, or not saved by"),
    "a model's first bytes": (cut(cleanrl_made, 1e-6), "damaged, or not saved by"),
    "another map": (written(b"\x82\xa1a\x01\xa1b\x02"), "damaged, or not saved by"),
    "a map of lists": (written(b"\x82\xa10\x80\xa11\x93\x01\x02\x03"), "damaged, or not saved by"),
    "an array of any length": (written(b"\x82\xa10\xdd\x7f\xff\xff\xff" + bytes(99)), "damaged, or not saved by"),
    "nests without end": (written(b"\x82\xa10" + 5000 * b"\x81\xa1a"), "damaged, or not saved by"),
    "an unknown extension": (written(b"\x82\xa10\x80\xa11\xd4\x05\x00"), "damaged, or not saved by"),
    "an array that is none": (written(b"\x82\xa10\x80\xa11\xd4\x01\x90"), "damaged, or not saved by"),
    "other channels": (
        lambda path: cleaned(path, conv0=WRONG_SHAPE),
        r"Conv_0/kernel is \[8, 8, 12, 32\], not \[8, 8, 4",
    ),
    "half precision": (lambda path: cleaned(path, actor=HALF), "actor/Dense_0/kernel isn't an array of float32"),
    "not a number": (lambda path: cleaned(path, critic=NOT_A_NUMBER), "critic/Dense_0/kernel has numbers that aren't"),
    "a deeper network": (
        lambda path: cleanrl(path, weights_of("impala") | {"hidden": {"Dense_0": weights_of()["hidden"]}}, "impala"),
        "another network than CleanRL's impala",
    ),
    "another game": (
        lambda path: cleanrl(path, weights_of(), env_id="ALE/SpaceInvaders-v5"),
        "trained on SpaceInvaders, not Breakout: give --game SpaceInvaders",
    ),
    "another number of actions": (
        lambda path: cleanrl(path, weights_of(actions=6)),
        "plays by 6 actions and Breakout has 4, or 18 in all: give the --game",
    ),
    # Stable-Baselines3's
    "half an archive": (cut(archive_made := lambda path: sb3(path, by_torch(weights_of())), 0.5), "damaged"),
    "another archive": (written(zipped({"data": b"{}"})), "without policy.pth"),
    "a call": (written(zipped({"policy.pth": PICKLE_CALL})), "GLOBAL 'posix system', which"),
    "no state dict": (written(zipped({"policy.pth": archive(b"K\x01")})), "no state dict"),
    "an empty state": (written(zipped({"policy.pth": archive(b"}")})), r"CnnPolicy \(without action_net.bias\)"),
    "a compressed tensor file": (
        written(zipped({"policy.pth": zipped({"a/data.pkl": b"}."}, zipfile.ZIP_DEFLATED)})),
        "compressed",
    ),
    "a bomb": (written(zipped({"policy.pth": bytes(1 << 27)}, zipfile.ZIP_DEFLATED)), "claims 134,217,728 bytes"),
    "no critic": (without_critic, r"\(without value_net.bias\)"),
    "two extractors": (unshared, "actor and critic share nothing"),
    "a Q network": (
        lambda path: sb3(path, {f"q_net.{name}": array for name, array in by_torch(weights_of()).items()}),
        "CnnPolicy",
    ),
    "seven actions": (lambda path: sb3(path, by_torch(weights_of(actions=7))), "plays by 7 actions"),
    # IsoPlay's
    "a config that is cut": (with_config('{"kind": "pp'), "its config.json is damaged"),
    "a run of another kind": (with_config('{"kind": "bc", "game": "Breakout"}'), "tells of no trained policy"),
    "a run without an end": (without_policy, "it has no policy yet"),
    "a policy that is cut": (cut_policy, "its policy.npz is damaged"),
    "a policy that is compressed": (compressed_policy, "its policy.npz is damaged"),
    "a policy that is pickled": (pickled_policy, "its policy.npz is damaged"),
    "an older policy that is cut": (damaged_orbax_policy, "its policy is damaged"),
    "a run of another game": (lambda path: own(path, weights_of(), game="Pong"), "trained on Pong, not Breakout"),
    "other actions": (
        lambda path: own(path, weights_of(), actions=["NOOP", "FIRE", "UP", "DOWN"]),
        r"its actions are not those of Breakout \(NOOP, FIRE, RIGHT, LEFT\)",
    ),
    "fewer actions than its config has": (
        lambda path: own(path, weights_of(actions=3)),
        r"actor/kernel is \[512, 3\], not \[512, 4\]",
    ),
    "another precision": (
        lambda path: own(path, jax.tree.map(lambda array: array.astype(np.float16), weights_of())),
        "isn't an array of float32",
    ),
    "another precision by Orbax": (
        lambda path: older(path, jax.tree.map(lambda array: array.astype(jnp.bfloat16), weights_of())),
        "isn't an array of float32",
    ),
    "a layer more": (lambda path: own(path, weights_of() | {"x": weights_of()["actor"]}), r"\(with x/bias\)"),
    "a layer more by Orbax": (
        lambda path: older(path, weights_of() | {"x": weights_of()["actor"]}),
        r"\(with x/bias\)",
    ),
    "a network that diverged": (lambda path: own(path, changed(critic=NOT_A_NUMBER)), "critic/kernel has numbers"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line_and_leave_no_store(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, why = MISTAKES[name]
    make(tmp_path / "policy")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=why) as raised:
        collect_atari(tmp_path / "store", game="Breakout", expert="policy", episodes=1)
    assert str(raised.value).startswith("policy: ")
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_damage_gives_a_reason_and_no_other_error(tmp_path: Path) -> None:
    """In small files, most of whose bytes say how the rest is to be read."""
    chance, tiny = random.Random(3), {layer: {"kernel": HALF[:1, :1], "bias": HALF[0, :1]} for layer in TORCH}
    whole = {
        "model": cleanrl(tmp_path / "model", tiny).read_bytes(),
        "archive": sb3(tmp_path / "archive", {f"{name}.bias": np.zeros(2) for name in TORCH.values()}).read_bytes(),
        "run/policy.npz": (own(tmp_path / "run", tiny) / "policy.npz").read_bytes(),
    }
    reads = {"model": read_cleanrl, "archive": read_sb3, "run/policy.npz": lambda path: ppo.read(path.parent)}
    for name, content in whole.items():
        for _ in range(1000):
            (tmp_path / name).write_bytes(altered(content, chance))
            with pytest.raises(Unfit, match=": "):
                reads[name](tmp_path / name)


def test_actions_are_sampled_from_the_softmax_by_the_seed() -> None:
    scores = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32)) + 7
    seen: list[np.ndarray] = []

    def logits_of(stacks: np.ndarray) -> np.ndarray:
        seen.append(stacks)
        return scores[None]

    def actions(seed: int, count: int) -> list[int]:
        player = SampledPlayer(logits_of, seed)
        return [player.act(STACKS[0]) for _ in range(count)]

    shares = np.bincount(actions(0, 20_000), minlength=4) / 20_000
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.15, 0.05], atol=0.015)
    assert actions(1, 50) == actions(1, 50) != actions(2, 50)
    np.testing.assert_array_equal(seen[0], STACKS[:1])


def test_players_share_a_network(tmp_path: Path) -> None:
    """Their actions are those sampled from its logits, one stack at a time."""
    body = weights_of()
    make = players(load(cleanrl(tmp_path / "model", body), "Breakout"))
    first, duplicate, other = make(1), make(1), make(2)
    actions = [[player.act(stack) for stack in STACKS.repeat(5, 0)] for player in (first, duplicate, other)]
    assert actions[0] == actions[1] != actions[2]
    sampled = SampledPlayer(lambda stacks: applied(body, stacks=stacks)[0], 1)
    assert actions[0] == [sampled.act(stack) for stack in STACKS.repeat(5, 0)]


def ids(store: Path) -> list[str]:
    return [episode.id for episode in TrajectoryStore.open(store).episodes]


def test_games_of_a_policy_go_into_a_store_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Workers play on the CPU wherever JAX would rather be.
    monkeypatch.setenv("JAX_PLATFORMS", "nowhere")
    path, store = own(tmp_path / "run", weights_of()), tmp_path / "store"
    report = collect_atari(store, game="Breakout", expert=str(path), episodes=2, workers=2)
    assert (report.games, report.known, report.skipped) == (2, 0, ())
    opened = TrajectoryStore.open(store)
    policy = load(path, "Breakout")
    assert opened.manifest["expert"] == policy.name == f"IsoPlay PPO nature {policy.digest[:12]}"
    assert opened.manifest["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    # What was played is what the seed's player plays on what was seen.
    for row, episode in enumerate(opened.episodes):
        steps = opened.read(row, 0, min(episode.length, 100))
        player = players(policy)(episode_seed(0, row))
        assert [player.act(stack) for stack in steps.frames_Sx84x84x4] == steps.action_S.tolist()
    # The weights identify the expert, wherever they are; games that are there aren't played again.
    moved = path.rename(tmp_path / "moved")
    again = collect_atari(store, game="Breakout", expert=str(moved), episodes=2, workers=1)
    assert (again.games, again.known) == (0, 2)
    other = own(tmp_path / "other", weights_of(seed=1))
    with pytest.raises(UserError, match="holds games with expert 'IsoPlay PPO nature"):
        collect_atari(store, game="Breakout", expert=str(other), episodes=1)
    collect_atari(tmp_path / "second", game="Breakout", expert=str(other), episodes=1, workers=1)
    assert len({*ids(store), *ids(tmp_path / "second")}) == 3


def test_games_by_the_full_action_set_are_stored_in_it(tmp_path: Path) -> None:
    path, store = cleanrl(tmp_path / "model", weights_of("impala", 18), "impala"), tmp_path / "store"
    collect_atari(store, game="Breakout", expert=str(path), episodes=1, workers=1)
    opened = TrajectoryStore.open(store)
    assert opened.manifest["actions"] == list(atari.content("Breakout", 18).actions)
    assert opened.manifest["expert"].startswith("CleanRL impala ")
    assert opened.read(0, 0, opened.episodes[0].length).action_S.max() > 3
    with pytest.raises(UserError, match="holds games with other actions"):
        collect_atari(store, game="Breakout", expert="random", episodes=1)


def test_a_policy_that_changes_while_it_plays_is_refused(tmp_path: Path) -> None:
    path = cleanrl(tmp_path / "model", weights_of())
    with pytest.raises(UserError, match="model changed while it played: start the same command again"):
        play(ToPlay(Expert("Breakout", str(path), "another digest", "another"), 0, "game-00000"))


def test_players_need_no_jax(tmp_path: Path) -> None:
    """Nor does reading the files of `train rl` and of Stable-Baselines3."""
    code = (
        "import sys, data.__main__, data.collect.atari, numpy\n"
        "from pathlib import Path\n"
        "from data.experts.trained.policies import load, players\n"
        "for path in sys.argv[1:]:\n"
        "    players(load(Path(path), 'Breakout'))(0).act(numpy.zeros((84, 84, 4), numpy.uint8))\n"
        "sys.exit(bool({'jax', 'flax', 'orbax', 'msgpack'} & {*sys.modules}))\n"
    )
    paths = own(tmp_path / "run", weights_of()), sb3(tmp_path / "policy.zip", by_torch(weights_of()))
    assert subprocess.run([sys.executable, "-c", code, *map(str, paths)], check=False).returncode == 0
