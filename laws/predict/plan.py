"""How to spend a budget: size, samples, ladder entry, batch and time, and which further runs would say more."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eval.results import ResultRow
from laws.fit.bootstrap import surface_of
from laws.fit.isoflop import Profile, cells_of, price_of
from laws.fit.parametric import Price
from laws.fit.power import PowerLaw, fit_power

MOST = 3
"""Further runs that are named."""
APART = 0.4
"""Decades of compute between them, at least."""


@dataclass(frozen=True)
class Split:
    """One reading of how a budget divides."""

    method: str
    params: float
    params_ci: tuple[float, float] | None
    """95 % band of the law at the budget."""
    samples: float


@dataclass(frozen=True)
class Entry:
    """The trained size nearest to what is wanted."""

    size: str
    """Its core and size in the ladder, or its run where the rows don't say."""
    params: int
    batch: int | None
    """Samples per optimiser step of the largest budget at which it was trained."""
    flops_each: float
    """FLOPs for one sample, from its own rows."""


@dataclass(frozen=True)
class Further:
    """Runs that are worth making next."""

    flops: float
    sizes: tuple[float, float]
    """Smallest and largest N to train at that budget."""
    gain: float
    """By which share the standard error of ln N* at the planned budget falls."""
    why: str


@dataclass(frozen=True)
class Plan:
    """How to spend a budget."""

    flops: float
    splits: tuple[Split, ...]
    entry: Entry | None
    samples: float | None
    """What the budget is for the ladder entry."""
    seconds: float | None
    """At the rate that was given; None without one."""
    further: tuple[Further, ...]


def plan(rows: Sequence[ResultRow], profiles: Sequence[Profile], flops: float, rate: float | None = None) -> Plan:
    """Spend `flops` by every law of N; `rate`, FLOPs per second, gives the time."""
    laws = _laws(profiles)
    price = price_of(cells_of(profiles))
    splits: list[Split] = []
    if price is not None:
        splits = [_split(name, law, price, flops) for name, law in laws] + _parametric(profiles, price, flops)
    wanted = math.exp(float(np.mean([math.log(split.params) for split in splits]))) if splits else None
    entry = None if wanted is None else _nearest(rows, wanted)
    return Plan(
        flops,
        tuple(splits),
        entry,
        None if entry is None else flops / entry.flops_each,
        None if rate is None else flops / rate,
        _further(profiles, flops),
    )


def lines(planned: Plan) -> Iterator[str]:
    """As the command prints it."""
    yield f"{planned.flops:.3g} FLOPs"
    yield f"  {'by':12} {'parameters N':>12}  {'95 % band':^22} {'samples D':>10}"
    for split in planned.splits:
        ends = "" if split.params_ci is None else f"{split.params_ci[0]:.3g} to {split.params_ci[1]:.3g}"
        yield f"  {split.method:12} {split.params:12.4g}  {ends:^22} {split.samples:10.4g}"
    if planned.entry is not None:
        batch = "" if planned.entry.batch is None else f", {planned.entry.batch:,} samples a step"
        yield f"  nearest trained size: {planned.entry.size} ({planned.entry.params:,} parameters){batch}"
        yield f"  for which the budget is {planned.samples:.4g} samples"
    if planned.seconds is None:
        yield "  time: give --flops-per-second"
    else:
        yield f"  time: {planned.seconds / 3600:.3g} hours"
    for each in planned.further:
        sizes = f"{each.sizes[0]:.3g} to {each.sizes[1]:.3g} parameters"
        gain = f"narrows N* by {each.gain:.0%}" if each.gain else "gives a first law"
        yield f"  worth running: {each.flops:.3g} FLOPs, {sizes}: {gain} ({each.why})"


def _laws(profiles: Sequence[Profile]) -> list[tuple[str, PowerLaw]]:
    vertices = [(profile.flops, profile.vertex.params) for profile in profiles if profile.vertex]
    bests = [(profile.flops, float(profile.best.params)) for profile in profiles]
    found = []
    for name, points in (("isoflop", vertices), ("envelope", bests)):
        if len({x for x, _ in points}) > 1:
            found.append((name, fit_power(points)))
    return found


def _split(name: str, law: PowerLaw, price: Price, flops: float) -> Split:
    where = np.array([flops])
    params = float(law.predict(where)[0])
    band = law.band(where)
    ends = None if band is None else (float(band[0][0]), float(band[1][0]))
    return Split(name, params, ends, flops / price.of(params))


def _parametric(profiles: Sequence[Profile], price: Price, flops: float) -> list[Split]:
    fitted = surface_of(cells_of(profiles))
    if fitted is None:
        return []
    best = fitted.surface.optimum(flops, price)
    params, samples = float(best.params), float(best.samples)
    return [Split("parametric", params, None, samples)] if 0 < params < math.inf and 0 < samples < math.inf else []


def _nearest(rows: Sequence[ResultRow], params: float) -> Entry:
    row = min(rows, key=lambda row: (abs(math.log(row.params / params)), -row.flops))
    name = "/".join(part for part in (row.core, row.size) if part)
    return Entry(name or row.run, row.params, row.batch, row.flops / row.samples)


def _further(profiles: Sequence[Profile], flops: float) -> tuple[Further, ...]:
    """Budgets whose vertex would narrow N* at `flops` most, for a tenth of its price or less each.

    The law of ln N* is a straight line in ln C: one more vertex at x lowers the variance of its value at ln `flops`,
    1/n + (x0 - mean)² / Sxx, by how far out it lies. Budgets that have no vertex come first among equals.
    """
    vertices = [(math.log(profile.flops), profile.vertex.params) for profile in profiles if profile.vertex]
    if len(vertices) < 2:
        missing = [profile for profile in profiles if not profile.vertex]
        return tuple(
            Further(each.flops, _around(float(each.best.params)), 0.0, "no vertex there yet")
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
        found.append(Further(budget, _around(centre), gain, why))
    chosen: list[Further] = []
    for each in sorted(found, key=lambda each: (-each.gain, each.flops)):
        # Two budgets close together say the same.
        if all(abs(math.log10(each.flops / other.flops)) > APART for other in chosen):
            chosen.append(each)
    return tuple(chosen[:MOST])


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=0.05)


def _around(params: float) -> tuple[float, float]:
    """A decade of sizes about the optimum, enough for a parabola."""
    return params / math.sqrt(10), params * math.sqrt(10)


def _error(x_P: np.ndarray, at: float) -> float:
    """Standard error of a line's value at `at`, in those of a point."""
    away_P = x_P - x_P.mean()
    return math.sqrt(1 / len(x_P) + (at - float(x_P.mean())) ** 2 / float(away_P @ away_P))
