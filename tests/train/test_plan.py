"""A plan spends each budget, or says why it can't."""

import dataclasses
import json
from pathlib import Path

from agents.cost import EXACT_VERSION
from data.sampling.sampler import LaneSampler
from tests.train.runs import STEP, config
from train.config import defaults_of, result_fields
from train.folder import claim
from train.plan import Plan, steps_within


def test_the_plan_spends_each_budget_to_within_a_step(store: Path, tmp_path: Path) -> None:
    budgets_wanted = (3.7 * STEP, 100.2 * STEP, 1e4 * STEP)
    plan = Plan.of(dataclasses.replace(config(store, tmp_path), flops=budgets_wanted))
    for budget, step in zip(budgets_wanted, plan.steps, strict=True):
        spent = [plan.sampler.samples(s) * plan.flops["exact"] for s in (step, step + 1)]
        assert spent[0] <= budget < spent[1]


def test_a_run_counts_to_its_end_as_it_was_begun(store: Path, tmp_path: Path) -> None:
    begun = config(store, tmp_path / "run")
    plan = Plan.of(begun)
    assert plan.description(begun)["flop_version"] == plan.flop_version == EXACT_VERSION
    earlier = plan.description(begun) | {"flops_per_sample": {"exact": 2 * plan.flops["exact"], "paper": 5}}
    del earlier["flop_version"]
    claim(begun.run, earlier, result_fields(begun), defaults_of(type(begun)))
    resumed = Plan.of(begun)
    assert (resumed.flops["exact"], resumed.flop_version) == (2 * plan.flops["exact"], None)
    assert resumed.steps == tuple(step // 2 for step in plan.steps)
    assert json.loads(json.dumps(resumed.description(begun)))["flop_version"] is None
    other = dataclasses.replace(begun, init_seed=1)
    assert (Plan.of(other).flops, Plan.of(other).steps) == (plan.flops, plan.steps)


def test_steps_within_is_the_inverse_of_samples() -> None:
    sampler = LaneSampler([50, 33, 17], lanes=4, window=6, seed=0)
    for step in range(1, 40):
        assert steps_within(sampler, sampler.samples(step)) == step
        assert steps_within(sampler, sampler.samples(step) - 1) == step - 1
