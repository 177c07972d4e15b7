"""Plans: a budget split by a known law, and the command."""

from pathlib import Path

import pytest

from eval.results import write_rows
from laws.fitting.parametric import HOFFMANN
from laws.predict.plan import plan
from tests.laws.synthetic import command, hoffmann_sweep, profiles_of


def test_a_budget_is_split_as_the_law_says() -> None:
    rows = hoffmann_sweep()
    planned = plan(rows, profiles_of(rows), 1e23, rate=1e15)
    best = HOFFMANN.optimum(1e23)
    by_method = {split.method: split for split in planned.splits}
    assert by_method["parametric"].params == pytest.approx(float(best.params), rel=0.01)
    assert by_method["isoflop"].params == pytest.approx(float(best.params), rel=0.3)
    assert planned.seconds == pytest.approx(1e8)
    assert planned.nearest is not None
    assert planned.nearest.params == max(row.params for row in rows)
    assert planned.samples == pytest.approx(1e23 / 6 / planned.nearest.params, rel=1e-3)
    gains = [each.gain for each in planned.next_runs]
    assert gains == sorted(gains, reverse=True)
    assert 0 < gains[0] < 1
    assert all(each.flops <= 1e22 * 1.001 for each in planned.next_runs)


def test_the_command_prints_a_plan(tmp_path: Path) -> None:
    write_rows(tmp_path / "runs.jsonl", hoffmann_sweep(0.01, budgets=7))
    done = command("plan", str(tmp_path / "runs.jsonl"), "--flops", "1e23", "--flops-per-second", "1e15")
    assert done.returncode == 0, done.stderr
    for words in ("worth running", "nearest trained size", "time: 2.78e+04 hours"):
        assert words in done.stdout
