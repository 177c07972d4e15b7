"""The laws by two conventions of counting FLOPs, where rows state another one."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from laws.figures.style import (
    BLUE,
    FLOPS_LABEL,
    GREY,
    LAW_PANELS,
    ORANGE,
    Subject,
    draw_law,
    finish,
    heading,
    legend,
    log_axis,
    panels,
    power_of_ten,
    relation,
)
from laws.fitting.choices import COMPUTE, attempt, recounted
from laws.fitting.isoflop import Profile

CAPTION = (
    "Laws by two counts of FLOPs: the best trained cell of each budget at its compute as given and, joined by a line,"
    " at its compute by another convention."
)


def draw(subject: Subject) -> Figure | None:
    """One panel per quantity, with the convention that differs most from the FLOPs as given; None without another."""
    fit = subject.fit
    counts = {name: recounted(fit.profiles, fit.rows, COMPUTE[name]) for name in ("exact", "paper")}
    stated = {name: found for name, found in counts.items() if found}
    if not stated:
        return None
    convention = max(stated, key=lambda name: _change(fit.profiles, stated[name]))
    figure, all_axes = panels(len(LAW_PANELS), width=13.2, height=4.4)
    for axes, (y, symbol, label, formatter) in zip(all_axes, LAW_PANELS, strict=True):
        series = [
            [(profile.best.flops, float(getattr(profile.best, y))) for profile in profiles]
            for profiles in (fit.profiles, stated[convention])
        ]
        for pair in zip(*series, strict=True):
            axes.plot(*zip(*pair, strict=True), "-", lw=0.7, color=GREY, alpha=0.6, zorder=0)
        for points, colour, mark, name in zip(series, (BLUE, ORANGE), "oD", ("as given", convention), strict=True):
            law = attempt("power", points)
            flops, values = zip(*points, strict=True)
            draw_law(axes, law, flops, colour)
            text = name + ("" if law is None else f":  {relation(symbol, 'C', law.exponent)}")
            face = colour if mark == "o" else "white"
            axes.plot(flops, values, mark, ms=5.5, mew=1.4, mec=colour, mfc=face, zorder=4, label=text)
        log_axis(axes.xaxis, [x for points in series for x, _ in points], power_of_ten(), gap=0.21)
        log_axis(axes.yaxis, [value for points in series for _, value in points], formatter())
        finish(axes, FLOPS_LABEL, label)
        legend(axes)
    heading(figure, f"{fit.game}: laws with FLOPs as given and by the {convention} convention")
    return figure


def _change(given: Sequence[Profile], counted: Sequence[Profile]) -> float:
    """Greatest ratio between two counts of a best cell, as a logarithm."""
    return max(abs(math.log(a.best.flops / b.best.flops)) for a, b in zip(given, counted, strict=True))
