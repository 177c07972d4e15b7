"""The backtest on the last decade of budgets: each form's prediction of it from the smaller budgets."""

import numpy as np
from matplotlib.figure import Figure

from laws.figures.style import (
    BLUE,
    FLOPS_LABEL,
    GREEN,
    INK,
    LOSS_LABEL,
    ORANGE,
    PURPLE,
    RETURN_LABEL,
    SKY,
    Subject,
    finish,
    heading,
    legend,
    log_axis,
    message,
    panels,
    plain,
    power_of_ten,
    thousands,
)

CAPTION = (
    "The budgets of the last decade (hollow) predicted from the smaller ones (filled): each form's line with its 95 %"
    " prediction interval, and its error at the largest budget."
)
_COLOURS = {"power": BLUE, "offset": ORANGE, "parametric": GREEN, "broken": PURPLE, "saturating": SKY}


def draw(subject: Subject) -> Figure | None:
    """One panel per quantity; None without an extrapolation."""
    if subject.extrapolation is None:
        return None
    backtests = subject.extrapolation.held_out
    if not backtests:
        return message("Too few budgets before the last decade.")
    count = len(backtests)
    figure, all_axes = panels(count, width=7.6 if count < 2 else 6.6 * count, height=5.0)
    for axes, held_out in zip(all_axes, backtests, strict=True):
        label, formatter = (LOSS_LABEL, plain()) if held_out.y == "loss" else (RETURN_LABEL, thousands())
        for test in held_out.tests:
            colour, text = _COLOURS[test.form], f"{test.form}: {np.expm1(test.error):+.0%}".replace("-", "\u2212")
            axes.plot(test.flops_G, test.value_G, lw=1.8, color=colour, label=text)
            beyond = test.flops_G >= held_out.fitted[-1][0]
            interval = test.low_G[beyond], test.high_G[beyond]
            axes.fill_between(test.flops_G[beyond], *interval, color=colour, alpha=0.13, lw=0)
        axes.plot(*zip(*held_out.fitted, strict=True), "o", ms=5.5, color=INK, label="fitted", zorder=4)
        hollow = {"ms": 6, "mfc": "white", "mec": INK, "mew": 1.4}
        axes.plot(*zip(*held_out.held_out, strict=True), "o", label="held out", zorder=4, **hollow)
        points = [*held_out.fitted, *held_out.held_out]
        log_axis(axes.xaxis, [x for x, _ in points], power_of_ten(), gap=0.12)
        values = [y for _, y in points] + [float(value) for test in held_out.tests for value in test.value_G]
        log_axis(axes.yaxis, values, formatter)
        finish(axes, FLOPS_LABEL, label)
        legend(axes)
    heading(figure, f"{subject.fit.game}: backtest on the last decade of compute")
    return figure
