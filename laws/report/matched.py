"""The training compute that two studies need for the same dev loss or mean return."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from laws.fitting.bootstrap import RunNoise, basic_of_log
from laws.fitting.isoflop import METHODS, Method
from laws.fitting.law import Interval
from laws.predict.intrinsic import undominated
from laws.report.comparison import Study
from laws.report.number import MISSING, interval, significant
from laws.report.tables import METHOD_NAMES, QUANTITY_NAMES, ReportTable

Result = Literal["loss", "return"]
Points = Sequence[tuple[float, float]]
"""(C, value) of the optimum of each budget, by C."""


@dataclass(frozen=True)
class Match:
    """The compute of two studies for one loss or return."""

    y: Result
    method: Method
    """How the optimum of a budget is found."""
    value: float
    """Nats per step, or the mean return."""
    first: str
    second: str
    first_flops: float
    second_flops: float
    interval: Interval | None = None
    """95 % interval of the ratio; None where one of the studies doesn't tell its noise."""

    @property
    def ratio(self) -> float:
        """How many times the compute of the first the second needs."""
        return self.second_flops / self.first_flops


def matches(studies: Sequence[Study]) -> Iterator[Match]:
    """Of every pair of studies, what the optima of one's budgets cost in the other.

    Optima are vertices of the parabolas, or if these don't meet, best cells. They are taken from the first study, or if
    the second reaches none of them, from the second; none is extrapolated.
    """
    for one, other in combinations(studies, 2):
        for y in ("loss", "return"):
            by_method = (_matches(one, other, y, method) for method in reversed(METHODS))
            yield from next((found for found in by_method if found), ())


def _matches(one: Study, other: Study, y: Result, method: Method) -> Sequence[Match]:
    mine, its = (_optima(study, y, method) for study in (one, other))
    drawn = _simulated(one, y, method), _simulated(other, y, method, shuffled=True)
    found = [
        Match(y, method, value, one.name, other.name, flops, there, _interval(flops, there, *drawn))
        for flops, value in mine
        if (there := cost(its, value)) is not None
    ]
    if found:
        return found
    return [
        Match(y, method, value, one.name, other.name, here, flops, _interval(flops, here, *reversed(drawn), power=-1))
        for flops, value in its
        if (here := cost(mine, value)) is not None
    ]


@dataclass(frozen=True)
class _Simulated:
    """The curves of one law in simulated studies."""

    curves: list[tuple[np.ndarray, np.ndarray]]
    """That of the study without noise first."""
    noise: list[RunNoise]


def _simulated(study: Study, y: Result, method: Method, *, shuffled: bool = False) -> _Simulated | None:
    """None without simulated studies. Like studies are simulated with the same noise: the second's are `shuffled`."""
    simulated = study.fit.simulated
    if simulated is None:
        return None
    clean, drawn = (np.stack(np.broadcast_arrays(*each[method, y]), -2) for each in (simulated.clean, simulated.draws))
    noise = list(simulated.noise if y == "return" else simulated.noise[:1])
    if shuffled:
        order = np.random.default_rng(0).permutation(len(drawn))
        drawn, noise = drawn[order], [each.shuffled(order) for each in noise]
    return _Simulated([_curve(*points, falls=y == "loss") for points in (clean, *drawn)], noise)


def _interval(
    flops: float, there: float, of: _Simulated | None, other: _Simulated | None, power: int = 1
) -> Interval | None:
    """95 % interval of (`there` / `flops`)^`power`, a budget of one study and what its result costs in another.

    By bootstrap of both. Where a simulated study has no optimum there, or doesn't come so far, its curve goes on.
    """
    if of is None or other is None:
        return None
    log_flops = math.log(flops)
    clean, *drawn = (
        power * (_along(y_other, x_other, _along(x, y, log_flops)) - log_flops)
        for (x, y), (x_other, y_other) in zip(of.curves, other.curves, strict=False)
    )
    return basic_of_log(power * math.log(there / flops), np.array(drawn), clean, [*of.noise, *other.noise])


def _curve(log_flops_B: np.ndarray, log_values_B: np.ndarray, *, falls: bool) -> tuple[np.ndarray, np.ndarray]:
    """ln C and ln of the value, less it if it `falls`, of the known optima that no cheaper one equals: both rise."""
    known = np.isfinite(log_flops_B) & np.isfinite(log_values_B)
    points = list(zip(log_flops_B[known].tolist(), log_values_B[known].tolist(), strict=True))
    x, y = np.array(undominated(points, falls=falls)).reshape(-1, 2).T
    return x, -y if falls else y


def _along(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """The curve through points, both of whose coordinates rise, at x = `at`, beyond its ends by its mean slope."""
    if len(x) < 2:
        return math.nan
    beyond = at - float(np.clip(at, x[0], x[-1]))
    return float(np.interp(at, x, y)) + beyond * float((y[-1] - y[0]) / (x[-1] - x[0]))


def _optima(study: Study, y: Result, method: Method) -> Points:
    """The optima of a law, all positive, that no cheaper one equals; none without a law."""
    law = study.fit.found(y, method)
    return undominated(law.power.points, falls=y == "loss") if law is not None else ()


def cost(points: Points, value: float) -> float | None:
    """Compute at which the curve through undominated points has a value, linear in both logarithms; None outside."""
    log_flops, log_values = np.log(np.array(points).reshape(-1, 2)).T
    order = np.argsort(log_values)
    log_flops, log_values, wanted = log_flops[order], log_values[order], math.log(value)
    if not len(order) or not log_values[0] <= wanted <= log_values[-1]:
        return None
    return math.exp(float(np.interp(wanted, log_values, log_flops)))


def table(found: Sequence[Match]) -> ReportTable:
    """The matches, a row each."""
    rows = tuple(
        (
            QUANTITY_NAMES[each.y],
            significant(each.value),
            METHOD_NAMES[each.method],
            f"{each.first}: {each.first_flops:.3g}",
            f"{each.second}: {each.second_flops:.3g}",
            f"{each.ratio:.3g}",
            MISSING if each.interval is None else interval(each.interval),
        )
        for each in found
    )
    header = ("Quantity", "Value", "Method", "Compute (FLOPs)", "Compute (FLOPs)", "Ratio", "95 % interval")
    note = (
        "The compute at which both studies reach a dev loss or a mean return: at a budget of one, and interpolated"
        " between budgets of the other, in both logarithms; the interval by bootstrap of both studies. Losses are"
        " comparable if the held-out games are."
    )
    return ReportTable("Compute for the same result", header, rows, note)


def lines(found: Sequence[Match]) -> Iterator[str]:
    """The matches for the terminal."""
    for each in found:
        ends = "" if each.interval is None else f" (95 % {interval(each.interval)})"
        yield (
            f"{QUANTITY_NAMES[each.y]} {significant(each.value)}, {METHOD_NAMES[each.method]}: {each.first} at"
            f" {each.first_flops:.3g} FLOPs, {each.second} at {each.second_flops:.3g}, {each.ratio:.3g} times as"
            f" much{ends}"
        )
