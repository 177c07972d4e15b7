"""Files that hold no usable policy are refused, with what would do."""

import random
import zipfile
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.collect.atari import collect_atari
from data.common.cli import UserError
from data.experts.trained import ppo
from data.experts.trained.checkpoint import Unfit
from data.experts.trained.cleanrl import read as read_cleanrl
from data.experts.trained.policies import LARGEST
from data.experts.trained.sb3 import read as read_sb3
from tests.data.common.torchfiles import altered, archive, mapping, text, zipped
from tests.data.experts.policies import (
    NOT_A_NUMBER,
    SAID,
    TORCH,
    WRONG_SHAPE,
    _Made,
    by_torch,
    changed,
    cleanrl,
    older,
    own,
    sb3,
    torch_saved,
    weights_of,
)

HALF = weights_of()["actor"]["kernel"].astype(np.float16)


def written(content: bytes) -> _Made:
    return lambda path: path.write_bytes(content)


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


OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."


def saying(**about: Any) -> _Made:
    return lambda path: sb3(path, by_torch(weights_of()), **about)


def with_policy(content: bytes, method: int = zipfile.ZIP_STORED) -> _Made:
    """An archive by Stable-Baselines3 with this `policy.pth`."""
    return written(zipped({"data": b"{}", "policy.pth": content}, method))


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
    "a call": (with_policy(PICKLE_CALL), "GLOBAL 'posix system', which"),
    "no state dict": (with_policy(archive(b"K\x01")), "no state dict"),
    "an empty state": (
        written(zipped({"data": b"{}", "policy.pth": archive(b"}")})),
        r"CnnPolicy \(without action_net.bias\)",
    ),
    "a compressed tensor file": (
        with_policy(zipped({"a/data.pkl": b"}."}, zipfile.ZIP_DEFLATED)),
        "compressed",
    ),
    "a bomb": (
        with_policy(bytes(1 << 27), zipfile.ZIP_DEFLATED),
        "claims 134,217,728 bytes",
    ),
    "no critic": (without_critic, r"\(without value_net.bias\)"),
    "two extractors": (unshared, "actor and critic share nothing"),
    "a Q network": (
        lambda path: sb3(path, {f"q_net.{name}": array for name, array in by_torch(weights_of()).items()}),
        "a DQN policy, .*: give one that PPO or A2C trained",
    ),
    "quantiles": (lambda path: sb3(path, {"quantile_net.a": HALF}), "a QR-DQN policy, .*: give one that PPO or A2C"),
    "a recurrent network": (
        lambda path: sb3(path, by_torch(weights_of()) | {"lstm_actor.weight_ih_l0": HALF}),
        r"a recurrent policy \(RecurrentPPO\): give one",
    ),
    "continuous actions": (lambda path: sb3(path, {"actor.mu.weight": HALF}), r"continuous actions \(SAC, TD3 or"),
    "no data": (written(zipped({"policy.pth": archive(b"}")})), "without data, which says how the policy sees"),
    "data that is cut": (written(zipped({"data": b'{"a', "policy.pth": archive(b"}")})), "its data is no JSON"),
    "one frame": (
        saying(observation_space=SAID["observation_space"] | {"_shape": [1, 84, 84]}),
        r"sees observations of \[1, 84, 84\], not stacks of 4 frames of 84x84: give",
    ),
    "scaled frames": (
        saying(observation_space=SAID["observation_space"] | {"dtype": "float32"}),
        "sees float32 that the environment has scaled, not frames of uint8",
    ),
    "another extractor": (
        saying(policy_kwargs={":type:": "<class 'dict'>", "features_extractor_class": "<class 'zoo.ImpalaCNN'>"}),
        r"features extractor is <class 'zoo.ImpalaCNN'>, not NatureCNN: give",
    ),
    "several actions at once": (
        saying(action_space={":type:": "<class 'gymnasium.spaces.multi_discrete.MultiDiscrete'>"}),
        "its actions are .*MultiDiscrete'>, not Discrete",
    ),
    "actions from 1": (saying(action_space=SAID["action_space"] | {"start": "1"}), "begin at 1, not at 0"),
    "half a CnnPolicy": (
        with_policy(torch_saved(by_torch(weights_of()), "HalfStorage")),
        r"its policy.pth is in half precision \(HalfStorage\): save it as float32",
    ),
    "an old torch's": (
        with_policy(OLD_TORCH),
        "its policy.pth is in the format of torch before 1.6: load it, and save it again",
    ),
    "a file of an old torch": (written(OLD_TORCH), "saved by PyTorch before 1.6"),
    "policy.save()": (
        written(archive(mapping({"state_dict": b"}", "data": b"}"}))),
        r"saved by policy.save\(\) of Stable-Baselines3: give an archive that model.save\(\) made",
    ),
    "CleanRL's PPO in PyTorch": (
        written(torch_saved({"network.0.weight": HALF, "actor.weight": HALF})),
        "CleanRL's PPO in PyTorch: give a policy that a PPO script in JAX saved",
    ),
    "CleanRL's DQN in PyTorch": (written(torch_saved({"network.0.weight": HALF})), "CleanRL's DQN or C51 in PyTorch"),
    "another PyTorch file": (written(torch_saved({"layer": HALF})), "a PyTorch file of another program"),
    "CleanRL's DQN": (
        lambda path: path.write_bytes(flax.serialization.to_bytes({"params": {"Conv_0": weights_of()["conv0"]}})),
        "CleanRL's DQN, which has values of actions and no probabilities: give one that a PPO script",
    ),
    "CleanRL's C51": (
        lambda path: path.write_bytes(flax.serialization.to_bytes({"model_weights": {"params": {}}, "args": {}})),
        "CleanRL's C51, which",
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
