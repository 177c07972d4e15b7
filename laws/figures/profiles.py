"""IsoFLOP profiles: loss, or return, against parameters at each budget."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from laws.figures.style import (
    GREY,
    INK,
    LOSS_LABEL,
    PARAMS_LABEL,
    RETURN_LABEL,
    CountFormatter,
    Subject,
    budget_bar,
    budget_colours,
    draw_expert,
    finish,
    legend,
    log_axis,
    message,
    panels,
    plain,
    return_axis,
)
from laws.fitting.isoflop import Profile, cells_of, return_profiles

LOSS = (
    "IsoFLOP profiles: dev loss against parameters at each budget. Lines are parabolas of log L in log N through the"
    " sizes near the best one; diamonds are their vertices."
)
RETURN = (
    "IsoFLOP profiles of the return: mean return against parameters at each budget. Lines are parabolas of log R in"
    " log N through the sizes near the best one; diamonds are their vertices."
)


def draw_loss(subject: Subject) -> Figure:
    """Dev loss against N."""
    found = subject.fit.profiles
    if not found:
        return message("No losses to show.")
    figure, [axes] = panels()
    _draw(axes, found, found, lambda loss: loss)
    cells = cells_of(found)
    log_axis(axes.xaxis, [cell.params for cell in cells], CountFormatter())
    log_axis(axes.yaxis, [cell.loss for cell in cells], plain())
    finish(axes, PARAMS_LABEL, LOSS_LABEL, f"{subject.fit.game}: isoFLOP profiles")
    legend(axes, _legend(found, "L"))
    budget_bar(figure, axes, found)
    return figure


def draw_return(subject: Subject) -> Figure:
    """Mean return against N; the profiles hold its inverse as their loss."""
    fit, found = subject.fit, return_profiles(subject.fit.profiles)
    if not found:
        return message("No returns above 0 were measured.")
    figure, [axes] = panels()
    _draw(axes, found, fit.profiles, lambda loss: 1 / loss)
    cells = cells_of(found)
    log_axis(axes.xaxis, [cell.params for cell in cells], CountFormatter())
    returns = [cell.return_mean for cell in cells if cell.return_mean is not None]
    return_axis(axes, returns, draw_expert(axes, subject.reference))
    finish(axes, PARAMS_LABEL, RETURN_LABEL, f"{fit.game}: isoFLOP profiles of the return")
    handles = [*_legend(found, "R"), *axes.get_legend_handles_labels()[0]]
    legend(axes, handles)
    budget_bar(figure, axes, fit.profiles)
    return figure


def _draw(
    axes: Axes, found: Sequence[Profile], budgets: Sequence[Profile], value: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Cells, parabolas and vertices, coloured by budget; `value` is what the y axis shows of their losses."""
    norm, colours = budget_colours(budgets)
    for profile in found:
        colour = colours(norm(profile.flops))
        sizes = np.array([cell.params for cell in profile.cells])
        losses = np.array([cell.loss for cell in profile.cells])
        axes.plot(*_means(sizes, losses, value), "-", lw=0.7, color=colour, alpha=0.3)
        axes.plot(sizes, value(losses), "o", ms=4.5, mew=0, color=colour, alpha=0.9)
        if profile.parabola is not None:
            grid = np.geomspace(*profile.parabola.window, 100)
            line = "-" if profile.vertex else "--"
            axes.plot(grid, value(profile.parabola.loss(grid)), line, lw=1.4, color=colour, alpha=0.9)
        if profile.vertex is not None:
            at = [profile.vertex.params], value(np.array([profile.vertex.loss]))
            axes.plot(*at, "D", ms=6, mfc="white", mec=colour, mew=1.6, zorder=4)


def _means(
    sizes: np.ndarray, losses: np.ndarray, value: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The sizes once each, and what is shown of the geometric mean of the losses of each."""
    each, place = np.unique(sizes, return_inverse=True)
    return each, value(np.exp(np.bincount(place, np.log(losses)) / np.bincount(place)))


def _legend(found: Sequence[Profile], symbol: str) -> list[Line2D]:
    curves = [profile for profile in found if profile.parabola is not None]
    handles = [Line2D([], [], ls="", marker="o", ms=4.5, color=GREY, label="trained cell")]
    if any(profile.vertex is not None for profile in curves):
        handles.append(Line2D([], [], ls="-", color=GREY, label=f"parabola of log {symbol} in log N"))
        handles.append(Line2D([], [], ls="", marker="D", ms=6, mfc="white", mec=INK, label="vertex"))
    if any(profile.vertex is None for profile in curves):
        handles.append(Line2D([], [], ls="--", color=GREY, label="parabola, vertex not used"))
    return handles
