"""Atari episodes of other people's files become a store."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from ale_py.vector_env import AtariVectorEnv
from PIL import Image
from pyarrow.parquet import read_table, write_table

from data.common.cli import UserError
from data.games import atari
from data.importers import parquet
from data.importers.base import Skipped, converted
from data.importers.parquet import import_parquet
from data.sampling.stream import Order, batches, dev_batches
from data.spec import NO_SCORE
from data.store.pack import PackedEpisode
from data.store.reader import TrajectoryStore
from data.store.verify import verify
from tests.data.store.stores import write as write_store
from tests.data.test_command import run


def episodes(game: str, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Random play: stacks uint8 [S, 84, 84, 4], actions, return."""
    env = AtariVectorEnv(game, num_envs=1, repeat_action_probability=0.25, reward_clipping=False)
    random = np.random.default_rng(0)
    for seed in range(count):
        seen, _ = env.reset(seed=seed)
        stacks, actions, score, over = [], [], 0.0, False
        while not over:
            stacks.append(np.moveaxis(seen[0], 0, -1))
            actions.append(random.integers(4))
            seen, rewards, ended, cut, _ = env.step(np.array(actions[-1:]))
            score += rewards[0]
            over = ended[0] or cut[0]
        yield np.stack(stacks), np.array(actions, np.uint8), int(score)
    env.close()


PLAYED = list(episodes("breakout", 4))


def table(states: np.ndarray, actions: np.ndarray, kind: Any = None) -> pyarrow.Table:
    kind = kind or pyarrow.list_(pyarrow.int16())
    columns = {"states": pyarrow.array(list(states), kind), "actions": pyarrow.array(actions, pyarrow.uint8())}
    return pyarrow.table(columns)


def metadata(score: Any, steps: Any) -> pyarrow.Table:
    return pyarrow.table({"score": [score], "steps": [steps]})


def write(folder: Path, channels_first: bool = False, count: int = 4) -> Path:
    for number, (stacks, actions, score) in enumerate(PLAYED[:count]):
        place = folder / str(9 + number)
        place.mkdir(parents=True)
        states = np.moveaxis(stacks, -1, 1) if channels_first else stacks
        write_table(table(states.reshape(len(states), -1).astype(np.int16), actions), place / "rollout.parquet")
        write_table(metadata(score, len(actions)), place / "metadata.parquet")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("channels_first", [False, True])
