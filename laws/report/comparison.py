"""Laws of several studies side by side, and whether their exponents differ."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import special

from laws.fitting.analysis import GameFit
from laws.fitting.isoflop import METHODS, QUANTITIES, Method, Quantity
from laws.fitting.law import Interval, Law
from laws.fitting.power import Z95
from laws.report.number import MISSING, signed, span
from laws.report.tables import METHOD_NAMES, QUANTITY_NAMES, ReportTable


@dataclass(frozen=True, eq=False)
class Study:
    """One game of one study."""

    name: str
    fit: GameFit


@dataclass(frozen=True)
class Difference:
    """The exponent of one study less that of another, by the same method."""

    y: Quantity
    method: Method
    first: str
    second: str
    value: float
    interval: Interval | None
    """95 %; None where one of the studies doesn't tell its noise."""
    p: float | None
    """Two-sided p value of no difference, for as many comparisons as there are of this law (Holm's correction)."""


def difference(first: Law, second: Law) -> tuple[float, Interval | None, float | None]:
    """The difference of two exponents of independent studies, its 95 % interval, and the p value of no difference.

    The interval adds up those of the two by squares, each on the side that it concerns (MOVER: Zou and Donner,
    Statistics in Medicine 27, 2008). The p value is that of a normal distribution whose interval reaches as far towards
    0: it is below 0.05 exactly where the interval excludes 0.
    """
    value = first.exponent - second.exponent
    one, other = first.exponent_ci, second.exponent_ci
    if one is None or other is None:
        return value, None, None
    low = value - math.hypot(first.exponent - one[0], other[1] - second.exponent)
    high = value + math.hypot(one[1] - first.exponent, second.exponent - other[0])
    towards = value - low if value > 0 else high - value
    p = 1.0 if towards <= 0 else float(2 * special.ndtr(-abs(value) / towards * Z95))
    return value, (low, high), p


def differences(studies: Sequence[Study]) -> Iterator[Difference]:
    """Every pair of studies, law by law, where both have it."""
    for y in QUANTITIES:
        for method in METHODS:
            laws = {study.name: law for study in studies if (law := study.fit.found(y, method)) is not None}
            pairs = list(combinations(laws, 2))
            found = [difference(laws[first], laws[second]) for first, second in pairs]
            adjusted = holm([p for *_, p in found])
            for (first, second), (value, interval, _), p in zip(pairs, found, adjusted, strict=True):
                yield Difference(y, method, first, second, value, interval, p)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values for as many tests together (Holm, Scandinavian Journal of Statistics 6, 1979); None stays None."""
    known = [place for place, p in enumerate(p_values) if p is not None]
    order = sorted(known, key=lambda place: p_values[place] or 0.0)
    steps = [(len(order) - rank) * (p_values[place] or 0.0) for rank, place in enumerate(order)]
    found: list[float | None] = [None] * len(p_values)
    for place, p in zip(order, np.maximum.accumulate(steps).tolist() if steps else [], strict=True):
        found[place] = min(1.0, p)
    return found


def side_by_side(studies: Sequence[Study]) -> ReportTable:
    """The exponents of all studies, a column each."""
    rows = []
    for y in QUANTITIES:
        for method in METHODS:
            laws = [study.fit.found(y, method) for study in studies]
            if any(laws):
                rows.append((QUANTITY_NAMES[y], METHOD_NAMES[method], *map(_exponent, laws)))
    note = "Exponents of training compute, with their 95 % intervals by bootstrap of each study."
    header = ("Quantity", "Method", *(study.name for study in studies))
    return ReportTable("Laws side by side", header, tuple(rows), note)


def _exponent(law: Law | None) -> str:
    if law is None:
        return MISSING
    return signed(law.exponent) + ("" if law.exponent_ci is None else f" ({span(law.exponent_ci)})")


def tests(found: Sequence[Difference]) -> ReportTable:
    """The differences with their p values."""
    rows = tuple(
        (
            QUANTITY_NAMES[each.y],
            METHOD_NAMES[each.method],
            f"{each.first} less {each.second}",
            signed(each.value),
            MISSING if each.interval is None else span(each.interval),
            MISSING if each.p is None else p_text(each.p),
            verdict(each),
        )
        for each in found
    )
    header = ("Quantity", "Method", "Exponent of", "Difference", "95 % interval", "p", "")
    note = (
        "Two-sided tests of equal exponents of independent studies; of several pairs, p is corrected for all of one law"
        " (Holm). Studies that share trainings or held-out games are not independent. An exponent also depends on the"
        " range of compute: compare studies of the same budgets."
    )
    return ReportTable("Do the exponents differ?", header, rows, note)


def p_text(p: float) -> str:
    """A p value, to two digits."""
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"


def verdict(found: Difference) -> str:
    """What the test says."""
    if found.p is None:
        return "no noise is known"
    return "differ" if found.p < 0.05 else "not told apart"


def lines(found: Sequence[Difference]) -> Iterator[str]:
    """The tests for the terminal."""
    for each in found:
        interval = "" if each.interval is None else f" (95 % {span(each.interval)})"
        p = "" if each.p is None else f", p {p_text(each.p)}"
        yield (
            f"{QUANTITY_NAMES[each.y]}, {METHOD_NAMES[each.method]}: {each.first} less {each.second}"
            f" {signed(each.value)}{interval}{p}: {verdict(each)}"
        )


def record(studies: Sequence[Study], found: Sequence[Difference]) -> dict[str, Any]:
    """Exponents by study, and the tests, as JSON values."""
    exponents = [
        {
            "study": study.name,
            "game": study.fit.game,
            "y": law.y,
            "method": law.method,
            "form": law.form,
            "exponent": law.exponent,
            "interval": law.exponent_ci,
            "coefficient": law.power.coefficient,
            "budgets": len(law.power.points),
        }
        for study in studies
        for law in study.fit.laws
    ]
    return {"laws": exponents, "differences": [vars(each) for each in found]}
