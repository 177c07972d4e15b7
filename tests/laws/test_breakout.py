"""Breakout from the expert to the result row, evaluated in real games."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.atari.agent import AtariAgent
from agents.atari.cnn import CNN
from data.collect.atari import collect_atari
from data.common.cli import UserError
from data.experts.registry import find
from data.games.arcade import Arcade
from data.games.atari import AtariGame
from eval.checkpoints import evaluate, games_of
from eval.config import EvalConfig
from eval.play.atari import PLAY
from eval.play.options import PlayOptions, Task
from eval.play.records import EpisodeRow
from laws.rows.runs import read
from laws.study.atari import PRESETS
from train.config import TrainConfig
from train.loop import train

LANES, WINDOW = 8, 6


@pytest.fixture(autouse=True)
def _optax_promotes():
    """Optax's bias correction raises a float to an integer power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def atari_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("breakout") / "store"
    collect_atari(path, game="Breakout", expert="random", episodes=6, workers=2, dev_fraction=0.4)
    return path


RANDOM = find(AtariGame("Breakout"), "random")


def config(store: Path, run: Path, **changes) -> TrainConfig:
    step = CNN(1, 4).cost().train_flops("exact") * LANES * WINDOW
    options = {"agent": "atari/cnn/1", "flops": (5.0 * step,), "lanes": LANES, "window": WINDOW, **changes}
    return TrainConfig(store=store, run=run, order="windows", **options)


@pytest.mark.slow
def test_a_run_is_evaluated_in_real_games(atari_store: Path, tmp_path: Path) -> None:
    train(config(atari_store, tmp_path / "run"), progress=False)
    [row] = evaluate(EvalConfig((tmp_path / "run",), episodes=3, lanes=2, workers=1, max_steps=60), progress=False)
    assert (row.game, row.core, row.size, row.params) == ("Breakout", "cnn", "1", 725)
    assert (row.width, row.depth, row.episodes) == (1, 3, 3)
    assert row.protocol is not None
    assert "sticky actions 0.25" in row.protocol
    assert row.loss == pytest.approx(np.log(4), abs=0.1)
    assert row.flops_exact is not None
    assert row.flops_exact == row.samples * CNN(1, 4).cost().train_flops("exact") <= row.flops
    games = games_of(tmp_path / "run", row.flops, row.protocol)
    assert [game.seed for game in games] == [0, 1, 2]
    with pytest.raises(UserError, match="Breakout has no characters"):
        evaluate(EvalConfig((tmp_path / "run",), episodes=3, character="val-dwa-law-fem"), progress=False)
    # A longer evaluation keeps the games that were played.
    [longer] = evaluate(EvalConfig((tmp_path / "run",), episodes=4, lanes=4, workers=1, max_steps=60), progress=False)
    assert games_of(tmp_path / "run", row.flops, row.protocol)[:3] == games
    assert longer.episodes == 4


@pytest.fixture(scope="module")
def rows() -> list[EpisodeRow]:
    return PLAY.play_expert(RANDOM, range(5), PlayOptions(lanes=2, workers=1), progress=False)


@pytest.mark.parametrize(("seeds", "lanes"), [(range(5), 5), ([4, 1], 1), ([3, 0, 2], 2)])
def test_a_seeds_game_depends_on_nothing_else(rows: list[EpisodeRow], seeds: list[int], lanes: int) -> None:
    heard: list[EpisodeRow] = []
    found = PLAY.play_expert(RANDOM, seeds, PlayOptions(lanes=lanes, workers=2), progress=False, on_game=heard.append)
    assert found == [rows[seed] for seed in sorted(seeds)]
    assert sorted(heard, key=lambda row: row.seed) == found
    assert not any(row.truncated for row in found)


@pytest.mark.slow
def test_a_policys_game_is_the_game_played_by_hand() -> None:
    agent = AtariAgent("atari/cnn/3", CNN(3, 4), im2col=True)
    params = jax.jit(agent.init)(jax.random.key(2))
    options = PlayOptions(seed=5, lanes=2, workers=1, max_steps=90)
    played: list[EpisodeRow] = []
    PLAY.play_agents([Task(agent, lambda: params, [7, 8, 9], played.append)], "Breakout", options, progress=False)
    arcade, key = Arcade("Breakout"), jax.random.key(5)
    [stack] = arcade.reset(np.array([9]))
    score = steps = 0
    over = False
    while not over and steps < 90:
        seen = {"frames": jnp.asarray(np.moveaxis(stack, -1, 0)[None]), "oldest": jnp.zeros((1, 1), jnp.int32)}
        logits, _ = jax.jit(agent.apply)(params, seen, jnp.zeros((1, 1), bool), ())
        mine = jax.random.fold_in(jax.random.fold_in(key, np.uint32(9)), np.uint32(steps))
        [stack], [reward], [over] = arcade.step(np.asarray(jax.random.categorical(mine, logits[0])))
        score, steps = score + reward, steps + 1
    assert next(row for row in played if row.seed == 9) == EpisodeRow(9, score, steps, truncated=not over)


def test_what_does_not_fit_is_one_line(atari_store: Path, store: Path, tmp_path: Path) -> None:
    for changes, said in (
        ({"agent": "nethack/lstm/16"}, "holds games of Breakout"),
        ({"dropout": 0.1}, "atari/cnn/1 has no dropout"),
    ):
        with pytest.raises(UserError, match=said):
            train(config(atari_store, tmp_path / "run", **changes), progress=False)
    with pytest.raises(UserError, match="holds games of nethack"):
        train(config(store, tmp_path / "run"), progress=False)
    assert not (tmp_path / "run").exists()
    (tmp_path / "rl").mkdir()
    (tmp_path / "rl" / "config.json").write_text('{"kind": "ppo", "game": "Breakout", "config": {}}')
    with pytest.raises(UserError, match="of another kind"):
        train(config(atari_store, tmp_path / "rl"), progress=False)
    with pytest.raises(UserError, match="of another kind"):
        evaluate(EvalConfig((tmp_path / "rl",), episodes=0), progress=False)


@pytest.mark.slow
def test_the_whole_study_in_one_command(tmp_path: Path) -> None:
    preset, folder = PRESETS["smoke"], tmp_path / "study"
    command = [sys.executable, "-m", "laws", "reproduce", "smoke", "--game", "Breakout", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"XLA_FLAGS": ""})
    assert done.returncode == 0, done.stderr
    rows = read([folder / "runs.jsonl"]).rows
    assert {(row.size, row.flops) for row in rows} == {(s, b) for s in preset.sweep.sizes for b in preset.sweep.budgets}
    assert all(row.game == "Breakout" and row.loss and row.episodes == preset.sweep.episodes for row in rows)
    assert len(list(folder.glob("Breakout-*"))) == 24
    page = (folder / "report.html").read_text()
    assert all(word in page for word in ("--game Breakout", "random policy", "embedded expert", "best agent (cnn/"))