def test_parquet_is_stored_bit_for_bit(tmp_path: Path, channels_first: bool) -> None:
    folder = write(tmp_path / "parquet", channels_first)
    report = import_parquet(folder, tmp_path / "store", game="Breakout", expert="chance", workers=2)
    assert (report.games, report.skipped) == (4, ())
    store = TrajectoryStore.open(tmp_path / "store")
    assert store.manifest["game"] == "Breakout"
    assert store.manifest["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    # Folders by number, as people count.
    assert [row.source for row in store.episodes] == ["9", "10", "11", "12"]
    for row, (stacks, actions, score) in enumerate(PLAYED):
        steps = store.read(row, 0, len(actions))
        np.testing.assert_array_equal(steps.frames_Sx84x84x4, stacks)
        np.testing.assert_array_equal(steps.action_S, actions)
        assert (steps.score_S == NO_SCORE).all()
        assert store.episodes[row].score == score
    assert verify(store.path) == []
    assert import_parquet(folder, tmp_path / "store", game="Breakout", workers=1).known == 4


@pytest.mark.slow
def test_parts_of_an_episode_are_joined(tmp_path: Path) -> None:
    stacks, actions, score = PLAYED[0]
    place = tmp_path / "parquet" / "1"
    place.mkdir(parents=True)
    # The first part is of one step, which does not tell how frames lie.
    for part, piece in enumerate(np.split(np.arange(len(actions)), [1, *range(20, len(actions), 20)])):
        states = stacks[piece].reshape(len(piece), -1)
        write_table(table(states, actions[piece], pyarrow.list_(pyarrow.uint8())), place / f"rollout{part}.parquet")
    write_table(metadata(score, len(actions)), place / "metadata.parquet")
    import_parquet(tmp_path / "parquet", tmp_path / "store", game="Breakout", workers=1)
    np.testing.assert_array_equal(
        TrajectoryStore.open(tmp_path / "store").read(0, 0, len(actions)).frames_Sx84x84x4, stacks
    )


@pytest.mark.parametrize("order", ["lanes", "windows"])
def test_batches_hold_every_frame_once(tmp_path: Path, order: Order) -> None:
    import_parquet(write(tmp_path / "parquet"), tmp_path / "store", game="Breakout", dev_fraction=0.8, workers=1)
    store = TrajectoryStore.open(tmp_path / "store")
    for batch in (next(batches(store, "train", 3, 8, 0, order=order)), *list(dev_batches(store, 2, 16))[-4:]):
        frames, oldest = batch.observation["frames"], batch.observation["oldest"]
        lanes, window = batch.mask.shape
        pieces = 1 if order == "windows" and lanes == 3 else 2
        assert frames.shape == (lanes, window + 3 * pieces, 84, 84)
        assert not oldest[~batch.mask].any()
        for lane, t in zip(*np.nonzero(batch.mask), strict=True):
            row = int(store.episodes[batch.episode[lane, t]].source) - 9
            stack = np.moveaxis(frames[lane, oldest[lane, t] :][:4], 0, -1)
            same = (PLAYED[row][0] == stack).all((1, 2, 3)) & (PLAYED[row][1] == batch.action[lane, t])
            assert same.any()
        for lane in range(lanes):
            shown = {place for t in np.flatnonzero(batch.mask[lane]) for place in range(4) + oldest[lane, t]}
            assert not np.delete(frames[lane], list(shown), axis=0).any()


def test_a_game_whose_stacks_jump_is_not_imported(tmp_path: Path) -> None:
    """In the middle, and where the parts of an episode meet."""
    folder = write(tmp_path / "parquet")
    for name, dropped in (("9", 7), ("12", 256)):
        path = folder / name / "rollout.parquet"
        whole = read_table(path)
        assert len(whole) > dropped + 1
        write_table(pyarrow.concat_tables([whole.slice(0, dropped), whole.slice(dropped + 1)]), path)
        write_table(metadata(0, len(whole) - 1), folder / name / "metadata.parquet")
    report = import_parquet(folder, tmp_path / "store", game="Breakout", workers=1)
    assert report.games == 2
    assert [skip.source for skip in report.skipped] == ["9", "12"]
    for skip, dropped in zip(report.skipped, (7, 256), strict=True):
        assert skip.reason == f"at step {dropped} its stacks do not advance by one frame"


def rewrite(path: Path, change: Callable[[pyarrow.Table], pyarrow.Table]) -> None:
    write_table(change(read_table(path)), path)


STATES = PLAYED[0][0].reshape(len(PLAYED[0][1]), -1).astype(np.int16)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda place: (place / "metadata.parquet").unlink(), "no metadata.parquet beside it"),
        (lambda place: (place / "rollout.parquet").write_bytes(b""), "not valid Parquet"),
        (lambda place: (place / "metadata.parquet").write_bytes(b"PAR1"), "not valid Parquet"),
        (lambda place: write_table(metadata(None, 3), place / "metadata.parquet"), "score None"),
        (lambda place: write_table(metadata(float("inf"), 3), place / "metadata.parquet"), "score inf"),
        (lambda place: write_table(metadata(3.7, 3), place / "metadata.parquet"), "score 3.7"),
        (lambda place: write_table(table(STATES[:1], PLAYED[0][1][:1]), place / "rollout.parquet"), "a single step"),
        (
            lambda place: rewrite(place / "rollout.parquet", lambda t: t.append_column("actions", t["actions"])),
            "more than one column actions",
        ),
        (
            lambda place: write_table(metadata(1, 3), place / "metadata.parquet"),
            "steps where its metadata.parquet says 3",
        ),
        (lambda place: rewrite(place / "rollout.parquet", lambda t: t.drop_columns("actions")), "no column actions"),
        (lambda place: write_table(table(STATES, PLAYED[0][1] + 1), place / "rollout.parquet"), "action 4 where"),
        (lambda place: write_table(table(STATES[:, 1:], PLAYED[0][1]), place / "rollout.parquet"), "28223 values"),
        (lambda place: write_table(table(STATES - 1, PLAYED[0][1]), place / "rollout.parquet"), "pixels from -1"),
        (lambda place: write_table(table(STATES[:0], PLAYED[0][1][:0]), place / "rollout.parquet"), "no step"),
        (lambda place: write_table(table(STATES[::5], PLAYED[0][1][::5]), place / "rollout.parquet"), "do not follow"),
        (
            lambda place: rewrite(
                place / "rollout.parquet", lambda t: t.set_column(0, "states", pyarrow.array([None] * len(t)))
            ),
            "states of null",
        ),
    ],
)
def test_a_damaged_episode_is_named(tmp_path: Path, damage: Callable[[Path], object], said: str) -> None:
    folder = write(tmp_path / "parquet", count=1)
    damage(folder / "9")
    [recording] = parquet.find(folder, 4)
    skipped = converted(parquet.convert, recording)
    assert isinstance(skipped, Skipped)
    assert skipped.source == "9"
    assert said in skipped.reason


