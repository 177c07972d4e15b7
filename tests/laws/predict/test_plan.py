"""Plans: a budget split by a known law, and the command."""

from pathlib import Path

import pytest

from eval.results import write_rows
from laws.fitting.parametric import HOFFMANN
from laws.predict.plan import plan
from tests.laws.synthetic import command, fitted, hoffmann_sweep


def test_a_budget_is_split_as_the_law_says() -> None:
    rows = hoffmann_sweep()
    planned = plan(fitted(rows), 1e23, rate=1e15)
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


def test_splits_have_the_intervals_of_their_laws() -> None:
    """N at ten times the largest budget, about what the sweep gives without noise; none without draws."""
    game, clean = fitted(hoffmann_sweep(0.01, sizes=9), draws=200), fitted(hoffmann_sweep(sizes=9))
    flops = 10 * game.profiles[-1].flops
    truth = {split.method: split for split in plan(clean, flops).splits}
    assert all(split.params_ci is None for split in truth.values())
    for split in plan(game, flops).splits[:2]:
        law = game.found("params", "isoflop" if split.method == "isoflop" else "envelope")
        assert law is not None
        assert split.params_ci == law.interval_at(flops)
        assert split.params_ci is not None
        assert split.params_ci[0] < truth[split.method].params < split.params_ci[1]
        assert split.params == pytest.approx(float(law.power.predict(flops)))
        assert 6 * split.params * split.samples == pytest.approx(flops, rel=1e-6)


def test_the_command_prints_a_plan(tmp_path: Path) -> None:
    write_rows(tmp_path / "runs.jsonl", hoffmann_sweep(0.01, budgets=7))
    done = command("plan", str(tmp_path / "runs.jsonl"), "--flops", "1e23", "--flops-per-second", "1e15")
    assert done.returncode == 0, done.stderr
    for words in ("worth running", "nearest trained size", "time: 2.78e+04 hours"):
        assert words in done.stdout
