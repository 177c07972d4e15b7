"""Laws of the best learning rate and batch: planted ones are found again, intervals hold, poor sweeps are named."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from eval.results import ResultRow, write_rows
from laws.predict.hyperparameters import NEAR, Scale, Setting, sweeps_of, tuned_law
from tests.laws.synthetic import SIZES, command

LR: dict[Scale, float] = {"params": -0.4, "samples": 0.2}
BATCH: dict[Scale, float] = {"params": 0.1, "samples": 0.5}
CURVATURE = np.array([[0.06, -0.02], [-0.02, 0.04]])
CENTRE = math.log(1e5), math.log(1e7)


def optimum(params: int, samples: int) -> np.ndarray:
    """ln of the best learning rate and batch."""
    away = np.log([params, samples]) - CENTRE
    return np.log([0.01, 256]) + np.array([list(LR.values()), list(BATCH.values())]) @ away


def runs(
    rates: int = 5, batches: int = 5, noise: float = 0.0, seed: int = 0, sizes: tuple[int, ...] = SIZES
) -> list[ResultRow]:
    """Runs about the planted optima, by factors of two, of each size on 10 and 100 samples a parameter."""
    random = np.random.default_rng(seed)
    rows = []
    for params in sizes:
        for samples in (10 * params, 100 * params):
            centre = optimum(params, samples)
            for i in range(rates):
                for j in range(batches):
                    # The best learning rate lies between those tried.
                    step = np.array([i - (rates - 1) / 2, j - (batches - 1) / 2]) * math.log(2) + [0.2, 0.0]
                    rate, batch = np.exp(centre + step)
                    batch = round(float(batch))
                    off = np.array([step[0], math.log(batch) - centre[1]])
                    loss = (
                        50
                        * params**-0.2
                        * samples**-0.1
                        * math.exp(off @ CURVATURE @ off / 2 + noise * random.normal())
                    )
                    rows.append(
                        ResultRow(
                            "nethack", f"{len(rows)}", 6.0 * params * samples, params, samples, loss, lr=float(rate),
                            batch=batch,
                        )
                    )  # fmt: skip
    return rows


def test_planted_laws_of_both_settings_are_found_again() -> None:
    law = tuned_law(runs(), near=10)
    assert law.settings == ("lr", "batch")
    assert law.scales == ("params", "samples")
    planted_laws: dict[Setting, dict[Scale, float]] = {"lr": LR, "batch": BATCH}
    for name, planted in planted_laws.items():
        for scale, exponent in planted.items():
            found = law.exponent(name, scale)
            assert found.value == pytest.approx(exponent, abs=1e-3)
            assert found.interval is not None
            assert found.interval[0] <= found.value <= found.interval[1]
    for place, name in enumerate(law.settings):
        predicted = law.optimum(name, 10_000_000, 10**9).value
        assert math.log(predicted) == pytest.approx(optimum(10_000_000, 10**9)[place], abs=0.01)
        natural = law.coefficient(name) * 1e5 ** law.exponent(name, "params").value
        natural *= 1e7 ** law.exponent(name, "samples").value
        assert natural == pytest.approx(math.exp(optimum(10**5, 10**7)[place]), rel=0.01)


def test_one_setting_and_one_scale_are_a_plain_power_law() -> None:
    rows = [row for row in runs(batches=1) if row.samples == 10 * row.params]
    law = tuned_law(rows, near=10)
    assert (law.settings, law.scales) == (("lr",), ("params",))
    assert law.exponent("lr", "params").value == pytest.approx(LR["params"] + LR["samples"], abs=0.01)
    alone = tuned_law(rows, near=10, against=("samples",))
    assert alone.scales == ("samples",)
    assert alone.exponent("lr", "samples").value == pytest.approx(LR["params"] + LR["samples"], abs=0.01)


def test_sizes_whose_best_setting_is_the_last_tried_tell_of_the_optimum_too() -> None:
    whole = [row for row in runs(batches=1) if row.samples == 10 * row.params]
    cut = [
        row for row in whole if row.params > SIZES[0] or (row.lr or 0) < math.exp(optimum(SIZES[0], 10 * SIZES[0])[0])
    ]
    assert len(cut) < len(whole)
    found = tuned_law(cut, near=10).exponent("lr", "params").value
    assert found == pytest.approx(LR["params"] + LR["samples"], abs=0.01)


@pytest.mark.parametrize("batches", [1, 4])
def test_intervals_hold_the_planted_exponents_and_optima(batches: int) -> None:
    """At the noise of seeds, with all settings within reach of the optimum."""
    held, wide = [], []
    for seed in range(120):
        law = tuned_law(runs(5, batches, noise=0.01, seed=seed), near=10)
        found = [(law.exponent("lr", scale), exponent) for scale, exponent in LR.items()]
        at = optimum(10**5, 10**6)[0]
        found.append((law.optimum("lr", 10**5, 10**6), math.exp(at)))
        for each, planted in found:
            assert each.interval is not None
            held.append(each.interval[0] <= planted <= each.interval[1])
        wide.append(found[0][0].interval[1] - found[0][0].interval[0])  # pyright: ignore[reportOptionalSubscript]
    assert 0.91 <= np.mean(held) <= 0.985
    assert np.median(wide) < 0.3


def test_runs_far_from_the_optimum_are_left_out_and_seeds_join() -> None:
    rows = runs(batches=1)
    rows += [
        dataclasses.replace(row, run=f"{row.run} far", lr=40 * (row.lr or 0), loss=3 * (row.loss or 0)) for row in rows
    ]
    near = sweeps_of(rows)
    assert {len(cell.rows) for cell in near} == {5}
    assert {cell.tried for cell in near} == {10}
    twice = rows + [dataclasses.replace(row, seed=1) for row in rows]
    once, both = tuned_law(rows), tuned_law(twice)
    assert both.exponent("lr", "params").value == pytest.approx(once.exponent("lr", "params").value)
    assert [len(cell.rows) for cell in both.sweeps] == [10] * len(near)


def test_runs_at_one_rate_or_on_one_side_of_the_best_have_no_law() -> None:
    with pytest.raises(ValueError, match="no two runs of one size and as many samples"):
        tuned_law(runs(1, 1))
    rows = runs(2, 1, sizes=SIZES[:1])
    with pytest.raises(ValueError, match="don't determine a curvature: train at least three"):
        tuned_law(rows)
    falling = [dataclasses.replace(row, loss=2 - 0.01 * math.log(row.lr or 1) ** 2) for row in runs(5, 1)]
    with pytest.raises(ValueError, match="no minimum in lr"):
        tuned_law(falling, near=10)


def test_rows_without_a_batch_don_t_count_where_batches_were_tuned() -> None:
    rows = runs()
    unknown = [
        dataclasses.replace(row, run=f"{row.run} x", batch=None, loss=(row.loss or 0) / 1.05) for row in rows[::7]
    ]
    assert tuned_law(rows + unknown, near=10).exponent("batch", "samples").value == pytest.approx(0.5, abs=1e-3)


def test_the_command_prints_and_predicts(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    write_rows(path, runs())
    printed = command("rate", str(path), "--params", "1e6", "--samples", "1e7")
    assert printed.returncode == 0, printed.stderr
    assert "lr = " in printed.stdout
    assert "batch at N 1e+06, D 1e+07: " in printed.stdout
    found = json.loads(command("rate", str(path), "--params", "1e6", "--samples", "1e7", "--json").stdout)
    law = tuned_law(runs(), NEAR)
    assert found["laws"]["lr"]["predicted"]["value"] == pytest.approx(law.optimum("lr", 1e6, 1e7).value)
    ends = law.exponent("batch", "samples").interval
    assert ends is not None
    assert found["laws"]["batch"]["exponents"]["samples"]["interval"] == pytest.approx(list(ends))
    half = command("rate", str(path), "--params", "1e6")
    assert (half.returncode, half.stderr.count("\n")) == (2, 1)
    assert "give --samples, too, or --against params" in half.stderr
