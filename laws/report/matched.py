"""The training compute that two studies need for the same dev loss or mean return."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from laws.fitting.isoflop import METHODS, Method
from laws.predict.intrinsic import undominated
from laws.report.comparison import Study
from laws.report.number import significant
from laws.report.tables import METHOD_NAMES, QUANTITY_NAMES, ReportTable

Points = Sequence[tuple[float, float]]
"""(C, value) of the optimum of each budget, by C."""


@dataclass(frozen=True)
class Match:
    """The compute of two studies for one loss or return."""

    y: Literal["loss", "return"]
    method: Method
    """How the optimum of a budget is found."""
    value: float
    """Nats per step, or the mean return."""
    first: str
    second: str
    first_flops: float
    second_flops: float

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


def _matches(one: Study, other: Study, y: Literal["loss", "return"], method: Method) -> Sequence[Match]:
    mine, its = (_optima(study, y, method) for study in (one, other))
    return [
        Match(y, method, value, one.name, other.name, flops, there)
        for flops, value in mine
        if (there := cost(its, value)) is not None
    ] or [
        Match(y, method, value, one.name, other.name, here, flops)
        for flops, value in its
        if (here := cost(mine, value)) is not None
    ]


def _optima(study: Study, y: Literal["loss", "return"], method: Method) -> Points:
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
        )
        for each in found
    )
    header = ("Quantity", "Value", "Method", "Compute (FLOPs)", "Compute (FLOPs)", "Ratio")
    note = (
        "The compute at which both studies reach a dev loss or a mean return: at a budget of one, and interpolated"
        " between budgets of the other, in both logarithms. Losses are comparable if the held-out games are."
    )
    return ReportTable("Compute for the same result", header, rows, note)


def lines(found: Sequence[Match]) -> Iterator[str]:
    """The matches for the terminal."""
    for each in found:
        yield (
            f"{QUANTITY_NAMES[each.y]} {significant(each.value)}, {METHOD_NAMES[each.method]}: {each.first} at"
            f" {each.first_flops:.3g} FLOPs, {each.second} at {each.second_flops:.3g}, {each.ratio:.3g} times as much"
        )
