"""The figure of settings: what learning rate, context, and depth against width do to the loss, where rows tell."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eval.results import ResultRow
from laws.figures.axes import Form, log_axis, plain, power_of_ten, short
from laws.figures.canvas import DPI, GREY, INK, LOSS_LABEL, Picture, finish, picture
from laws.figures.marks import budget_bar, budget_colours
from laws.fit.analysis import GameFit

SETTINGS = (
    "What a setting does to the dev loss, all else the same: lines join trainings that differ in it alone (and, for the"
    " shape, in the parameters by at most a fifth), coloured by budget; rings mark the best of each."
)


class Setting(NamedTuple):
    """A setting that trainings may differ in."""

    label: str
    value: Callable[[ResultRow], float | None]
    rest: Callable[[ResultRow], Hashable]
    """What must be the same for two rows to be joined."""
    form: Form


_SETTINGS = (
    Setting(
        "Learning rate",
        lambda row: row.lr,
        lambda row: (row.params, row.batch, row.schedule, row.context),
        power_of_ten,
    ),
    Setting(
        "Context (steps of a window)",
        lambda row: row.context,
        lambda row: (row.params, row.lr, row.schedule, row.batch),
        short,
    ),
    Setting(
        "Depth / width of the core",
        lambda row: row.depth / row.width if row.depth and row.width else None,
        lambda row: (round(np.log(row.params) / np.log(1.2)), row.lr, row.batch, row.schedule, row.context),
        plain,
    ),
)


def pictures(fit: GameFit) -> tuple[Picture, ...]:
    """The figure, if trainings differ in a setting and in nothing else."""
    found = [(setting, series) for setting in _SETTINGS if (series := _series(fit.rows, setting))]
    return (picture("settings", SETTINGS, _figure(fit, found)),) if found else ()


_Series = list[tuple[float, list[tuple[float, float]]]]
"""(budget, (value, loss) by value) of trainings that differ in one setting."""


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


def _figure(fit: GameFit, found: Sequence[tuple[Setting, _Series]]) -> Figure:
    width = 7.6 if len(found) == 1 else 6.0 * len(found)
    figure = Figure(figsize=(width, 4.8), dpi=DPI, layout="constrained", facecolor="white")
    panels = np.atleast_1d(figure.subplots(1, len(found)))
    for axes, (setting, series) in zip(panels, found, strict=True):
        _panel(axes, fit, setting, series)
    budget_bar(figure, panels[-1], fit.profiles)
    figure.suptitle(f"{fit.game}: what a setting does to the loss", fontsize=12, color=INK)
    return figure


def _panel(axes: Axes, fit: GameFit, setting: Setting, series: _Series) -> None:
    norm, colours = budget_colours(fit.profiles)
    for flops, points in series:
        colour, best = colours(norm(flops)), min(points, key=lambda point: point[1])
        axes.plot(*zip(*points, strict=True), "o-", ms=4.5, mew=0, lw=1.2, color=colour)
        axes.plot(*best, "o", ms=9, mfc="none", mec=colour, mew=1.4)
    log_axis(axes, "x", [value for _, points in series for value, _ in points], setting.form, gap=0.12)
    log_axis(axes, "y", [loss for _, points in series for _, loss in points], plain)
    finish(axes, setting.label, LOSS_LABEL, "")
    ring = Line2D([], [], ls="", marker="o", ms=9, mfc="none", mec=GREY, mew=1.4, label="best")
    axes.legend(handles=[ring], frameon=False, fontsize=9)
