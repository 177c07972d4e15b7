"""The learning rate by size: the default of a new run, recorded, and kept when the run is resumed."""

import dataclasses
import json
from pathlib import Path

import pytest

from agents.ladder import find
from tests.train.runs import AGENT, WINDOW, config
from train.config import Optimizer, from_json
from train.folder import read_run, resolved
from train.loop import train
from train.plan import Plan
from train.scaling.rule import ATARI, NETHACK, Rule, rule_of


@pytest.mark.parametrize("rule", [NETHACK, ATARI])
def test_the_rule_falls_with_size_and_says_its_numbers(rule: Rule) -> None:
    rates = [rule.peak(params, rule.batch) for params in (10_000, 1_000_000, 100_000_000)]
    assert rates == sorted(rates, reverse=True)
    assert rates[1] / rates[0] == pytest.approx(rates[2] / rates[1], rel=0.01)
    of_size, of_batch = str(rule).split(" min(1, B/")
    coefficient, exponent = (float(part) for part in of_size.split(" N^"))
    assert coefficient * 1e6**exponent == pytest.approx(rates[1], rel=0.01)
    assert of_batch == f"{rule.batch})^(1/3)"


def test_small_batches_learn_more_slowly_and_large_ones_no_faster() -> None:
    rate = NETHACK.peak(30_000, 2048)
    assert NETHACK.peak(30_000, 256) == pytest.approx(rate / 2, rel=0.01)
    assert NETHACK.peak(30_000, 262_144) == rate


def test_atari_has_a_rule_of_its_own() -> None:
    """Of Breakout's networks, the best rates that were measured, within a tenth."""
    assert rule_of("atari/cnn/3+channels=4") == ATARI
    assert rule_of("nethack/lstm/64") == rule_of("gym/mlp/8") == rule_of("mine:agent") == NETHACK
    for params, best in ((2_575, 0.027), (9_580, 0.014), (19_985, 0.008)):
        assert ATARI.peak(params, 128) == pytest.approx(best, rel=0.1)


@pytest.mark.slow
def test_a_new_run_has_the_rules_rate_and_a_run_keeps_the_one_that_it_has(store: Path, tmp_path: Path) -> None:
    auto = config(store, tmp_path / "run", steps=(2, 3), dev_every="never", optimizer=Optimizer())
    rate = NETHACK.peak(find(AGENT).cost(WINDOW).counted_params, auto.batch)
    train(auto, progress=False)
    described = read_run(auto.run)
    assert described["config"]["optimizer"]["lr"] == rate
    assert described["lr_rule"] == str(NETHACK)
    # As of an earlier version, or with another rule: the same command goes on with the recorded rate.
    described["config"]["optimizer"]["lr"] = 3e-3
    (auto.run / "config.json").write_text(json.dumps(described))
    kept = Plan.of(resolved(auto))
    assert (kept.config, kept.lr_rule) == (from_json(described["config"]), None)
    given = Plan.of(dataclasses.replace(auto, run=tmp_path / "new", optimizer=Optimizer(lr=1e-3)))
    assert (given.config.optimizer.lr, given.lr_rule) == (1e-3, None)
