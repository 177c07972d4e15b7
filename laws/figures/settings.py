"""Loss against learning rate, context, or depth over width, where trainings differ in one of these alone."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import Formatter

from eval.results import ResultRow
from laws.figures.style import (
    GREY,
    LOSS_LABEL,
    CountFormatter,
    Subject,
    budget_bar,
    budget_colours,
    finish,
    heading,
    legend,
    log_axis,
    panels,
    plain,
    power_of_ten,
)

CAPTION = (
    "Dev loss against one setting, all else equal: lines join trainings that differ in it alone (for the shape of the"
    " network, also in parameters by at most a fifth), coloured by budget; rings mark the best of each."
)


class Setting(NamedTuple):
    """A setting that trainings may differ in."""

    label: str
    value: Callable[[ResultRow], float | None]
    rest: Callable[[ResultRow], Hashable]
    """What must be equal for two rows to be joined."""
    formatter: Callable[[], Formatter]


_SETTINGS = (
    Setting(
        "Learning rate",
        lambda row: row.lr,
        lambda row: (row.params, row.batch, row.schedule, row.context),
        power_of_ten,
    ),
    Setting(
        "Context (steps per window)",
        lambda row: row.context,
        lambda row: (row.params, row.lr, row.schedule, row.batch),
        CountFormatter,
    ),
    Setting(
        "Depth / width of the core",
        lambda row: row.depth / row.width if row.depth and row.width else None,
        lambda row: (round(np.log(row.params) / np.log(1.2)), row.lr, row.batch, row.schedule, row.context),
        plain,
    ),
)

_Series = list[tuple[float, list[tuple[float, float]]]]
"""(budget, (value, loss) by value) of trainings that differ in one setting."""


def draw(subject: Subject) -> Figure | None:
    """One panel per setting that trainings differ in alone; None without one."""
    fit = subject.fit
    found = [(setting, series) for setting in _SETTINGS if (series := _series(fit.rows, setting))]
    if not found:
        return None
    figure, all_axes = panels(len(found), width=7.6 if len(found) == 1 else 6.0 * len(found), height=4.8)
    norm, colours = budget_colours(fit.profiles)
    ring = Line2D([], [], ls="", marker="o", ms=9, mfc="none", mec=GREY, mew=1.4, label="best")
    for axes, (setting, series) in zip(all_axes, found, strict=True):
        for flops, points in series:
            colour, best = colours(norm(flops)), min(points, key=lambda point: point[1])
            axes.plot(*zip(*points, strict=True), "o-", ms=4.5, mew=0, lw=1.2, color=colour)
            axes.plot(*best, "o", ms=9, mfc="none", mec=colour, mew=1.4)
        values = [value for _, points in series for value, _ in points]
        log_axis(axes.xaxis, values, setting.formatter(), gap=0.12)
        log_axis(axes.yaxis, [loss for _, points in series for _, loss in points], plain())
        finish(axes, setting.label, LOSS_LABEL)
        legend(axes, [ring])
    budget_bar(figure, all_axes[-1], fit.profiles)
    heading(figure, f"{fit.game}: loss by setting")
    return figure


def _series(rows: Sequence[ResultRow], setting: Setting) -> _Series:
    alike: dict[tuple[float, Hashable], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        value = setting.value(row)
        if value and row.loss:
            alike[row.flops, (row.core, setting.rest(row))][value].append(row.loss)
    return [
        (flops, sorted((value, float(np.mean(losses))) for value, losses in by_value.items()))
        for (flops, _), by_value in alike.items()
        if len(by_value) > 1
    ]
