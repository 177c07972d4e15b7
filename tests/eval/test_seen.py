"""What people see of an evaluation: TensorBoard's events, and a game in the terminal."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image, ImageSequence
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.ladder import find
from data.common.cli import UserError
from eval.checkpoints import evaluate, games_of
from eval.config import EvalConfig
from eval.film import EVEN, LAST, Film
from eval.play.options import PlayOptions
from eval.watch import TILE, film, panel
from tests.eval.conftest import AGENT, STEP
from tests.terminal import on_terminal
from train.checkpoint import budget_name


@pytest.fixture(scope="module")
def run(copy_of_run: Callable[[str], Path]) -> Path:
    return copy_of_run("run")


def test_tensorboard_shows_returns_by_flops(run: Path) -> None:
    for character in (None, "@", None):
        rows = evaluate(
            EvalConfig((run,), film=False, episodes=4, max_steps=50, character=character, workers=2), progress=False
        )
    folders = sorted((run / "eval").iterdir())
    assert [folder.name.split("_")[1] for folder in folders] == ["@", "mon-hum-neu-mal"]
    events = EventAccumulator(str(folders[1]))
    events.Reload()
    mine = [row for row in rows if "mon-hum" in str(row.protocol)]
    shown = events.Scalars("eval return/mean")
    assert [event.step for event in shown] == [round(row.flops) for row in mine]
    assert [event.value for event in shown] == pytest.approx([row.return_mean for row in mine])
    games = games_of(run, mine[0].flops, str(mine[0].protocol))
    assert events.Histograms("eval returns")[0].histogram_value.num == len(games) == 4
    assert sum(events.Scalars(tag)[0].value for tag in events.Tags()["scalars"] if "ends/" in tag) == pytest.approx(1)
    text = events.Tensors("eval deaths")[0].tensor_proto.string_val[0].decode()
    assert all(game.death in text for game in games)


def test_tensorboard_shows_the_best_the_median_and_the_worst_game(copy_of_run: Callable[[str], Path]) -> None:
    mine = copy_of_run("pictures")
    config = EvalConfig((mine,), episodes=5, max_steps=60, workers=2)
    [*_, row] = evaluate(config, progress=False)
    [folder] = (mine / "eval").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    games = sorted(games_of(mine, row.flops, str(row.protocol)), key=lambda game: (-game.score, game.seed))
    files = sorted(mine.glob("budgets/*/games/*/game-*.gif"))
    assert files[0].parents[2].name == budget_name(row.flops)
    assert {int(file.stem[5:]) for file in files} == {games[0].seed, games[2].seed, games[4].seed}
    for name, game in (("best", games[0]), ("median", games[2]), ("worst", games[4])):
        [shown] = events.Images(f"eval games/{name}")
        [file] = [file for file in files if file.stem == f"game-{game.seed:05d}"]
        assert (shown.step, shown.encoded_image_string) == (round(row.flops), file.read_bytes())
        with Image.open(file) as picture:
            assert picture.size == (shown.width, shown.height) == (640, 400)
            assert LAST <= len(list(ImageSequence.Iterator(picture))) <= EVEN + LAST
    written = [file.stat().st_mtime_ns for file in files]
    evaluate(config, progress=False)
    assert [file.stat().st_mtime_ns for file in files] == written


@pytest.mark.parametrize("length", [1, 39, 60, 100, 101, 12_345])
def test_a_film_has_the_last_frames_and_some_of_the_others(length: int) -> None:
    shown = Film()
    for step in range(length):
        shown.add(step)
    numbers = [number for number, step in shown.frames]
    assert numbers == [step for _, step in shown.frames]
    assert numbers == sorted(set(numbers))
    assert numbers[-LAST:] == list(range(max(0, length - LAST), length))
    assert numbers[0] == 0
    assert min(length, EVEN // 2) <= len(numbers) <= EVEN + LAST
    assert len(set(np.diff(numbers[:-LAST]))) <= 1


def test_the_watched_game_is_the_evaluated_game(run: Path) -> None:
    agent = find(AGENT).for_backend()
    with jax.numpy_dtype_promotion("standard"):
        evaluate(EvalConfig((run,), film=False, episodes=4, max_steps=50, workers=2), progress=False)
        from eval.checkpoints import load_checkpoint

        agent, params = load_checkpoint(run)
        frames = list(film(agent, params, 3, PlayOptions(max_steps=50)))
    protocol = "NetHackChallenge-v0 mon-hum-neu-mal, sampled at 1, at most 50 steps, seeds from 0"
    [game] = [game for game in games_of(run, 60.0 * STEP, protocol) if game.seed == 3]
    assert f"score {game.score:,}, {game.turns:,} turns" in frames[-1]
    assert len(frames) >= game.steps + 1
    assert TILE > 1


def test_the_panel_lists_the_likeliest_actions() -> None:
    lines = panel(np.array([0.1, 0.6, 0.3]), ["a (A)", "b (B)", "c (C)"], chosen=2)
    assert [line.split()[-2] for line in lines] == ["b", "c", "a"]
    assert lines[0].startswith("   60.0% ######")
    assert [line[1] for line in lines] == [" ", ">", " "]


def test_watching_needs_a_terminal(run: Path) -> None:
    command = [sys.executable, "-m", "eval", str(run), "--watch", "--max-steps", "3"]
    plain = subprocess.run(command, capture_output=True, text=True)
    assert plain.returncode == 2
    assert "not a terminal" in plain.stderr
    code, seen = on_terminal(command, COLUMNS="120", LINES="30")
    assert code == 0
    assert "truncated: quit, score" in seen
    assert "%" in seen


def test_only_nethack_is_watched() -> None:
    with pytest.raises(UserError, match="name the folder of a run"):
        EvalConfig((), watch=True)
