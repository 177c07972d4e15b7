"""Evaluation of a run: one row per checkpoint, measured once, the same again."""

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.ladder import find
from data.common.cli import UserError
from data.importers.nld import import_nld
from data.store.reader import TrajectoryStore
from eval.checkpoints import evaluate, games_of, load_checkpoint
from eval.config import EpisodesConfig, EvalConfig
from eval.episodes import summary
from eval.play.nethack import NetHackPlay
from eval.play.options import protocol
from eval.results import ResultRow
from laws.rows.runs import read
from tests.eval.conftest import AGENT, STEP
from train.checkpoint import budget_name, budgets, load_budget, save_budget
from train.dev.episodes import DevSet, some_pieces
from train.mesh import make_mesh
from train.metrics import read_metrics

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(copy_of_run: Callable[[str], Path]) -> Path:
    return copy_of_run("run")


@pytest.fixture(scope="module")
def config(run: Path) -> EvalConfig:
    return EvalConfig((run,), film=False, episodes=3, max_steps=40, lanes=3, workers=1)


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


def test_rows_tell_the_passes_over_the_data_and_on_request_the_time(
    config: EvalConfig, rows: list[ResultRow], store: Path
) -> None:
    of_train = [episode.length for episode in TrajectoryStore.open(store).episodes if episode.split == "train"]
    assert [row.epochs for row in rows] == [row.samples / sum(of_train) for row in rows]
    assert [row.seconds for row in rows] == [None, None]
    timed = evaluate(dataclasses.replace(config, training_time=True), progress=False)
    pieces = [(row["branch"], row["samples"], row["samples_per_s"]) for row in read_metrics(config.runs[0])]
    trunk = [(samples, speed) for branch, samples, speed in pieces if branch is None]
    decay = [(samples, speed) for branch, samples, speed in pieces if branch == rows[1].flops]
    places, speeds = zip((0, math.inf), *trunk, *decay, strict=True)
    assert timed[1].seconds == pytest.approx(sum(np.diff(places) / speeds[1:]))
    assert timed[0].seconds is not None
    assert [dataclasses.replace(row, seconds=None) for row in timed] == rows


def test_games_stand_in_a_file_with_their_causes_of_death(run: Path, rows: list[ResultRow]) -> None:
    games = games_of(run, rows[0].flops, str(rows[0].protocol))
    assert [game.seed for game in games] == [0, 1, 2]
    assert rows[0].return_mean == pytest.approx(sum(game.score for game in games) / 3)
    assert all(game.steps <= 40 and game.death and game.role == "Mon" for game in games)


