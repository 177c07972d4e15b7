import gc
import json
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from minari import DataCollector

from data.codec.generic import unpacked
from data.common.cli import UserError
from data.importers.minari.dataset import import_minari
from data.store.reader import TrajectoryStore
from data.store.verify import verify
from tests.data.test_command import run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes of CartPole, played at random and collected by Minari."""
    root = tmp_path_factory.mktemp("minari")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Minari has wishes about a data set's description
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        env = DataCollector(gymnasium.make("CartPole-v1"))
        random = np.random.default_rng(0)
        for seed in range(3):
            env.reset(seed=seed)
            done = False
            while not done:
                _, _, terminated, truncated, _ = env.step(int(random.integers(2)))
                done = terminated or truncated
        env.create_dataset("cartpole/random-v0", algorithm_name="chance", description="for a test",
                           author="isoplay", author_email="-", code_permalink="-")  # fmt: skip
        env.close()
        del env
        gc.collect()
    return root / "cartpole" / "random-v0"


def test_episodes_of_an_environment_are_imported(dataset: Path, tmp_path: Path) -> None:
    import_minari(dataset, tmp_path / "store", game="gym/CartPole-v1", workers=1)
    store = TrajectoryStore.open(tmp_path / "store")
    assert store.manifest["actions"] == [0, 1]
    env, random = gymnasium.make("CartPole-v1"), np.random.default_rng(0)
    for row, episode in enumerate(store.episodes):
        steps = store.read(row, 0, episode.length)
        seen, _ = env.reset(seed=row)
        assert episode.score == episode.length == len(steps.action_S)
        for observation, action in zip(
            unpacked(store.codec.observation, steps.bytes_SxW)["observation"], steps.action_S, strict=True
        ):
            np.testing.assert_array_equal(observation, seen)
            assert action == random.integers(2)
            seen, *_ = env.step(int(action))
    assert verify(tmp_path / "store") == []


def test_another_game_is_refused(dataset: Path, tmp_path: Path) -> None:
    for game, said in (
        ("gym/Acrobot-v1", r"the dataset is of CartPole-v1, not Acrobot-v1: give --game gym/CartPole-v1"),
        ("nethack", "episodes of nethack can't be imported from Minari datasets"),
        ("Breakout", "the dataset is of CartPole, not Breakout: give --game gym/CartPole-v1"),
    ):
        with pytest.raises(UserError, match=said):
            import_minari(dataset, tmp_path / "store", game=game)
    assert not (tmp_path / "store").exists()


def test_the_command_imports_them(dataset: Path, tmp_path: Path) -> None:
    code, out, err = run("import", "minari", dataset, tmp_path / "store", "--game", "gym/CartPole-v1", "--workers", 1)
    assert code == 0, err
    assert "imported 3 games" in out
    assert json.loads((tmp_path / "store" / "manifest.json").read_text())["game"] == "gym/CartPole-v1"