@pytest.mark.slow
def test_five_hundred_altered_files_never_end_the_process(tmp_path: Path) -> None:
    folder = write(tmp_path / "parquet", count=1)
    honest = {name: (folder / "9" / name).read_bytes() for name in ("rollout.parquet", "metadata.parquet")}
    random, skipped = np.random.default_rng(0), 0
    [recording] = parquet.find(folder, 4)
    for _ in range(500):
        name = ("rollout.parquet", "metadata.parquet")[int(random.integers(2))]
        damaged = bytearray(honest[name])
        # The description of the columns stands at the end.
        begin = int(random.integers(2)) * max(0, len(damaged) - 600)
        for _ in range(int(random.integers(1, 5))):
            place = int(random.integers(begin, len(damaged)))
            if random.random() < 0.7:
                damaged[place] = random.integers(256)
            else:
                del damaged[place : place + int(random.integers(1, 30))]
        for kept, content in honest.items():
            (folder / "9" / kept).write_bytes(damaged if kept == name else content)
        result = converted(parquet.convert, recording)
        assert isinstance(result, PackedEpisode | Skipped)
        skipped += isinstance(result, Skipped)
    assert skipped > 250


@pytest.mark.parametrize(
    ("game", "said"),
    [("Brekout", "did you mean Breakout"), ("", "unknown Atari game ''"), ("pong", "did you mean Pong")],
)
def test_an_unknown_game_is_named_with_its_nearest(tmp_path: Path, game: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        import_parquet(tmp_path, tmp_path / "store", game=game)


def test_names_of_games_are_those_of_the_paper() -> None:
    nine = "BankHeist BattleZone Boxing Breakout DoubleDunk NameThisGame Phoenix Qbert SpaceInvaders"
    assert set(nine.split()) <= atari.games().keys()
    assert len(atari.content("Boxing").actions) == 18


def test_atari_and_nethack_do_not_share_a_store(tmp_path: Path) -> None:
    folder, store = write(tmp_path / "parquet", count=1), write_store(tmp_path / "store", (30,))
    with pytest.raises(UserError, match="game 'nethack', not 'Breakout'"):
        import_parquet(folder, store, game="Breakout")


def test_parquet_on_the_command_line(tmp_path: Path) -> None:
    folder, path = write(tmp_path / "parquet", count=3), tmp_path / "store"
    (folder / "11" / "rollout.parquet").write_bytes(b"PAR1")
    code, out, err = run("import", "parquet", folder, path, "--game", "Breakout", "--workers", 1, "--strict")
    assert code == 1, err
    assert "imported 2 games" in out
    assert "11: damaged: not valid Parquet" in out
    code, out, _ = run("info", path)
    assert code == 0
    assert "LEFT" in out
    code, out, _ = run("play", path, "--gif", tmp_path / "film.gif", "--steps", 5)
    assert code == 0
    with Image.open(tmp_path / "film.gif") as film:
        assert (film.size, getattr(film, "n_frames", 0)) == ((336, 368), 5)
        film.seek(4)
        shown = np.asarray(film.convert("L"))[:336:4, ::4]
    np.testing.assert_array_equal(shown, PLAYED[0][0][4][..., -1])
    assert run("play", path) == (2, "", "error: Breakout cannot be shown as text: give --gif FILE\n")
