"""The figure of how FLOPs are counted: the laws at the optima of each budget, by both counts, where they differ."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.cost import CONVENTIONS
from laws.figures.axes import Form, log_axis, power_of_ten
from laws.figures.canvas import (
    BLUE,
    DPI,
    FLOPS_LABEL,
    GREY,
    INK,
    ORANGE,
    Picture,
    finish,
    picture,
)
from laws.figures.marks import PANELS, draw_law, relation
from laws.fit.analysis import GameFit
from laws.fit.bootstrap import Quantity
from laws.fit.choices import attempt, recounted
from laws.fit.isoflop import Profile

RECOUNT = (
    "What the count of FLOPs does to the laws: the best trained cell of each budget at the compute that is given, and,"
    " joined to it, the same cell at what it costs by another count. Bands are 95 %."
)


def pictures(fit: GameFit) -> tuple[Picture, ...]:
    """The figure, if the rows state another count: of those the one that differs most from what is given."""
    counts = {name: recounted(fit.profiles, fit.rows, name) for name in CONVENTIONS}
    stated = {name: found for name, found in counts.items() if found}
    if not stated:
        return ()
    name = max(stated, key=lambda name: _change(fit.profiles, stated[name]))
    return (picture("recount", RECOUNT, _figure(fit, name, stated[name])),)


def _change(given: Sequence[Profile], counted: Sequence[Profile]) -> float:
    """The greatest factor between two counts of an optimum, as a logarithm."""
    return max(abs(math.log(a.best.flops / b.best.flops)) for a, b in zip(given, counted, strict=True))


def _figure(fit: GameFit, convention: str, counted: Sequence[Profile]) -> Figure:
    figure = Figure(figsize=(13.2, 4.4), dpi=DPI, layout="constrained", facecolor="white")
    for axes, panel in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        _panel(axes, fit.profiles, counted, convention, *panel)
    figure.suptitle(f"{fit.game}: the laws with FLOPs as given, and counted {convention}", fontsize=12, color=INK)
    return figure


def _panel(
    axes: Axes,
    given: Sequence[Profile],
    counted: Sequence[Profile],
    convention: str,
    y: Quantity,
    letter: str,
    label: str,
    form: Form,
) -> None:
    series = [
        [(profile.best.flops, float(getattr(profile.best, y))) for profile in profiles] for profiles in (given, counted)
    ]
    for pair in zip(*series, strict=True):
        axes.plot(*zip(*pair, strict=True), "-", lw=0.7, color=GREY, alpha=0.6, zorder=0)
    for points, colour, mark, name in zip(series, (BLUE, ORANGE), "oD", ("as given", convention), strict=True):
        law = attempt("power", points)
        flops, values = zip(*points, strict=True)
        draw_law(axes, law, flops, colour)
        told = name + ("" if law is None else f":  {relation(letter, 'C', law.exponent)}")
        face = colour if mark == "o" else "white"
        axes.plot(flops, values, mark, ms=5.5, mew=1.4, mec=colour, mfc=face, zorder=4, label=told)
    log_axis(axes, "x", [x for points in series for x, _ in points], power_of_ten, gap=0.21)
    log_axis(axes, "y", [value for points in series for _, value in points], form)
    finish(axes, FLOPS_LABEL, label, "")
    axes.legend(frameon=False, fontsize=9)
