"""What people see of an evaluation: TensorBoard's events, and a game in the terminal."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.ladder import find
from data.common.cli import UserError
from eval.checkpoints import evaluate, games_of
from eval.config import EvalConfig
from eval.play.options import PlayOptions
from eval.watch import TILE, film, panel
from train.config import TrainConfig
from train.loop import train

AGENT = "nethack/lstm/16"
STEP = find(AGENT).cost(8).train_flops("exact") * 8 * 8


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    with jax.numpy_dtype_promotion("standard"):
        train(TrainConfig(store, folder, AGENT, (5.0 * STEP, 20.0 * STEP), lanes=8, window=8), progress=False)
    return folder


def test_tensorboard_shows_returns_by_flops(run: Path) -> None:
    for character in (None, "@", None):
        rows = evaluate(EvalConfig((run,), episodes=4, max_steps=50, character=character, workers=2), progress=False)
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


def test_the_watched_game_is_the_evaluated_game(run: Path) -> None:
    agent = find(AGENT).for_backend()
    with jax.numpy_dtype_promotion("standard"):
        evaluate(EvalConfig((run,), episodes=4, max_steps=50, workers=2), progress=False)
        from eval.checkpoints import load_checkpoint

        agent, params = load_checkpoint(run)
        frames = list(film(agent, params, 3, PlayOptions(max_steps=50)))
    protocol = "NetHackChallenge-v0 mon-hum-neu-mal, sampled at 1, at most 50 steps, seeds from 0"
    [game] = [game for game in games_of(run, 20.0 * STEP, protocol) if game.seed == 3]
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
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "LINES": "30"}
    process = subprocess.Popen(command, stdout=child, stderr=child, env=environment)
    os.close(child)
    seen = b""
    while process.poll() is None or select.select([parent], [], [], 0)[0]:
        try:
            seen += os.read(parent, 65536)
        except OSError:
            break
    os.close(parent)
    assert process.wait() == 0
    assert b"truncated: quit, score" in seen
    assert b"%" in seen


def test_only_nethack_is_watched() -> None:
    with pytest.raises(UserError, match="name the folder of a run"):
        EvalConfig((), watch=True)
