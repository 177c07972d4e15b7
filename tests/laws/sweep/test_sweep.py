"""Whole sweeps on real games: complete, extended, failing, watched, worked on by several."""

import json
import shutil
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from data.games import nethack
from data.store.writer import StoreWriter
from laws.rows.runs import read
from tests.data.store.stores import game, write
from tests.laws.sweep.sweeps import BUDGETS, OPTIONS, attempts, refused, start, sweep

CELLS = {(size, budget) for size in ("16", "32") for budget in BUDGETS}


def cells(folder: Path) -> set[tuple[str | None, float]]:
    """Size and budget of every row of the table, each of which is there once."""
    rows = read([folder / "runs.jsonl"]).rows
    assert len({(row.run, row.flops) for row in rows}) == len(rows)
    return {(row.size, row.flops) for row in rows}


@pytest.fixture(scope="module")
def done(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps") / "sweep"
    sweep(folder, "--store", store, *OPTIONS)
    return folder


def files(folder: Path, pattern: str) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.glob(pattern)}


@pytest.mark.slow
def test_the_table_has_a_row_for_each_cell(done: Path) -> None:
    assert cells(done) == CELLS
    for row in read([done / "runs.jsonl"]).rows:
        assert row.loss is not None
        assert (row.seed, row.schedule, row.batch) == (0, "wsd", 64)
        assert row.flops / 1.3 < (row.flops_exact or 0) <= row.flops
    assert len(list(done.glob("runs/*/config.json"))) == 2
    attempts = [json.loads(path.read_text()) for path in done.glob("attempts/*.json")]
    assert [[one["ended"] for one in of_run] for of_run in attempts] == [["done"]] * 2


@pytest.mark.slow
def test_a_sweep_whose_agents_have_changed_is_refused(done: Path, tmp_path: Path) -> None:
    """A sweep of the ladder's first version: rows of two networks would stand in one table under one name."""
    folder = tmp_path / "sweep"
    shutil.copytree(done, folder)
    recorded = json.loads((folder / "sweep.json").read_text())
    del recorded["ladder"]
    (folder / "sweep.json").write_text(json.dumps(recorded))
    _, said = sweep(folder, code=2)
    assert "a sweep of an earlier version, in which nethack/lstm/16 was another network" in said


@pytest.mark.slow
def test_tensorboard_shows_each_cell_as_a_trial(done: Path) -> None:
    trials = {}
    for path in done.glob("hparams/*"):
        events = EventAccumulator(str(path)).Reload()
        [content] = events.PluginTagToContent(metadata.PLUGIN_NAME).values()
        start = metadata.parse_session_start_info_plugin_data(content)
        hparams = {name: value.number_value or value.string_value for name, value in start.hparams.items()}
        [loss] = events.Scalars("sweep/dev_loss")
        trials[hparams["size"], hparams["flops"]] = hparams["lr"], loss.value
    expected = {(row.size, row.flops): (row.lr, pytest.approx(row.loss)) for row in read([done / "runs.jsonl"]).rows}
    assert trials == expected


