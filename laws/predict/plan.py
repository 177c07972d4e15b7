"""How to spend a budget: size, samples, nearest trained size, time, and which runs would narrow the prediction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.results import ResultRow
from laws.fitting.analysis import GameFit
from laws.fitting.frontier import ParametricLaw
from laws.fitting.isoflop import Profile, cells_of, price_of
from laws.fitting.law import Law
from laws.fitting.parametric import Price
from laws.fitting.power import fit_power

MOST = 3
"""Most runs that are proposed."""
APART = 0.4
"""Least distance between their budgets, decades."""


@dataclass(frozen=True)
class Split:
    """N and D of a budget by one law."""

    method: str
    params: float
    params_ci: tuple[float, float] | None
    """95 % interval of the law at the budget; None where the study doesn't tell its noise."""
    samples: float


@dataclass(frozen=True)
class TrainedSize:
    """The trained size nearest to the optimal one."""

    size: str
    """Core and size in the ladder, or the run where the rows don't have these."""
    params: int
    batch: int | None
    """Samples per optimiser step at the largest budget it was trained with."""
    flops_each: float
    """FLOPs per sample, from its rows."""


@dataclass(frozen=True)
class NextRun:
    """A budget at which further runs would help most."""

    flops: float
    sizes: tuple[float, float]
    """Smallest and largest N to train at that budget."""
    gain: float
    """Relative decrease of the standard error of ln N* at the planned budget."""
    why: str


@dataclass(frozen=True)
class Plan:
    """How to spend a budget."""

    flops: float
    splits: tuple[Split, ...]
    nearest: TrainedSize | None
    samples: float | None
    """Samples of the nearest trained size for the budget."""
    seconds: float | None
    """Training time at the given rate; None without one."""
    next_runs: tuple[NextRun, ...]


def plan(game: GameFit, flops: float, rate: float | None = None) -> Plan:
    """Spend `flops` by every law of N; `rate`, in FLOPs per second, gives the time."""
    rows, profiles = game.rows, game.profiles
    laws = [law for law in game.laws if law.y == "params"]
    price = price_of(cells_of(profiles))
    splits: list[Split] = []
    if price is not None:
        splits = [_split(law, price, flops) for law in laws] + _parametric(game.parametric, price, flops)
    wanted = math.exp(float(np.mean([math.log(split.params) for split in splits]))) if splits else None
    nearest = None if wanted is None else _nearest(rows, wanted)
    return Plan(
        flops,
        tuple(splits),
        nearest,
        None if nearest is None else flops / nearest.flops_each,
        None if rate is None else flops / rate,
        _next_runs(profiles, flops),
    )


def _split(law: Law, price: Price, flops: float) -> Split:
    params = float(law.power.predict(flops))
    return Split(law.method, params, law.interval_at(flops), flops / price.of(params))


def _parametric(fitted: ParametricLaw | None, price: Price, flops: float) -> list[Split]:
    if fitted is None:
        return []
    best = fitted.fit.surface.optimum(flops, price)
    params, samples = float(best.params), float(best.samples)
    return [Split("parametric", params, None, samples)] if 0 < params < math.inf and 0 < samples < math.inf else []


def _nearest(rows: Sequence[ResultRow], params: float) -> TrainedSize:
    row = min(rows, key=lambda row: (abs(math.log(row.params / params)), -row.flops))
    name = "/".join(part for part in (row.core, row.size) if part)
    return TrainedSize(name or row.run, row.params, row.batch, row.flops / row.samples)


def _next_runs(profiles: Sequence[Profile], flops: float) -> tuple[NextRun, ...]:
    """The budgets, at most a tenth of `flops`, whose vertex would narrow N* at `flops` most.

    ln N* is fitted as a line in ln C. A further vertex lowers the variance of its prediction at x0 = ln `flops`,
    1/n + (x0 - mean)² / Sxx; the farther from the mean, the more.
    """
    vertices = [(math.log(profile.flops), profile.vertex.params) for profile in profiles if profile.vertex]
    if len(vertices) < 2:
        missing = [profile for profile in profiles if not profile.vertex]
        return tuple(
            NextRun(each.flops, _around(float(each.best.params)), 0.0, "no vertex there yet")
            for each in missing[-MOST:]
        )
    x_P, target = np.array([x for x, _ in vertices]), math.log(flops)
    law = fit_power([(math.exp(x), params) for x, params in vertices])
    steps = np.exp(np.arange(math.log(profiles[0].flops), math.log(flops / 10) + 1e-9, math.log(10) / 2))
    trained = [profile for profile in profiles if profile.flops <= flops / 10]
    budgets = [each.flops for each in trained if not each.vertex]
    budgets += [step for step in steps.tolist() if all(not _same(step, each.flops) for each in trained)]
    known, before = {each.flops for each in trained}, _error(x_P, target)
    found = []
    for budget in budgets:
        gain = 1 - _error(np.append(x_P, math.log(budget)), target) / before
        centre = float(law.predict(np.array([budget]))[0])
        why = "trained, but without a vertex: add sizes" if budget in known else "not trained yet"
        found.append(NextRun(budget, _around(centre), gain, why))
    chosen: list[NextRun] = []
    for each in sorted(found, key=lambda each: (-each.gain, each.flops)):
        # Two budgets close together give the same information.
        if all(abs(math.log10(each.flops / other.flops)) > APART for other in chosen):
            chosen.append(each)
    return tuple(chosen[:MOST])


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=0.05)


def _around(params: float) -> tuple[float, float]:
    """Smallest and largest size of a decade about the optimum, which suffices for a parabola."""
    return params / math.sqrt(10), params * math.sqrt(10)


def _error(x_P: np.ndarray, at: float) -> float:
    """Standard error of a fitted line at `at`, in units of that of a point."""
    away_P = x_P - x_P.mean()
    return math.sqrt(1 / len(x_P) + (at - float(x_P.mean())) ** 2 / float(away_P @ away_P))
