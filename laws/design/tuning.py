"""Tuned settings: the learning rate and batch of each size by the laws of their optima, fitted to what was tried."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

from data.common.cli import UserError
from eval.results import ResultRow
from laws.design.config import Settings, Size, Sweep
from laws.design.runs import given_lr
from laws.predict.hyperparameters import LETTERS, Optimum, Scale, Setting, TunedLaw, tuned_law

WINDOWS = (0.1, 0.2, 0.4)
"""ln L above the least of its cell up to which a run is fitted: the first of these that determines an optimum."""
WIDEST = 0.3
"""Half of the widest 95 % interval of an exponent that is extrapolated by. Along a few budgets N and D hardly vary by
themselves, and their exponents may be large and wrong."""


def law_of(rows: Sequence[ResultRow], settings: Sequence[str]) -> TunedLaw:
    """The law of the best `settings`, with the exponents that the rows can tell from 0.

    An exponent whose 95 % interval has 0 inside, or is wide, for every setting is left out: extrapolated, it would be
    noise.

    Raises: UserError: the rows don't determine an optimum; says why.
    """
    problem = "the best runs of each size and budget hardly differ in them"
    for near in WINDOWS:
        try:
            law = _significant(rows, near)
        except ValueError as error:
            problem = str(error)
            continue
        # Without intervals there are too few runs so near the optimum.
        if set(law.settings) == set(settings) and len(law.draws_SxTxK):
            return law
    what = " and ".join(settings)
    raise UserError(f"--tune found no optimum of {what}: {problem} (--tune-lr, --tune-batch, --tune-budgets)")


def _significant(rows: Sequence[ResultRow], near: float) -> TunedLaw:
    """Backward elimination: without the most doubtful exponent, until none is doubtful."""
    against: tuple[Scale, ...] = ("params", "samples")
    while True:
        law = tuned_law(rows, near, against)
        doubt = {scale: min(_doubt(law.exponent(name, scale)) for name in law.settings) for scale in law.scales}
        if max(doubt.values(), default=0.0) <= 1:
            return law
        against = tuple(scale for scale in law.scales if doubt[scale] < max(doubt.values()))


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


def _doubt(exponent: Optimum) -> float:
    """How doubtful an exponent is: above 1 it may be 0, or is too uncertain to extrapolate by."""
    if exponent.interval is None:
        return math.inf
    low, high = exponent.interval
    half = (high - low) / 2
    return max(half / max(abs(high + low) / 2, 1e-9), half / WIDEST)