@pytest.mark.slow
def test_again_it_does_nothing_and_more_budgets_and_seeds_go_on(done: Path, store: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(done, tmp_path / "sweep")
    before = files(folder, "cells/*") | files(folder, "runs/**/params/*")
    said, _ = sweep(folder)
    assert "4 of 4 cells done" in said
    assert files(folder, "cells/*") | files(folder, "runs/**/params/*") == before
    smaller = [word.replace("2e8,6e8", "2e8,4e8,6e8") for word in OPTIONS]
    _, errors = sweep(folder, "--store", store, *smaller, code=2)
    assert "have passed 4e+08 FLOPs" in errors
    assert files(folder, "cells/*") | files(folder, "runs/**/params/*") == before
    changed = [word.replace("2e8,6e8", "2e8,6e8,2e9") for word in OPTIONS]
    sweep(folder, "--store", store, *changed, "--seeds", "2")
    assert before.items() <= (files(folder, "cells/*") | files(folder, "runs/**/params/*")).items()
    assert cells(folder) == CELLS | {("16", 2e9), ("32", 2e9)}
    rows = read([folder / "runs.jsonl"]).rows
    assert len(rows) == 12
    assert len(list(folder.glob("runs/*/config.json"))) == 4, "the runs of the first seed went on"


@pytest.mark.slow
def test_a_run_that_fails_is_given_up_with_its_reason_while_others_go_on(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    said, _ = sweep(folder, "--store", store, *OPTIONS, "--lr", "1e30", "--max-skipped", "2", code=1)
    assert "0 of 4 cells done; runs: 0 done, 0 running, 2 failed, 0 waiting" in said
    for path in folder.glob("failed/*.json"):
        failure = json.loads(path.read_text())
        assert failure["reason"].startswith("diverged:")
        attempts = json.loads((folder / "attempts" / path.name).read_text())
        assert [one["lr"] for one in attempts] == [1e30, 5e29, 2.5e29]
    assert said.count("failed: lstm-") == 2
    # It stays given up until it is asked for.
    said, _ = sweep(folder, code=1)
    assert "2 failed" in said
    assert all(len(json.loads(path.read_text())) == 3 for path in folder.glob("attempts/*.json"))
    sweep(folder, "--store", store, *OPTIONS)
    assert cells(folder) == CELLS
    told = json.loads(sweep(folder, "--watch", "--json")[0])
    assert (told["cells_done"], told["cells"], len(told["done"]), told["failed"]) == (4, 4, 2, [])
    said, _ = sweep(folder, "--watch")
    assert "4 of 4 cells done; runs: 2 done, 0 running, 0 failed, 0 waiting" in said


@pytest.mark.slow
def test_three_workers_share_a_folder_and_one_is_killed(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    options = ["--store", store, *OPTIONS, "--seeds", "2"]
    sweep(folder, *options, "--dry-run")
    assert not folder.exists()
    said, _ = sweep(folder, *options, "--workers", "0")
    assert "0 of 8 cells done; runs: 0 done, 0 running, 0 failed, 4 waiting" in said
    workers = [start(folder, "--work"), start(folder, *options, "--work"), start(folder, "--work")]
    while not (begun := attempts(folder)):
        assert None in [worker.poll() for worker in workers]
        time.sleep(0.02)
    [victim] = [worker for worker in workers if worker.pid == begun[0]["pid"]]
    victim.kill()
    said = [worker.communicate(timeout=1200) for worker in workers]
    assert [worker.returncode for worker in workers if worker is not victim] == [0, 0], said
    ended = [[one["ended"] for one in json.loads(path.read_text())] for path in folder.glob("attempts/*.json")]
    assert sorted(ended, key=len) == [["done"], ["done"], ["done"], [None, "done"]]
    assert len(cells(folder)) == 4
    assert len(read([folder / "runs.jsonl"]).rows) == 8


def test_a_sweep_and_its_store_that_were_moved_together_go_on(tmp_path: Path) -> None:
    cluster, laptop = tmp_path / "cluster", tmp_path / "laptop"
    (cluster / "stores").mkdir(parents=True)
    write(cluster / "stores" / "games", (600, 700, 800, 900))
    sweep(cluster / "sweep", "--store", cluster / "stores" / "games", *OPTIONS, "--workers=0")
    cluster.rename(laptop)
    (laptop / "stores" / "games").rename(laptop / "stores" / "renamed")
    plan, _ = sweep(laptop / "sweep", "--dry-run")
    assert plan.startswith("4 cells in 2 runs")
    # Other games in its place are none of this sweep.
    moved = laptop / "stores" / "renamed"
    with StoreWriter(moved, nethack.content()) as writer:
        writer.add(game(99, 20))
    errors = refused(laptop / "sweep", "--dry-run")
    assert "games" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--store is missing"),
        (("--watch",), "holds no sweep"),
        (("--budgets", "1e12"), "--store is missing"),
        (("--store", "nowhere", "--budgets", "1e12"), "nowhere"),
        (("--workers", "-1"), "--workers must not be negative"),
        (("--preset", "paper"), "no preset 'paper': choose from paper-nethack,"),
        (("--preset", "paper-atari", "--dry-run"), "--store is missing"),
        (("--game", "NoSuchGame", "--budgets", "1e12", "--dry-run"), "NoSuchGame"),
        (("--json",), "--json goes with --dry-run"),
        (("--price", "abacus=1"), "--price abacus=1: there are cpu-core"),
        (("--price", "h100=much"), "write it as h100=2.5"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    errors = refused(tmp_path / "sweep", *words)
    assert said in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "sweep").exists()


def test_the_papers_grids_are_planned_without_a_store(tmp_path: Path) -> None:
    said, _ = sweep(
        tmp_path / "sweep", "--preset", "paper-nethack", "--game", "nethack", "--dry-run", "--price", "h100=2"
    )
    assert "217 cells in 10 runs: 1e+20 training FLOPs" in said
    [h100] = [line for line in said.splitlines() if line.strip().startswith("h100")]
    assert h100.endswith("at 2 an hour")
    planned, _ = sweep(tmp_path / "sweep", "--preset", "paper-nethack", "--game", "nethack", "--dry-run", "--json")
    told = json.loads(planned)
    assert told["cells"] == 217 == sum(len(budget["sizes"]) for budget in told["budgets"])
    assert told["seconds"]["h100"] > 1e6
    said, _ = sweep(tmp_path / "sweep", "--preset", "paper-atari", "--game", "Breakout", "--dry-run")
    assert "188 cells in 12 runs: 1.2e+19 training FLOPs" in said
    assert not (tmp_path / "sweep").exists()
