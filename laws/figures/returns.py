"""Figures of the returns: against compute, against size at each budget, and against the loss."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from laws.figures.axes import log_axis, plain, power_of_ten, short, thousands
from laws.figures.canvas import (
    FLOPS_LABEL,
    GREEN,
    GREY,
    INK,
    LOSS_LABEL,
    PARAMS_LABEL,
    RETURN_LABEL,
    Picture,
    empty,
    finish,
    picture,
    single,
)
from laws.figures.marks import COLOURS, NAMES, Reference, budget_bar, budget_colours, draw_law, draw_reference, relation
from laws.fit.analysis import GameFit
from laws.fit.isoflop import Cell, cells_of, return_profiles
from laws.fit.power import Z95

RETURNS = (
    "Mean return of every cell against compute, and the power law through the greatest of each budget with its"
    " 95 % bands, of the line and of another budget. Bars are 95 % intervals of the mean over games."
)
RETURN_PROFILES = (
    "IsoFLOP profiles of the return: mean return against parameters at each budget. Lines are parabolas of log R in"
    " log N through the sizes near the best one; diamonds are their vertices."
)
LOSS_RETURN = (
    "Mean return against dev loss, coloured by compute, and the power law through the cells of least loss"
    " with its 95 % bands, of the line and of another cell."
)


def pictures(fit: GameFit, beside: Reference) -> tuple[Picture, ...]:
    """The figures of one game, always all: one without data says so."""
    return (
        picture("returns", RETURNS, _returns(fit, beside)),
        picture("return-profiles", RETURN_PROFILES, _return_profiles(fit, beside)),
        picture("loss-return", LOSS_RETURN, _loss_return(fit, beside)),
    )


def _return_profiles(fit: GameFit, beside: Reference) -> Figure:
    figure, axes = single()
    found = return_profiles(fit.profiles)
    if not found:
        return empty(figure, "No returns above 0 were measured.")
    norm, colours = budget_colours(fit.profiles)
    for profile in found:
        colour = colours(norm(profile.flops))
        axes.plot(*_returns_by("params", profile.cells), "o-", ms=4.5, mew=0, lw=0.7, color=colour, alpha=0.5)
        if profile.parabola is not None and profile.vertex is not None:
            grid = np.geomspace(*profile.parabola.window, 100)
            axes.plot(grid, 1 / profile.parabola.loss(grid), lw=1.4, color=colour)
            axes.plot(
                [profile.vertex.params],
                [1 / profile.vertex.loss],
                "D",
                ms=6,
                mfc="white",
                mec=colour,
                mew=1.6,
                zorder=4,
            )
    cells = cells_of(found)
    log_axis(axes, "x", [cell.params for cell in cells], short)
    _return_axis(axes, cells, _draw_expert(axes, beside))
    finish(axes, PARAMS_LABEL, RETURN_LABEL, f"{fit.game}: isoFLOP profiles of the return")
    marks = [Line2D([], [], ls="-", lw=0.7, marker="o", ms=4.5, color=GREY, label="trained cell")]
    if any(profile.vertex for profile in found):
        marks.append(Line2D([], [], color=GREY, label="parabola of log R in log N"))
        marks.append(Line2D([], [], ls="", marker="D", ms=6, mfc="white", mec=INK, label="vertex"))
    axes.legend(handles=marks, frameon=False, fontsize=9)
    budget_bar(figure, axes, fit.profiles)
    return figure


def _draw_expert(axes: Axes, beside: Reference) -> list[float]:
    """A line at the expert's mean return, which is returned, if it is known."""
    if beside.expert is None:
        return []
    axes.axhline(beside.expert, color=GREEN, lw=1.4, ls=(0, (6, 2)), zorder=1)
    place = axes.get_yaxis_transform()
    told = axes.text(0.01, beside.expert, "expert", transform=place, va="bottom", color=GREEN, fontsize=9, clip_on=True)
    told.set_in_layout(False)  # an expert beyond the axes takes no room
    return [beside.expert]


