"""A plan spends each budget, or says why it can't."""

import dataclasses
from pathlib import Path

from data.sampling.sampler import LaneSampler
from tests.train.runs import STEP, config
from train.plan import Plan, steps_within


def test_the_plan_spends_each_budget_to_within_a_step(store: Path, tmp_path: Path) -> None:
    budgets_wanted = (3.7 * STEP, 100.2 * STEP, 1e4 * STEP)
    plan = Plan.of(dataclasses.replace(config(store, tmp_path), flops=budgets_wanted))
    for budget, step in zip(budgets_wanted, plan.steps, strict=True):
        spent = [plan.sampler.samples(s) * plan.flops["exact"] for s in (step, step + 1)]
        assert spent[0] <= budget < spent[1]


def test_steps_within_is_the_inverse_of_samples() -> None:
    sampler = LaneSampler([50, 33, 17], lanes=4, window=6, seed=0)
    for step in range(1, 40):
        assert steps_within(sampler, sampler.samples(step)) == step
        assert steps_within(sampler, sampler.samples(step) - 1) == step - 1
