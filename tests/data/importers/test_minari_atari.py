"""Atari episodes of Minari datasets become a store."""

import gc
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from minari import DataCollector

from data.common.cli import UserError
from data.importers.base import Skipped, Unusable, converted
from data.importers.minari.atari import as_stacks
from data.importers.minari.dataset import convert as convert_minari
from data.importers.minari.dataset import find as find_minari
from data.importers.minari.dataset import import_minari
from data.importers.stacks import downsampled
from data.store.pack import PackedEpisode
from data.store.reader import TrajectoryStore
from data.store.verify import verify
from tests.data.importers.test_atari import PLAYED
from tests.data.test_command import run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Minari dataset of random play of Breakout, recorded by Minari itself."""
    root = tmp_path_factory.mktemp("minari")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Minari has wishes about a data set's description
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        env = DataCollector(gymnasium.make("ALE/Breakout-v5"), record_infos=False)
        for seed in range(3):
            env.reset(seed=seed)
            env.action_space.seed(seed)
            for _ in range(60):
                *_, ended, cut, _ = env.step(env.action_space.sample())
                if ended or cut:
                    break
        env.create_dataset("atari/test-v0", algorithm_name="chance", description="for a test",
                           author="isoplay", author_email="-", code_permalink="-")  # fmt: skip
        env.close()
        del env
        gc.collect()
    return root / "atari" / "test-v0"


def test_minari_is_stored_downsampled(dataset: Path, tmp_path: Path) -> None:
    report = import_minari(dataset, tmp_path / "store", game="Breakout", workers=2)
    assert (report.games, report.skipped) == (3, ())
    store = TrajectoryStore.open(tmp_path / "store")
    assert verify(store.path) == []
    for row, episode in enumerate(minari.MinariDataset(dataset / "data").iterate_episodes()):
        steps = store.read(row, 0, len(episode.actions))
        np.testing.assert_array_equal(steps.action_S, episode.actions)
        assert store.episodes[row].score == episode.rewards.sum()
        gained = np.r_[0, np.cumsum(episode.rewards)[:-1]]
        np.testing.assert_array_equal(steps.score_S, gained)
        frames = downsampled(episode.observations[:-1])
        np.testing.assert_array_equal(steps.frames_Sx84x84x4[..., -1], frames)
        np.testing.assert_array_equal(steps.frames_Sx84x84x4[5], np.moveaxis(frames[2:6], 0, -1))
        assert not steps.frames_Sx84x84x4[0, :, :, :3].any()
        # A small frame is the mean of what it covers.
        luma = episode.observations[9] @ np.array([0.299, 0.587, 0.114])
        assert abs(float(frames[9].mean()) - luma.mean()) < 1
    assert import_minari(dataset, tmp_path / "store", game="Breakout", workers=1).known == 3


def rewrite_episode(dataset: Path, name: str, values: Any) -> None:
    with h5py.File(dataset / "data" / "main_data.hdf5", "r+") as file:
        del file[f"episode_1/{name}"]
        file[f"episode_1/{name}"] = values


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: rewrite_episode(path, "actions", np.zeros((59, 2), np.int64)), "actions and rewards of"),
        (lambda path: rewrite_episode(path, "actions", np.full(59, 0.5)), "actions and rewards of"),
        (lambda path: rewrite_episode(path, "actions", np.full(60, 4)), "actions from 4 to 4, not from 0 to 3"),
        (lambda path: rewrite_episode(path, "actions", np.zeros(3, np.int64)), "3 actions, "),
        (lambda path: rewrite_episode(path, "rewards", np.full(60, np.nan)), "rewards"),
        (lambda path: rewrite_episode(path, "rewards", "none"), "can't be read"),
        (lambda path: rewrite_episode(path, "observations", np.zeros((61, 9, 9), np.uint8)), "can't be read"),
    ],
)
def test_a_damaged_episode_of_minari_is_named(
    dataset: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "dataset"
    shutil.copytree(dataset, path)
    damage(path)
    one, skipped, three = (converted(convert_minari, recording) for recording in find_minari(path / "data", "Breakout"))
    assert isinstance(one, PackedEpisode)
    assert isinstance(three, PackedEpisode)
    assert isinstance(skipped, Skipped)
    assert (skipped.source, skipped.kind) == ("episode 1", "damaged")
    assert said in skipped.reason


def test_observations_come_in_several_shapes() -> None:
    stacks = PLAYED[0][0][:9]
    np.testing.assert_array_equal(as_stacks(stacks), stacks)
    np.testing.assert_array_equal(as_stacks(np.moveaxis(stacks, -1, 1)), stacks)
    for frames in (stacks[..., -1], stacks[..., -1:]):
        np.testing.assert_array_equal(as_stacks(frames)[3:], stacks[3:])
    for wrong in (np.zeros((9, 9, 9), np.uint8), np.zeros((9, 84, 84))):
        with pytest.raises(Unusable, match="observations of"):
            as_stacks(wrong)


def spec(id: str, wrappers: tuple[tuple[str, dict[str, Any]], ...] = (), **arguments: Any) -> str:
    """An environment as Gymnasium writes it."""
    about = [{"name": name, "entry_point": "x:y", "kwargs": given} for name, given in wrappers]
    return json.dumps(
        {"id": id, "entry_point": "ale_py.env:AtariEnv", "kwargs": arguments, "additional_wrappers": about}
    )


def saying(dataset: Path, path: Path, **facts: Any) -> Path:
    """A copy of a dataset whose metadata say something else."""
    shutil.copytree(dataset, path)
    file = path / "data" / "metadata.json"
    known = json.loads(file.read_text()) | facts
    file.write_text(json.dumps({name: value for name, value in known.items() if value is not None}))
    return path


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"env_spec": spec("ALE/Pong-v5", game="pong")}, "is of Pong, not Breakout: give --game Pong"),
        ({"env_spec": spec("SpaceInvadersNoFrameskip-v4")}, "is of SpaceInvaders, not Breakout"),
        ({"env_spec": spec("CartPole-v1")}, "is of CartPole, not Breakout"),
        ({"env_spec": spec("Mine", game="space_invaders")}, "is of SpaceInvaders, not Breakout"),
        ({"env_spec": None, "dataset_id": "atari/pong/expert-v0"}, "is of Pong, not Breakout"),
        ({"env_spec": spec("ALE/Breakout-v5", full_action_space=True)}, "has 4 actions, its environment's full .* 18"),
        (
            {"env_spec": spec("ALE/Breakout-v5", (("TransformAction", {}),))},
            "wrapper TransformAction changes what actions mean",
        ),
        ({"env_spec": "{"}, "env_spec is damaged"),
        ({"env_spec": "[1]"}, "env_spec is damaged"),
    ],
)
def test_another_game_or_action_set_is_refused(dataset: Path, tmp_path: Path, facts: dict[str, Any], said: str) -> None:
    path = saying(dataset, tmp_path / "dataset", **facts)
    with pytest.raises(UserError, match=said):
        import_minari(path, tmp_path / "store", game="Breakout", workers=1)
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_how_a_dataset_was_recorded_is_kept_shown_and_warned_of(dataset: Path, tmp_path: Path) -> None:
    wrappers = (("AtariPreprocessing", {"frame_skip": 5, "terminal_on_life_loss": True}),)
    recorded = spec("BreakoutNoFrameskip-v4", wrappers, game="breakout", frameskip=1, repeat_action_probability=0.0)
    path = saying(dataset, tmp_path / "dataset", env_spec=recorded)
    code, out, _ = run("import", "minari", path, tmp_path / "store", "--game", "Breakout", "--workers", 1)
    assert code == 0
    for said in ("frame skip 5 (ours: 4)", "sticky actions 0.0 (ours: 0.25)", "an end at each loss of a life: True"):
        assert f"warning: recorded with {said}" in out
    facts = TrajectoryStore.open(tmp_path / "store").manifest["imports"][0]
    assert (facts["frame_skip"], facts["sticky"], facts["life_loss_ends"]) == (5, 0.0, True)
    assert "frame_skip 5" in run("info", tmp_path / "store")[1]
    same = saying(dataset, tmp_path / "same", env_spec=spec("Breakout-v4", frameskip=[2, 5]), dataset_id="other")
    report = import_minari(same, tmp_path / "other", game="Breakout", workers=1)
    assert report.warnings == (
        "recorded with frame skip [2, 5] (ours: 4): agents that learn from it play another game",
    )
    assert import_minari(dataset, tmp_path / "third", game="Breakout", workers=1).warnings == ()


@pytest.mark.parametrize("count", [0, "many"])
def test_a_dataset_that_miscounts_is_one_line(dataset: Path, tmp_path: Path, count: object) -> None:
    path = tmp_path / "dataset"
    shutil.copytree(dataset, path)
    facts = json.loads((path / "data" / "metadata.json").read_text())
    (path / "data" / "metadata.json").write_text(json.dumps(facts | {"total_episodes": count}))
    code, _, err = run("import", "minari", path, tmp_path / "store", "--game", "Breakout", "--workers", 1)
    assert "Traceback" not in err
    assert code == 2


def test_what_is_no_dataset_of_the_game_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the dataset is of Breakout, not BankHeist: give --game Breakout"):
        import_minari(dataset, tmp_path / "store", game="BankHeist")
    with pytest.raises(UserError, match="no Minari dataset"):
        import_minari(tmp_path, tmp_path / "store", game="Breakout")
    damaged = tmp_path / "damaged"
    shutil.copytree(dataset, damaged)
    file = damaged / "data" / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"no game to import|no Minari dataset"):
        import_minari(damaged, tmp_path / "store", game="Breakout", workers=1)
