"""Evaluation of a run: one row per checkpoint, measured once, the same again."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from agents.ladder import find
from data.common.cli import UserError
from eval.checkpoints import evaluate, games_of, load_checkpoint
from eval.config import EvalConfig
from eval.play.nethack.game import GameRow
from eval.play.records import read_games
from eval.results import ResultRow
from laws.rows.runs import read
from train.checkpoint import budget_name, budgets, load_budget, save_budget
from train.config import TrainConfig
from train.loop import train

ROOT = Path(__file__).resolve().parents[2]
AGENT = "nethack/lstm/16"
STEP = find(AGENT).cost(8).train_flops("exact") * 8 * 8


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    budgets = (10.0 * STEP, 60.0 * STEP)
    with jax.numpy_dtype_promotion("standard"):
        train(TrainConfig(store, folder, AGENT, budgets, lanes=8, window=8), progress=False)
    return folder


@pytest.fixture(scope="module")
def config(run: Path) -> EvalConfig:
    return EvalConfig(run, episodes=3, max_steps=40, lanes=3, workers=1)


@pytest.fixture(scope="module")
def rows(config: EvalConfig) -> list[ResultRow]:
    return evaluate(config, progress=False)


def test_rows_say_what_was_measured(run: Path, rows: list[ResultRow]) -> None:
    assert [row.flops for row in rows] == [10 * STEP, 60 * STEP]
    assert rows[1].loss is not None
    assert rows[0].loss is not None
    assert rows[1].loss < rows[0].loss
    for row in rows:
        assert (row.game, row.core, row.size, row.episodes) == ("nethack", "lstm", "16", 3)
        assert (row.width, row.depth, row.context) == (16, 1, 8)
        assert row.params == find(AGENT).cost(8).counted_params
        assert row.flops_exact is not None
        assert row.flops_exact == pytest.approx(row.samples * STEP / 64)
        assert row.flops_exact <= row.flops
        assert row.flops_paper == 6 * row.params * row.samples
        assert row.loss_se is not None
        assert row.loss_se > 0
        assert (row.dtype, row.device) == ("float32", "cpu")
    assert read([run / "runs.jsonl"]).rows == read([run / "runs.csv"]).rows == tuple(rows)


def test_games_stand_in_a_file_with_their_causes_of_death(run: Path, rows: list[ResultRow]) -> None:
    games = read_games(games_of(run, rows[0].flops), GameRow)
    assert [game.seed for game in games] == [0, 1, 2]
    assert rows[0].return_mean == pytest.approx(sum(game.score for game in games) / 3)
    assert all(game.steps <= 40 and game.death and game.role == "Mon" for game in games)


def test_measured_again_nothing_is_played_and_nothing_changes(
    config: EvalConfig, rows: list[ResultRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.play.nethack.rollout.NetHackVector", None)
    assert evaluate(config, progress=False) == rows


def test_measuring_the_loss_alone_forgets_no_games(config: EvalConfig, rows: list[ResultRow]) -> None:
    assert evaluate(dataclasses.replace(config, episodes=0), progress=False) == rows


def test_an_interrupted_evaluation_plays_only_what_is_missing(
    config: EvalConfig, rows: list[ResultRow], tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.run, copy)
    path = games_of(copy, rows[0].flops)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]))
    again = evaluate(dataclasses.replace(config, run=copy), progress=False)
    assert again == rows
    assert path.read_text().splitlines(keepends=True) == lines


def test_more_episodes_keep_the_games_already_played(config: EvalConfig, rows: list[ResultRow], tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.run, copy)
    before = read_games(games_of(copy, rows[1].flops), GameRow)
    chosen = dataclasses.replace(config, run=copy, episodes=4, budgets=(rows[1].flops,))
    after = evaluate(chosen, progress=False)
    assert read_games(games_of(copy, rows[1].flops), GameRow)[:3] == before
    assert [row.episodes for row in after] == [3, 4]


def test_another_dtype_is_measured_again_and_the_protocol_names_it(
    config: EvalConfig, rows: list[ResultRow], tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.run, copy)
    chosen = dataclasses.replace(config, run=copy, episodes=0, budgets=(rows[0].flops,))
    half, _ = evaluate(dataclasses.replace(chosen, compute="bfloat16"), progress=False)
    assert (half.dtype, half.protocol) == ("float32", "in bfloat16")
    assert half.loss != rows[0].loss
    assert half.loss == pytest.approx(rows[0].loss, rel=0.01)
    again, _ = evaluate(chosen, progress=False)
    assert (again.loss, again.protocol) == (rows[0].loss, None)
    for compute, dtype in ((None, "float32"), ("bfloat16", "bfloat16")):
        assert load_checkpoint(copy, compute=compute)[0].dtype == dtype


def test_a_loss_that_is_not_finite_is_missing_in_the_row(
    config: EvalConfig, rows: list[ResultRow], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.run, copy)
    old = copy / "budgets" / budget_name(rows[0].flops) / "row.json"
    old.write_text(old.read_text().replace(str(rows[0].loss), "NaN"))
    facts = dataclasses.asdict(budgets(copy)[1])
    del facts["digest"]
    params = load_budget(copy, budgets(copy)[1], find(AGENT))
    save_budget(copy, jax.tree.map(lambda x: x * jnp.float32(1e37), params), facts)
    found = evaluate(dataclasses.replace(config, run=copy, episodes=0, budgets=(rows[1].flops,)), progress=False)
    assert [row.loss for row in found] == [None, None]
    assert "the dev loss is not finite" in capsys.readouterr().err
    assert "NaN" not in (copy / "runs.jsonl").read_text()
    assert [row.loss for row in read([copy / "runs.jsonl"]).rows] == [None, None]


def test_an_unknown_budget_names_those_there_are(config: EvalConfig) -> None:
    with pytest.raises(UserError, match="has passed these budgets"):
        evaluate(dataclasses.replace(config, budgets=(1.0,)), progress=False)


def test_a_store_that_is_gone_or_changed_is_named(config: EvalConfig, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.run, copy)
    described = json.loads((copy / "config.json").read_text())
    described["store"]["checksum"] = "0" * 64
    (copy / "config.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="not as they were when the run learned"):
        evaluate(dataclasses.replace(config, run=copy), progress=False)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"episodes": 1}, "episodes"),
        ({"temperature": -1.0}, "temperature"),
        ({"lanes": 0}, "lanes"),
        ({"max_steps": 0}, "max-steps"),
        ({"seed": -1}, "seed"),
    ],
)
def test_impossible_values_are_named(run: Path, changes: dict, named: str) -> None:
    with pytest.raises(UserError, match=named):
        EvalConfig(run, **changes)


def test_a_folder_that_is_no_run_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "eval", str(tmp_path / "nothing")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nothing is no run" in done.stderr
