"""Windows by index: what Grain and other loaders see of a store."""

import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grain
import numpy as np
import pytest

import data
from data.codec.frames import FRAMES
from data.common.cli import UserError
from data.games.base import Content
from data.sampling.sources import Window, WindowSource
from data.spec import NO_ACTION
from data.store.episodes import EpisodeFilter
from data.store.pack import pack
from data.store.reader import TrajectoryStore
from data.store.writer import StoreWriter
from tests.data.codec.test_codec import random_steps
from tests.data.codec.test_frames import moving
from tests.data.store.stores import write

ROOT = Path(__file__).resolve().parents[3]
LENGTHS = (300, 5, 2500, 1, 40, 513, 90, 256)
WHOLE = [random_steps(seed, length) for seed, length in enumerate(LENGTHS)]
T = 32


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sources") / "store", LENGTHS)


def same(left: Window, right: Window) -> None:
    assert left.keys() == right.keys()
    for name in left["observation"]:
        np.testing.assert_array_equal(left["observation"][name], right["observation"][name], err_msg=name)
    for name in ("action", "first", "mask", "episode"):
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def identity(window: Window) -> tuple[int, int, bytes]:
    """Tells the windows of the store apart."""
    return int(window["episode"][0]), int(window["mask"].sum()), window["action"].tobytes()


def test_windows_are_the_steps_of_the_split_in_order(path: Path) -> None:
    source, store = WindowSource(path, T), TrajectoryStore.open(path)
    index = 0
    for row in store.rows("train").tolist():
        steps = WHOLE[row]
        for start in range(0, LENGTHS[row], T):
            window, count = source[index], min(T, LENGTHS[row] - start)
            assert window["mask"].tolist() == [True] * count + [False] * (T - count)
            assert window["first"].tolist() == [True] + [False] * (T - 1)
            assert window["episode"].tolist() == [row] * count + [-1] * (T - count)
            np.testing.assert_array_equal(window["action"][:count], steps.action_S[start : start + count])
            chars = window["observation"]["chars"]
            np.testing.assert_array_equal(chars[:count], steps.chars_Sx24x80[start : start + count])
            assert not chars[count:].any()
            before = steps.action_S[start - 1] if start else NO_ACTION
            assert window["observation"]["prev_action"][0] == before
            index += 1
    assert index == len(source)
    for wrong in (-1, len(source)):
        with pytest.raises(IndexError):
            source[wrong]


