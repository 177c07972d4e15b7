import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from data.codec.generic import unpacked
from data.collect.base import episode_seed
from data.collect.gym import collect_gym
from data.common.cli import UserError
from data.games import registry
from data.sampling.stream import batches
from data.store.reader import TrajectoryStore
from data.store.verify import verify

ROOT = Path(__file__).resolve().parents[3]

DICT_ENV = '''
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class Corridor(gymnasium.Env):
    """Go right: an image of the place, always in the same array, and the place as a number; actions count from 3."""

    observation_space = Dict({"image": Box(0, 255, (4, 6, 3), np.uint8), "place": Box(-9, 9, (), np.float64)})
    action_space = Discrete(2, start=3)

    image = np.zeros((4, 6, 3), np.uint8)

    def _seen(self):
        self.image[:] = 0
        self.image[:, self.place] = 200
        return {"image": self.image, "place": np.float64(self.place)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(3))
        return self._seen(), {}

    def step(self, action):
        assert action in (3, 4)
        self.place = max(0, self.place + (1 if action == 4 else -1))
        return self._seen(), 0.5, self.place == 5, False, {}


gymnasium.register("Corridor-v0", entry_point=Corridor, max_episode_steps=40)


def right(observation):
    assert observation["image"].shape == (4, 6, 3)
    return 1


class Wanderer:
    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def act(self, observation):
        return int(self.random.random() < 0.8)


def wrong(observation):
    return 7
'''


@pytest.fixture
def corridor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "corridor_of_test.py").write_text(DICT_ENV)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "corridor_of_test", raising=False)
    gymnasium.registry.pop("Corridor-v0", None)
    return "corridor_of_test:Corridor-v0"


def collected(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "data", "collect", "gym", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, cwd or ROOT)))}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=cwd)


def test_episodes_are_those_of_the_environment(tmp_path: Path) -> None:
    collect_gym(tmp_path / "store", env="CartPole-v1", episodes=3, workers=1)
    store = TrajectoryStore.open(tmp_path / "store")
    assert store.manifest["game"] == "gym/CartPole-v1"
    env = gymnasium.make("CartPole-v1")
    for row, episode in enumerate(store.episodes):
        steps = store.read(row, 0, episode.length)
        assert episode.seed == episode_seed(0, row)
        seen, _ = env.reset(seed=episode.seed)
        total, done = 0.0, False
        for observation, action, score in zip(
            unpacked(store.codec.observation, steps.bytes_SxW)["observation"], *steps[1:], strict=True
        ):
            assert not done
            np.testing.assert_array_equal(observation, seen)
            assert score == total
            seen, reward, terminated, truncated, _ = env.step(int(action))
            total, done = total + float(reward), terminated or truncated
        assert done
        assert episode.score == total
    assert verify(tmp_path / "store") == []


def test_workers_change_nothing_and_playing_again_adds_what_is_missing(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    collect_gym(one, env="CartPole-v1", episodes=5, workers=1)
    collect_gym(two, env="CartPole-v1", episodes=2, workers=2)
    report = collect_gym(two, env="CartPole-v1", episodes=5, workers=2)
    assert (report.games, report.known) == (3, 2)
    assert TrajectoryStore.open(one).checksum == TrajectoryStore.open(two).checksum


def test_an_environment_and_an_expert_of_ones_own(tmp_path: Path, corridor: str) -> None:
    store = tmp_path / "store"
    done = collected(store, "--env", corridor, "--expert", "corridor_of_test:right", "--episodes", 4, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    opened = TrajectoryStore.open(store)
    assert opened.manifest["actions"] == [3, 4]
    assert set(opened.codec.observation) == {"image", "place"}
    assert {episode.score for episode in opened.episodes} <= {1.5, 2.0, 2.5}
    batch = next(batches(opened, "train", 2, 4, 0))
    assert batch.observation["image"].shape == (2, 4, 4, 6, 3)
    assert batch.observation["place"].dtype == np.float64
    np.testing.assert_array_equal(
        batch.observation["image"].argmax(axis=(3)).max(axis=(2, 3))[batch.mask], batch.observation["place"][batch.mask]
    )
    assert (batch.action[batch.mask] == 1).all()


def test_a_player_of_ones_own_is_seeded_and_told_from_another(tmp_path: Path, corridor: str) -> None:
    for name in ("one", "two"):
        collect_gym(tmp_path / name, env=corridor, expert="corridor_of_test:Wanderer", episodes=4, workers=1)
    opened = TrajectoryStore.open(tmp_path / "one")
    assert opened.checksum == TrajectoryStore.open(tmp_path / "two").checksum
    assert len({episode.length for episode in opened.episodes}) > 1
    # Another source of the same name plays other games, which are not taken for known.
    text = (tmp_path / "corridor_of_test.py").read_text().replace("0.8", "0.9")
    (tmp_path / "corridor_of_test.py").write_text(text)
    report = collect_gym(tmp_path / "one", env=corridor, expert="corridor_of_test:Wanderer", episodes=4, workers=1)
    assert report.known == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--env", "CartPole-v9"), "can't make the Gymnasium environment 'CartPole-v9'"),
        (("--env", "Pendulum-v1"), "only Discrete action spaces"),
        (("--env", "FrozenLake-v1"), "only Box, or a Dict of Box"),
        (("--env", "Acrobot-v1"), "gym/Acrobot-v1 has no embedded expert: choose random, module:function"),
        (("--env", "CartPole-v1", "--expert", "me"), "unknown expert 'me'"),
        (("--env", "CartPole-v1", "--expert", "nowhere_at_all:f"), "no module 'nowhere_at_all'"),
        (("--env", "CartPole-v1", "--expert", "math:nothing"), "module 'math' has no 'nothing'"),
        (("--env", "CartPole-v1", "--expert", "math:pi"), "math:pi is no function"),
        (("--env", "CartPole-v1", "--episodes", "0"), "--episodes 0"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = collected(tmp_path / "store", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert not (tmp_path / "store").exists()


def test_an_action_that_is_none_is_named(tmp_path: Path, corridor: str) -> None:
    with pytest.raises(UserError, match=r"corridor_of_test:wrong answers 7: give an action from 0 to 1"):
        collect_gym(tmp_path / "store", env=corridor, expert="corridor_of_test:wrong", episodes=1, workers=1)


def test_every_family_is_registered_with_its_modules() -> None:
    for family in registry.FAMILIES:
        for package in ("data.games", "data.collect", "data.view", "agents", "eval.play", "laws.study"):
            assert registry.module(package, family).__doc__
    assert [registry.find(name).family for name in ("nethack", "Breakout", "gym/X-v0")] == ["nethack", "atari", "gym"]
    assert json.dumps(registry.find("gym/CartPole-v1").content().actions) == "[0, 1]"
