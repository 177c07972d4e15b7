"""Logarithmic axes whose labels can be read: which ticks, and how their numbers are written."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

Form = Callable[[float], str]


def log_axis(
    axes: Axes,
    which: Literal["x", "y"],
    values: Sequence[float],
    form: Form,
    *,
    gap: float = 0.09,
    margin: float = 0.06,
) -> None:
    """Make one axis logarithmic over the positive `values`, its labels at least `gap` of the axis apart."""
    low, high = math.log10(min(values)), math.log10(max(values))
    pad = margin * (high - low) if high > low else 0.15
    low, high = low - pad, high + pad
    # Limits first: they end autoscaling, which a change of scale would run on whatever is drawn so far.
    if which == "x":
        axes.set_xlim(10**low, 10**high)
        axes.set_xscale("log")
    else:
        axes.set_ylim(10**low, 10**high)
        axes.set_yscale("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    major, minor = log_ticks(low, high, gap)
    axis.set_major_locator(FixedLocator(major))
    axis.set_minor_locator(FixedLocator(minor) if minor else NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))
    axis.set_minor_formatter(NullFormatter())


def log_ticks(low: float, high: float, gap: float) -> tuple[list[float], list[float]]:
    """Labelled and bare ticks between 10^low and 10^high: the most labels that stay `gap` apart."""
    span = high - low
    decades = range(math.floor(low), math.ceil(high) + 1)

    def within(ticks: Iterable[float]) -> list[float]:
        return [float(tick) for tick in ticks if 10**low <= tick <= 10**high]

    def ladder(steps: Sequence[float], every: int = 1) -> list[float]:
        return within(step * 10.0**decade for decade in decades if decade % every == 0 for step in steps)

    def clear(ticks: Sequence[float], room: float = gap) -> bool:
        return len(ticks) > 1 and all(math.log10(b / a) >= room * span for a, b in pairwise(ticks))

    even = [
        within(MaxNLocator(count, steps=[1, 2, 5, 10]).tick_values(10**low, 10**high)) for count in (8, 6, 5, 4, 3, 2)
    ]
    steps = [ladder(each) for each in ((1, 2, 3, 5), (1, 2, 5), (1, 3))]
    # Whole decades have the shortest labels and may stand closer.
    whole = [ticks for ticks in (ladder((1,), every) for every in range(1, 40)) if clear(ticks, 0.7 * gap)]
    ends = [10**low, 10**high]
    if span < 0.5:
        # Equal steps read better than 1, 2, 5 here.
        return next(filter(clear, [*even, *steps]), ends), []
    major = next(filter(clear, steps), next(iter([*whole, *filter(clear, even)]), ends))
    return major, ladder(range(1, 10)) if span < 5 else ladder((1,))


def plain(value: float) -> str:
    """0.25, 1.5, 12."""
    return f"{value:.4g}"


def thousands(value: float) -> str:
    """0.25, 12, 4,500, 3e+09."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def short(value: float) -> str:
    """250, 12k, 5.6M, 3B."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def power_of_ten(value: float) -> str:
    """A compute budget as a mathtext power of ten."""
    power = math.floor(math.log10(value) + 1e-9)
    step = value / 10.0**power
    return f"$10^{{{power}}}$" if abs(step - 1) < 1e-6 else f"${step:.3g}\\times10^{{{power}}}$"
