"""Mean return against dev loss."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from laws.figures.style import (
    GREY,
    INK,
    LOSS_LABEL,
    NAMES,
    RETURN_LABEL,
    Subject,
    budget_bar,
    budget_colours,
    draw_expert,
    draw_law,
    finish,
    legend,
    log_axis,
    message,
    panels,
    plain,
    relation,
    return_axis,
)
from laws.fitting.isoflop import Cell, cells_of

CAPTION = "Mean return against dev loss, coloured by compute, and the power law through the cells of least loss."


def draw(subject: Subject) -> Figure:
    """All cells, the cells of least loss ringed, and the law through these."""
    fit = subject.fit
    losses, returns = _points(cells_of(fit.profiles))
    if not losses:
        return message("No returns were measured.")
    figure, [axes] = panels()
    norm, colours = budget_colours(fit.profiles)
    for profile in fit.profiles:
        axes.plot(*_points(profile.cells), "o", ms=4.5, mew=0, color=colours(norm(profile.flops)), alpha=0.85)
    best = _points(fit.envelope)
    axes.plot(*best, ls="", marker="o", ms=8, mfc="none", mec=INK, mew=1.2, label=NAMES["envelope"])
    handles = [Line2D([], [], ls="", marker="o", ms=4.5, color=GREY, label="trained cell")]
    if fit.correlation is not None:
        power = fit.correlation.power
        draw_law(axes, power, best[0], INK)
        text = f"{relation('R', 'L', power.exponent)},  $r = {fit.correlation.r:.2f}$ in logs"
        handles.append(Line2D([], [], color=INK, lw=1.8, label=text))
    log_axis(axes.xaxis, losses, plain())
    axes.invert_xaxis()
    return_axis(axes, returns, draw_expert(axes, subject.reference))
    finish(axes, f"{LOSS_LABEL}, falling to the right", RETURN_LABEL, f"{fit.game}: return against loss")
    labelled, _ = axes.get_legend_handles_labels()
    legend(axes, [handles[0], *labelled, *handles[1:]], "upper left")
    budget_bar(figure, axes, fit.profiles)
    return figure


def _points(cells: Sequence[Cell]) -> tuple[list[float], list[float]]:
    """Loss and return of the cells that have a return."""
    pairs = [(cell.loss, cell.return_mean) for cell in cells if cell.return_mean is not None]
    return [loss for loss, _ in pairs], [value for _, value in pairs]
