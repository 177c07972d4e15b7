"""Tuned settings: the learning rate and batch of each size by the laws of their optima, fitted to what was tried."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

from data.common.cli import UserError
from eval.results import ResultRow
from laws.design.config import Settings, Size, Sweep
from laws.design.runs import given_lr
from laws.predict.hyperparameters import LETTERS, Optimum, Prior, Setting, TunedLaw, tuned_law
from train.scaling.rule import Rule

WINDOWS = (0.1, 0.2, 0.4)
"""ln L above the least of its cell up to which a run is fitted: the first of these that determines an optimum."""
BATCH_OF_SAMPLES = 0.5
"""Expected exponent of the best batch size in D. The critical batch size of language models grows with D and hardly
with N (Zhang et al., arXiv 2410.21676); of the best, Li et al. (arXiv 2503.04715) find D^0.57."""
SD = 0.15
"""Standard deviation of what is expected of the exponents: a factor of 2 over two decades of N or D. Along a few small
budgets N and D hardly vary by themselves, and exponents from them alone may be large and wrong."""


def law_of(rows: Sequence[ResultRow], settings: Sequence[str], rule: Rule) -> TunedLaw:
    """The law of the best `settings`: the exponents that are expected, corrected by the rows as far as these tell.

    `rule` has the exponent that is expected of the learning rate.

    Raises: UserError: the rows don't determine an optimum; says why.
    """
    expected = Prior({"lr": {"params": rule.exponent}, "batch": {"samples": BATCH_OF_SAMPLES}}, SD)
    problem = "the best runs of each size and budget hardly differ in them"
    for near in WINDOWS:
        try:
            law = tuned_law(rows, near, prior=expected)
        except ValueError as error:
            problem = str(error)
            continue
        # Without draws there are too few runs so near the optimum.
        if set(law.settings) == set(settings) and len(law.draws_SxTxK):
            return law
    what = " and ".join(settings)
    raise UserError(f"--tune found no optimum of {what}: {problem} (--tune-lr, --tune-batch, --tune-budgets)")


def settings_of(sweep: Sweep, law: TunedLaw) -> dict[str, Settings]:
    """The settings of every size of a sweep; those that are known stay.

    A training passes through all budgets of its size: the optimum is taken at the geometric mean of their D. Batches
    are the nearest power of two lanes, and no larger than `min_steps` at the smallest budget allows.
    """
    samples: dict[str, list[int]] = defaultdict(list)
    for budget, of_budget in sweep.sizes.items():
        for size in of_budget:
            samples[size.agent].append(size.samples(budget))
    chosen = {agent: _chosen(sweep, law, sweep.agents[agent], counts) for agent, counts in samples.items()}
    return chosen | dict(sweep.settings)


def rules_of(law: TunedLaw) -> dict[str, str]:
    """The laws in words, by setting, as result rows state them."""
    return {name: f"tuned: {_in_words(law, name, lambda exponent: '')}" for name in law.settings}


def told(law: TunedLaw) -> str:
    """The laws with the intervals of their exponents, in one line."""

    def ends(exponent: Optimum) -> str:
        return "" if exponent.interval is None else " ({:.2g} to {:.2g})".format(*exponent.interval)

    words = [f"{name} = {_in_words(law, name, ends)}" for name in law.settings]
    runs = sum(len(cell.rows) for cell in law.sweeps)
    return f"tuned on {runs} cells near the optimum of {len(law.sweeps)} (N, D): {'; '.join(words)}"


def _in_words(law: TunedLaw, name: Setting, ends: Callable[[Optimum], str]) -> str:
    """The law of a setting, each exponent followed by what `ends` says of it."""
    exponents = [(LETTERS[scale], law.exponent(name, scale)) for scale in law.scales]
    powers = [f"{letter}^{exponent.value:.2g}{ends(exponent)}" for letter, exponent in exponents]
    return " ".join([f"{law.coefficient(name):.3g}", *powers])


def with_given(sweep: Sweep, rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Of rows of settings that were tried, those of the given settings."""
    given = {size.params: given_lr(sweep, size) for size in sweep.agents.values()}
    return [row for row in rows if row.batch == sweep.shared.batch and row.lr == given.get(row.params)]


def _chosen(sweep: Sweep, law: TunedLaw, size: Size, samples: Sequence[int]) -> Settings:
    shared, middle = sweep.shared, math.exp(sum(map(math.log, samples)) / len(samples))
    lr, lanes = given_lr(sweep, size), shared.lanes
    if "batch" in law.settings:
        best = law.optimum("batch", size.params, middle).value
        most = min(samples) / (sweep.config.min_steps * shared.window)
        lanes = 2 ** max(0, min(round(math.log2(best / shared.window)), math.floor(math.log2(max(most, 1)))))
    if "lr" in law.settings:
        lr = float(f"{law.optimum('lr', size.params, middle).value:.3g}")
    return Settings(lr, lanes)