def test_a_filter_selects_windows(path: Path) -> None:
    source = WindowSource(path, T, filter=EpisodeFilter(min_length=100))
    rows = [row for row in TrajectoryStore.open(path).rows("train").tolist() if LENGTHS[row] >= 100]
    assert len(source) == sum(-(-LENGTHS[row] // T) for row in rows) < len(WindowSource(path, T))
    assert {int(source[index]["episode"][0]) for index in range(len(source))} == set(rows)


def test_a_window_keeps_its_content_while_others_are_read(path: Path) -> None:
    source = WindowSource(path, T)
    held = [source[index] for index in range(len(source))]
    for index, window in enumerate(held):
        same(window, source[index])


def test_a_pickled_source_reads_the_same(path: Path) -> None:
    source = WindowSource(path, T)
    content = pickle.dumps(source)
    assert len(content) < 10_000
    copy = pickle.loads(content)
    assert repr(copy) == repr(source)
    same(copy[7], source[7])


def test_a_source_tells_its_content_and_refuses_another(tmp_path: Path) -> None:
    path = write(tmp_path / "store", (300, 40, 50, 70, 80), dev_fraction=0.3)
    source, content = WindowSource(path, T), pickle.dumps(WindowSource(path, T))
    assert repr(source) == repr(WindowSource(path, T)) != repr(WindowSource(path, T + 1))
    write(path, (60,), dev_fraction=0.3, first=50)
    assert repr(source) != repr(WindowSource(path, T))
    with pytest.raises(UserError, match="changed since it was opened"):
        pickle.loads(content)[0]


@pytest.mark.parametrize(("options", "error"), [({"window": 0}, ValueError), ({"path": "nowhere"}, UserError)])
def test_what_cannot_be_read_is_refused(path: Path, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        WindowSource(**({"path": path, "window": T} | options))


def numbered(batched: Iterable[Any]) -> list[tuple[int, int, bytes]]:
    """The windows in Grain's batches."""
    found = []
    for batch in batched:
        for lane in range(len(batch["action"])):
            found.append(identity({name: batch[name][lane] for name in ("episode", "mask", "action")}))
    return found


def test_grain_datasets_read_a_source(path: Path) -> None:
    source = WindowSource(path, T)
    assert isinstance(source, grain.sources.RandomAccessDataSource)
    everything = sorted(identity(source[index]) for index in range(len(source)))
    dataset = grain.MapDataset.source(source).shuffle(seed=1)
    assert numbered(dataset.batch(8)) == numbered(grain.MapDataset.source(source).shuffle(seed=1).batch(8))
    found = numbered(dataset.batch(8))
    assert found != everything
    assert sorted(found) == everything
    batch: Any = dataset.batch(8)[0]
    assert batch["observation"]["chars"].shape == (8, T, 24, 80)
    assert sorted(numbered(dataset.to_iter_dataset().batch(8))) == everything


@pytest.mark.slow
def test_a_grain_loader_reads_a_source_in_two_processes_and_resumes(path: Path) -> None:
    """In a process of its own, as one starts Grain: its workers import the main module again."""
    script = f"""
import itertools
import absl.app
import grain
from data import WindowSource

def main(_):
    from tests.data.sampling.test_sources import T, identity, numbered
    source = WindowSource({str(path)!r}, T)
    everything = sorted(identity(source[index]) for index in range(len(source)))
    def loader():
        sampler = grain.samplers.IndexSampler(len(source), shuffle=True, seed=3, num_epochs=1)
        batch = grain.transforms.Batch(4)
        return grain.DataLoader(data_source=source, sampler=sampler, operations=[batch], worker_count=2)
    begun = iter(loader())
    before = numbered(itertools.islice(begun, 5))
    state = begun.get_state()
    after = numbered(begun)
    assert sorted(before + after) == everything != before + after
    resumed = iter(loader())
    resumed.set_state(state)
    assert numbered(resumed) == after

    print("read", flush=True)

if __name__ == "__main__":
    absl.app.run(main)
"""
    file = path.parent / "load.py"
    file.write_text(script)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, file], env=environment, capture_output=True, text=True, timeout=600)
    assert done.stdout.endswith("read\n"), done.stderr


def test_public_names_are_imported_when_used(path: Path) -> None:
    script = (
        "import sys, data\n"
        "assert not {'numpy', 'numba', 'jax', 'nle', 'torch', 'grain'} & set(sys.modules)\n"
        f"store = data.TrajectoryStore.open({str(path)!r})\n"
        "batch = next(data.batches(store, 'train', lanes=2, window=8, seed=0))\n"
        "assert batch.observation['chars'].shape == (2, 8, 24, 80)\n"
        f"assert len(data.WindowSource({str(path)!r}, window=8)) > 100\n"
        "assert not {'jax', 'nle', 'torch', 'grain'} & set(sys.modules), sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert data.TrajectoryStore is TrajectoryStore
    assert sorted(data.__all__) == data.__all__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        data.nothing  # noqa: B018


def test_batches_and_windows_hold_the_same_steps(path: Path) -> None:
    store, source = TrajectoryStore.open(path), WindowSource(path, T)
    stream = data.batches(store, "train", lanes=1, window=T, seed=0, order="windows")
    found = []
    for batch in itertools.islice(stream, len(source)):
        found.append(identity({"episode": batch.episode[0], "mask": batch.mask[0], "action": batch.action[0]}))
    assert sorted(found) == sorted(identity(source[index]) for index in range(len(source)))


def test_windows_of_atari_hold_each_frame_once(tmp_path: Path) -> None:
    games = [moving(seed, 70, seed % 2 == 0) for seed in range(4)]
    with StoreWriter(tmp_path / "store", Content("Breakout", FRAMES, tuple("abcd")), dev_fraction=0) as writer:
        for number, steps in enumerate(games):
            writer.add(pack(FRAMES, [steps], score=0.0, source=str(number)))
    source = WindowSource(tmp_path / "store", T)
    assert len(source) == 4 * 3
    for index in range(len(source)):
        window, (row, start) = source[index], (index // 3, index % 3 * T)
        frames, oldest = window["observation"]["frames"], window["observation"]["oldest"]
        assert frames.shape == (T + 3, 84, 84)
        for t in np.flatnonzero(window["mask"]).tolist():
            stack = np.moveaxis(frames[oldest[t] : oldest[t] + 4], 0, -1)
            np.testing.assert_array_equal(stack, games[row].frames_Sx84x84x4[start + t])