def test_measured_again_nothing_is_played_and_nothing_changes(
    config: EvalConfig, rows: list[ResultRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.play.rollout.NetHackVector", None)
    assert evaluate(config, progress=False) == rows


def test_measuring_the_loss_alone_forgets_no_games(config: EvalConfig, rows: list[ResultRow]) -> None:
    assert evaluate(dataclasses.replace(config, episodes=0), progress=False) == rows


def files_of(run: Path, row: ResultRow) -> list[Path]:
    return sorted((run / "budgets" / budget_name(row.flops) / "games").glob("*/games*.jsonl"))


@pytest.mark.parametrize("left", ["two lines", "half of a line"])
def test_an_interrupted_evaluation_plays_only_what_is_missing(
    config: EvalConfig, rows: list[ResultRow], tmp_path: Path, left: str
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.runs[0], copy)
    [path] = files_of(copy, rows[0])
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + (lines[2][:40] if left == "half of a line" else ""))
    again = evaluate(dataclasses.replace(config, runs=(copy,)), progress=False)
    assert again == rows
    assert path.read_text().splitlines(keepends=True) == lines


def test_more_episodes_keep_the_games_already_played(config: EvalConfig, rows: list[ResultRow], tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.runs[0], copy)
    before = games_of(copy, rows[1].flops, str(rows[1].protocol))
    chosen = dataclasses.replace(config, runs=(copy,), episodes=4, budgets=(rows[1].flops,))
    after = evaluate(chosen, progress=False)
    assert games_of(copy, rows[1].flops, str(rows[1].protocol))[:3] == before
    assert [row.episodes for row in after] == [3, 4]


def test_another_protocol_adds_a_row_and_forgets_none(
    config: EvalConfig, rows: list[ResultRow], tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.runs[0], copy)
    chosen = dataclasses.replace(config, runs=(copy,), budgets=(rows[0].flops,))
    both = evaluate(dataclasses.replace(chosen, character="@"), progress=False)
    assert [row for row in both if row in rows] == rows
    [other] = [row for row in both if row not in rows]
    assert (other.flops, other.loss, other.episodes) == (rows[0].flops, rows[0].loss, 3)
    assert other.protocol != rows[0].protocol
    assert evaluate(dataclasses.replace(chosen, episodes=0), progress=False) == both
    with pytest.raises(UserError, match="choose one with --protocol"):
        read([copy / "runs.jsonl"])
    assert read([copy / "runs.jsonl"], protocol=rows[0].protocol).rows == tuple(rows)
    assert read([copy / "runs.jsonl"], protocol=other.protocol).rows == (
        other,
        dataclasses.replace(rows[1], return_mean=None, return_se=None, episodes=None),
    )
    with pytest.raises(UserError, match="no row has the protocol 'greedy'"):
        read([copy / "runs.jsonl"], protocol="greedy")


def test_protocols_have_names(config: EvalConfig, run: Path) -> None:
    def name(**options: Any) -> tuple[str, Any]:
        chosen = EvalConfig((run,), film=False, **options)
        found = chosen.options("nethack")
        return protocol("nethack", found, chosen.seed), (found.character, found.max_steps, found.sampling.temperature)

    assert name(protocol="paper") == ("paper", ("mon-hum-neu-mal", 100_000, 1.0))
    assert name(protocol="nle-challenge", seed=7) == ("nle-challenge, seeds from 7", ("@", 1_000_000, 1.0))
    assert name(protocol="greedy") == ("greedy", ("mon-hum-neu-mal", 100_000, 0.0))
    assert name(protocol="paper", max_steps=100_000)[0] == "paper"
    assert name(protocol="paper", max_steps=500, top_k=5)[0] == "paper, max steps 500, top k 5"
    assert name(temperature=0.5, top_p=0.9)[0] == (
        "NetHackChallenge-v0 mon-hum-neu-mal, sampled at 0.5, nucleus 0.9, to the end, seeds from 0"
    )
    with pytest.raises(UserError, match="no protocol 'papers' of nethack: choose from paper, paper-roles"):
        name(protocol="papers")


def test_shards_play_apart_and_are_read_together(config: EvalConfig, rows: list[ResultRow], tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.runs[0], copy)
    shutil.rmtree(copy / "budgets" / budget_name(rows[0].flops) / "games")
    chosen = dataclasses.replace(config, runs=(copy,), budgets=(rows[0].flops,))
    first = evaluate(dataclasses.replace(chosen, shard="1/2"), progress=False)
    assert [row.flops for row in first] == [rows[1].flops]
    assert evaluate(dataclasses.replace(chosen, shard="2/2"), progress=False) == rows
    assert [path.name for path in files_of(copy, rows[0])] == ["games-1-of-2.jsonl", "games-2-of-2.jsonl"]
    assert [len(path.read_text().splitlines()) for path in files_of(copy, rows[0])] == [2, 1]


def test_shards_that_play_at_the_same_time_leave_the_row(
    config: EvalConfig, rows: list[ResultRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.runs[0], copy)
    shutil.rmtree(copy / "budgets" / budget_name(rows[0].flops) / "games")
    chosen = dataclasses.replace(config, runs=(copy,), budgets=(rows[0].flops,))
    play_agents = NetHackPlay.play_agents

    def beside_the_other(*args: Any, **options: Any) -> None:
        monkeypatch.undo()
        evaluate(dataclasses.replace(chosen, shard="2/2"), progress=False)
        play_agents(*args, **options)

    monkeypatch.setattr(NetHackPlay, "play_agents", beside_the_other)
    assert evaluate(dataclasses.replace(chosen, shard="1/2"), progress=False) == rows


def test_games_and_rows_of_earlier_versions_are_kept(config: EvalConfig, rows: list[ResultRow], tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.runs[0], copy)
    for row in rows:
        folder = copy / "budgets" / budget_name(row.flops)
        [kept] = (folder / "games").iterdir()
        (kept / "games.jsonl").rename(folder / "games.jsonl")
        (kept / "about.json").rename(folder / "games.json")
        old = json.loads((kept / "row.json").read_text())
        del old["digest"]
        (folder / "row.json").write_text(json.dumps(old))
        shutil.rmtree(folder / "games")
    assert evaluate(dataclasses.replace(config, runs=(copy,)), progress=False) == rows
    assert not files_of(copy, rows[0])


def test_runs_are_evaluated_together(config: EvalConfig, rows: list[ResultRow], tmp_path: Path) -> None:
    copies = tmp_path / "a", tmp_path / "b"
    for copy in copies:
        shutil.copytree(config.runs[0], copy)
        for row in rows:
            shutil.rmtree(copy / "budgets" / budget_name(row.flops) / "games")
    found = evaluate(dataclasses.replace(config, runs=copies, workers=2), progress=False)
    assert [dataclasses.replace(row, run="run") for row in found] == rows * 2
    assert read([copies[1] / "runs.jsonl"]).rows == tuple(found[2:])


def test_another_dtype_is_measured_again_and_the_protocol_names_it(
    config: EvalConfig, rows: list[ResultRow], tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.runs[0], copy)
    chosen = dataclasses.replace(config, runs=(copy,), episodes=0, budgets=(rows[0].flops,))
    both = evaluate(dataclasses.replace(chosen, compute="bfloat16"), progress=False)
    [half] = [row for row in both if row not in rows]
    assert [row for row in both if row in rows] == rows
    assert (half.dtype, half.protocol) == ("float32", "in bfloat16")
    assert half.loss != rows[0].loss
    assert half.loss == pytest.approx(rows[0].loss, rel=0.01)
    assert evaluate(chosen, progress=False) == both
    for compute, dtype in ((None, "float32"), ("bfloat16", "bfloat16")):
        assert load_checkpoint(copy, compute=compute)[0].dtype == dtype


def test_a_loss_that_is_not_finite_is_missing_in_the_row(
    config: EvalConfig, rows: list[ResultRow], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.runs[0], copy)
    [old] = (copy / "budgets" / budget_name(rows[0].flops) / "games").glob("*/row.json")
    old.write_text(old.read_text().replace(str(rows[0].loss), "NaN"))
    facts = dataclasses.asdict(budgets(copy)[1])
    del facts["digest"]
    params = load_budget(copy, budgets(copy)[1], find(AGENT))
    save_budget(copy, jax.tree.map(lambda x: x * jnp.float32(1e37), params), facts)
    found = evaluate(dataclasses.replace(config, runs=(copy,), episodes=0, budgets=(rows[1].flops,)), progress=False)
    assert [row.loss for row in found] == [None, None]
    assert "the dev loss is not finite" in capsys.readouterr().err
    assert "NaN" not in (copy / "runs.jsonl").read_text()
    assert [row.loss for row in read([copy / "runs.jsonl"]).rows] == [None, None]


def test_an_unknown_budget_names_those_there_are(config: EvalConfig) -> None:
    with pytest.raises(UserError, match="has passed these budgets"):
        evaluate(dataclasses.replace(config, budgets=(1.0,)), progress=False)


def test_a_store_that_was_moved_is_found_where_it_is(
    config: EvalConfig, rows: list[ResultRow], store: Path, tmp_path: Path
) -> None:
    # The store of all tests lies less deep.
    here = tmp_path / "1" / "2" / "3"
    copy = here / "runs" / "run"
    shutil.copytree(config.runs[0], copy)
    described = json.loads((copy / "config.json").read_text())
    described["store"]["paths"] = [str(tmp_path / "gone")]
    (copy / "config.json").write_text(json.dumps(described))
    moved = dataclasses.replace(config, runs=(copy,))
    said = r"gone: not there any more, nor beside .*run: say where the store is with --store"
    with pytest.raises(UserError, match=said):
        evaluate(moved, progress=False)
    shutil.copytree(store, here / "stores" / "elsewhere")
    assert evaluate(moved, progress=False) == rows, "found beside the run by its checksum"
    far = tmp_path / "far"
    (here / "stores" / "elsewhere").rename(far)
    assert evaluate(dataclasses.replace(moved, store=(far,)), progress=False) == rows
    described = json.loads((copy / "config.json").read_text())
    assert described["store"]["paths"] == [str(far)], "remembered"
    assert evaluate(moved, progress=False) == rows
    far.rename(tmp_path / "farther")
    with pytest.raises(UserError, match="say where the store is with --store"):
        list(summary(EpisodesConfig((copy,))))
    assert list(summary(EpisodesConfig((copy,), store=(tmp_path / "farther",))))


def test_a_store_that_is_gone_or_changed_is_named(config: EvalConfig, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(config.runs[0], copy)
    described = json.loads((copy / "config.json").read_text())
    described["store"]["checksum"] = "0" * 64
    (copy / "config.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="not as they were when the run learned"):
        evaluate(dataclasses.replace(config, runs=(copy,)), progress=False)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"episodes": 1}, "episodes"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_k": 0}, "top-k"),
        ({"top_p": 1.5}, "top-p"),
        ({"lanes": 0}, "lanes"),
        ({"max_steps": 0}, "max-steps"),
        ({"seed": -1}, "seed"),
        ({"shard": "3/2"}, "shard"),
        ({"shard": "one"}, "shard"),
    ],
)
def test_impossible_values_are_named(run: Path, changes: dict, named: str) -> None:
    with pytest.raises(UserError, match=named):
        EvalConfig((run,), film=False, **changes)


def test_a_folder_that_is_no_run_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "eval", str(tmp_path / "nothing")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nothing is no run" in done.stderr


def test_the_dev_loss_of_some_steps(run: Path, copy_of_run: Callable[[str], Path], store: Path) -> None:
    """It is that of a fixed choice, says so, and gives way to that of all steps."""
    mine = copy_of_run("some")
    some = EvalConfig((mine,), episodes=0, dev_steps=350)
    found = evaluate(some, progress=False)
    agent, params = load_checkpoint(mine)
    opened = TrajectoryStore.open(store)
    with jax.numpy_dtype_promotion("standard"):
        expected = DevSet(agent, opened, make_mesh(1), some_pieces(opened, 350)).loss(params)
        every = DevSet(agent, opened, make_mesh(1)).loss(params)
    assert expected.steps <= 350 < every.steps
    assert expected.episodes > 1
    last = found[-1]
    assert (last.loss, last.loss_se) == pytest.approx((expected.loss, expected.loss_se), rel=1e-5)
    assert (last.loss_steps, last.loss_episodes) == (expected.steps, expected.episodes)
    assert evaluate(some, progress=False) == found
    for config in (dataclasses.replace(some, dev_steps=None), some):
        assert evaluate(config, progress=False)[-1].loss == pytest.approx(every.loss, rel=1e-5)
        assert evaluate(config, progress=False)[-1].loss_steps == every.steps
    with pytest.raises(UserError, match="dev-steps must be at least 1, not 0"):
        EvalConfig((mine,), dev_steps=0)


def test_recorded_games_are_those_of_the_rows(copy_of_run: Callable[[str], Path], tmp_path: Path) -> None:
    """Games that were played before are played again for it, once; other parameters need another folder."""
    mine, folder = copy_of_run("recorded"), tmp_path / "recordings"
    budget = budgets(mine)[-1].flops
    plain = EvalConfig((mine,), episodes=3, max_steps=40, budgets=(budget,), workers=1, film=False)
    rows, config = evaluate(plain, progress=False), dataclasses.replace(plain, record=folder)
    assert evaluate(config, progress=False) == rows
    games = games_of(mine, budget, str(rows[-1].protocol))
    assert [game.seed for game in games] == [0, 1, 2]
    [made] = (folder / "recorded" / budget_name(budget)).iterdir()
    times = {path: path.stat().st_mtime_ns for path in made.glob("game-*")}
    assert sorted(path.name for path in times) == ["game-00000", "game-00001", "game-00002"]
    import_nld(folder, tmp_path / "store", expert="agent", workers=1)
    by_seed = {int(e.source.split("/")[-2][5:]): e.score for e in TrajectoryStore.open(tmp_path / "store").episodes}
    assert by_seed == {game.seed: game.score for game in games}
    evaluate(dataclasses.replace(config, episodes=4), progress=False)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert (made / "game-00003").exists()
    (made / "about.json").write_text('{"digest": "other"}')
    with pytest.raises(UserError, match="has recordings of other parameters"):
        evaluate(config, progress=False)
    with pytest.raises(UserError, match=r"can't make .*: Not a directory"):
        evaluate(dataclasses.replace(config, record=made / "about.json"), progress=False)
