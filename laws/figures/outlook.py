"""Figures of what larger budgets will give: the last decade foretold from the others, and how well each form did."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from laws.figures.axes import log_axis, plain, power_of_ten, thousands
from laws.figures.canvas import (
    BLUE,
    DPI,
    FLOPS_LABEL,
    GREEN,
    INK,
    LOSS_LABEL,
    ORANGE,
    PURPLE,
    RETURN_LABEL,
    SKY,
    Picture,
    empty,
    finish,
    picture,
)
from laws.predict.forecast import Entry, HeldOut, Outlook

FORECAST = (
    "The budgets of the last decade (hollow) foretold from those before (filled): each form's line with the 95 %"
    " interval that it foretold, and how far off it was at the largest budget."
)
SCORES = (
    "Rolling forecast score: how far off each form was, on average, at the budgets that came after those it was"
    " fitted to, by the smallest budget fitted. Hollow: its 95 % intervals held fewer than four of five."
)
_COLOURS = {
    "power": BLUE,
    "offset": ORANGE,
    "parametric": GREEN,
    "envelope power": BLUE,
    "envelope offset": ORANGE,
    "isoflop power": SKY,
    "isoflop offset": PURPLE,
}


def pictures(game: str, told: Outlook) -> tuple[Picture, ...]:
    """The figures of one game, always all: one without data says so."""
    return (
        picture("forecast", FORECAST, _forecast(game, told.held_out)),
        picture("scores", SCORES, _scores(game, told)),
    )


def _panels(count: int) -> Figure:
    width = 7.6 if count < 2 else 6.6 * count
    return Figure(figsize=(width, 5.0), dpi=DPI, layout="constrained", facecolor="white")


def _forecast(game: str, held_out: Sequence[HeldOut]) -> Figure:
    figure = _panels(len(held_out))
    if not held_out:
        return empty(figure, "Too few budgets before the last decade.")
    for axes, held in zip(np.atleast_1d(figure.subplots(1, len(held_out))), held_out, strict=True):
        _held_panel(axes, held)
    figure.suptitle(f"{game}: the last decade of compute, foretold", fontsize=12, color=INK)
    return figure


def _held_panel(axes: Axes, held: HeldOut) -> None:
    label, form = (LOSS_LABEL, plain) if held.y == "loss" else (RETURN_LABEL, thousands)
    for test in held.tests:
        colour, text = _COLOURS[test.form], f"{test.form}: {np.expm1(test.error):+.0%}"
        axes.plot(test.flops_G, test.value_G, lw=1.8, color=colour, label=text.replace("-", "\u2212"))
        beyond = test.flops_G >= held.fitted[-1][0]
        axes.fill_between(test.flops_G[beyond], test.low_G[beyond], test.high_G[beyond], color=colour, alpha=0.13, lw=0)
    axes.plot(*zip(*held.fitted, strict=True), "o", ms=5.5, color=INK, label="fitted", zorder=4)
    axes.plot(*zip(*held.kept_back, strict=True), "o", ms=6, mfc="white", mec=INK, mew=1.4, label="held out", zorder=4)
    points = [*held.fitted, *held.kept_back]
    log_axis(axes, "x", [x for x, _ in points], power_of_ten, gap=0.12)
    values = [y for _, y in points] + [float(value) for test in held.tests for value in test.value_G]
    log_axis(axes, "y", values, form)
    finish(axes, FLOPS_LABEL, label, "")
    axes.legend(frameon=False, fontsize=9)


def _scores(game: str, told: Outlook) -> Figure:
    panels = [
        (scored, name)
        for each, name in ((told.loss, "dev loss"), (told.returns, "mean return"))
        if (scored := [entry for entry in each.entries if entry.score])
    ]
    figure = _panels(len(panels))
    if not panels:
        return empty(figure, "Too few budgets to hold any out.")
    for axes, (scored, name) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        _score_panel(axes, scored, name)
    figure.suptitle(f"{game}: how well the past was foretold", fontsize=12, color=INK)
    return figure


def _score_panel(axes: Axes, scored: Sequence[Entry], name: str) -> None:
    for form in dict.fromkeys(entry.form for entry in scored):
        mine, colour = [entry for entry in scored if entry.form == form], _COLOURS[form]
        starts, errors = [entry.window[0] for entry in mine], [100 * (entry.score or 0) for entry in mine]
        axes.plot(starts, errors, lw=1.4, color=colour)
        inside = [colour if (entry.held or 0) >= 0.8 else "white" for entry in mine]
        axes.scatter(starts, errors, s=36, c=inside, edgecolors=colour, linewidths=1.4, zorder=2)
        axes.plot([], [], "o-", ms=6, lw=1.4, color=colour, label=form)
    log_axis(axes, "x", [entry.window[0] for entry in scored], power_of_ten, gap=0.12)
    log_axis(axes, "y", [min(100 * (entry.score or 0), 1e3) for entry in scored], _percent)
    finish(axes, "Smallest budget fitted (FLOPs)", f"Error of past forecasts of the {name}", "")
    axes.legend(frameon=False, fontsize=9)


def _percent(value: float) -> str:
    return f"{value:.3g} %"