def _returns(fit: GameFit, beside: Reference) -> Figure:
    figure, axes = single()
    played = [cell for cell in cells_of(fit.profiles) if cell.return_mean is not None]
    if not played:
        return empty(figure, "No returns were measured.")
    colour, law = COLOURS["envelope"], fit.law("return", "envelope")
    best = [cell for cell in (profile.best_return for profile in fit.profiles) if cell is not None]
    axes.plot(*_returns_by("flops", played), "o", ms=3.5, color=GREY, alpha=0.45, mew=0, label="trained cell")
    axes.plot(*_returns_by("flops", best), "o", ms=6, color=colour, label="best mean return", zorder=4)
    ends = [_interval(cell) for cell in best]
    for cell, (low, high) in zip(best, ends, strict=True):
        axes.plot([cell.flops, cell.flops], [low, high], "-", lw=1.3, color=colour, zorder=3)
    flops = [cell.flops for cell in played]
    draw_law(axes, law, flops, colour)
    if law is not None:
        axes.plot([], [], color=colour, lw=1.8, label=relation("R", "C", law.exponent))
    others = draw_reference(axes, fit.game, "return", "R", flops, beside)
    log_axis(axes, "x", [*flops, *(x for x, _ in others)], power_of_ten, gap=0.12)
    shown = [*(end for pair in ends for end in pair), *_draw_expert(axes, beside), *(value for _, value in others)]
    _return_axis(axes, played, shown)
    finish(axes, FLOPS_LABEL, RETURN_LABEL, f"{fit.game}: return against compute")
    axes.legend(frameon=False, fontsize=9)
    return figure


def _loss_return(fit: GameFit, beside: Reference) -> Figure:
    figure, axes = single()
    played = [cell for cell in cells_of(fit.profiles) if cell.return_mean is not None]
    if not played:
        return empty(figure, "No returns were measured.")
    norm, colours = budget_colours(fit.profiles)
    for profile in fit.profiles:
        colour = colours(norm(profile.flops))
        axes.plot(*_returns_by("loss", profile.cells), "o", ms=4.5, mew=0, color=colour, alpha=0.85)
    best = [cell for cell in fit.envelope if cell.return_mean is not None]
    ring = Line2D([], [], ls="", marker="o", ms=8, mfc="none", mec=INK, mew=1.2, label=NAMES["envelope"])
    axes.plot(*_returns_by("loss", best), ls="", marker="o", ms=8, mfc="none", mec=INK, mew=1.2)
    marks = [Line2D([], [], ls="", marker="o", ms=4.5, color=GREY, label="trained cell"), ring]
    if fit.correlation is not None:
        power = fit.correlation.power
        draw_law(axes, power, [cell.loss for cell in best], INK)
        text = f"{relation('R', 'L', power.exponent)},  $r = {fit.correlation.r:.2f}$ in logs"
        marks.append(Line2D([], [], color=INK, lw=1.8, label=text))
    log_axis(axes, "x", [cell.loss for cell in played], plain)
    axes.invert_xaxis()
    _return_axis(axes, played, _draw_expert(axes, beside))
    finish(axes, f"{LOSS_LABEL}, falling to the right", RETURN_LABEL, f"{fit.game}: return against loss")
    axes.legend(handles=marks, frameon=False, fontsize=9, loc="upper left")
    budget_bar(figure, axes, fit.profiles)
    return figure


def _returns_by(x: str, cells: Sequence[Cell]) -> tuple[list[float], list[float]]:
    """`x` and return of the cells that were played."""
    pairs = [(float(getattr(cell, x)), cell.return_mean) for cell in cells if cell.return_mean is not None]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _interval(cell: Cell) -> tuple[float, float]:
    """95 % interval of a cell's mean return; the mean itself where it has no standard error."""
    mean, half = cell.return_mean or 0.0, Z95 * (cell.return_se or 0.0)
    return mean - half, mean + half


def _return_axis(axes: Axes, cells: Sequence[Cell], ends: Sequence[float]) -> None:
    """Logarithmic where every return is positive; otherwise linear, so that no point is hidden."""
    values = [cell.return_mean for cell in cells if cell.return_mean is not None]
    if min(values) > 0:
        log_axis(axes, "y", [*values, *(end for end in ends if 3 * end >= min(values))], thousands)
        return
    low, high = min([*values, *ends]), max([*values, *ends])
    margin = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))
