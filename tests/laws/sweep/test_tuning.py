"""Whole sweeps that tune and refine, with real trainings."""

import json
from pathlib import Path

import pytest

from laws.rows.runs import read
from laws.sweep.state import MISSING
from tests.laws.sweep.sweeps import BUDGETS, OPTIONS, refused, sweep

TUNE = ["--tune", "lr,batch", "--tune-budgets=1", "--tune-lr=0.1,0.3,3,10,1e30", "--tune-batch=0.25,0.5"]


@pytest.mark.slow
def test_settings_are_tried_chosen_and_used(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    said, _ = sweep(folder, "--store", store, *OPTIONS, *TUNE, "--max-skipped=2")
    rows, tried = (read([folder / name]).rows for name in ("runs.jsonl", "tuning.jsonl"))
    settings = json.loads((folder / "sweep.json").read_text())["settings"]
    assert {(row.size, row.flops) for row in rows} == {(size, budget) for size in ("16", "32") for budget in BUDGETS}
    for row in rows:
        chosen = settings[f"nethack/lstm/{row.size}"]
        assert (row.lr, row.batch) == (chosen["lr"], 8 * chosen["lanes"])
        assert (row.lr_rule or "").startswith("tuned: ")
        assert (row.batch_rule or "").startswith("tuned: ")
    assert {(row.size, row.batch) for row in tried} == {
        (size, batch) for size in ("16", "32") for batch in (16, 32, 64)
    }
    assert all(row.flops == BUDGETS[0] and row.population and row.return_mean is None for row in tried)
    # Each population has a member that diverged: it has no row, and doesn't fail the others.
    none = [path for path in folder.glob("cells/*.json") if MISSING in json.loads(path.read_text())]
    assert len(none) == 6
    assert len(tried) == 6 * 5
    assert not list(folder.glob("failed/*"))
    assert "decided: tuned on" in said
    assert "with the given settings" in said
    assert "times less compute" in said
    before = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*")}
    again, _ = sweep(folder)
    assert f"{len(before)} of {len(before)} cells done" in again
    assert {path: path.stat().st_mtime_ns for path in folder.glob("cells/*")} == before


@pytest.mark.slow
def test_an_adaptive_sweep_goes_from_budget_to_budget(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    options = [word for word in OPTIONS if not word.startswith("--sizes")]
    sweep(folder, "--store", store, *options, "--sizes=16,24,32,48", "--refine", "--refine-factor=100", "--total=1e10")
    described = json.loads((folder / "sweep.json").read_text())
    assert [budget for budget, _ in described["sizes"]] == list(BUDGETS)
    assert described["decisions"]
    rows = read([folder / "runs.jsonl"]).rows
    assert len(rows) == sum(len(sizes) for _, sizes in described["sizes"])
    # A size that goes on to the next budget is one training.
    assert len({row.run for row in rows if row.size == "16"}) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tune", "lr,depth"), "--tune depth: there are lr and batch"),
        (("--tune", "lr", "--tune-lr", "0"), "--tune-lr must be factors of more than 0"),
        (("--tune", "lr", "--scaling", "mup"), "--scaling mup trains one run"),
        (("--refine", "--refine-factor", "1"), "--refine-factor is a factor of N above 1"),
        (("--total", "1e6"), "--total 1e+06: the plan takes 1.28e+09 FLOPs"),
        (("--vary", "lr"), "--vary lr: write NAME=VALUE"),
        (("--vary", "lr=1e-3", "--tune", "lr"), "give --vary or --tune, not both"),
        (("--samples", "1e6"), "--samples goes with --sizes LIST, without --budgets"),
        (("--scale", "2"), "--scale is a fraction of the compute"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    store: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    errors = refused(tmp_path / "sweep", "--store", store, *OPTIONS, *words)
    assert said in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "sweep").exists()
