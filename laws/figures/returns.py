"""Mean return against compute, with the law of the greatest return of each budget."""

from matplotlib.figure import Figure

from laws.figures.style import (
    COLOURS,
    FLOPS_LABEL,
    GREY,
    RETURN_LABEL,
    Subject,
    draw_expert,
    draw_law,
    draw_reference,
    finish,
    legend,
    log_axis,
    message,
    panels,
    power_of_ten,
    relation,
    return_axis,
)
from laws.fitting.isoflop import Cell, cells_of
from laws.fitting.power import Z95

CAPTION = (
    "Mean return of every cell against compute, and the power law through the greatest of each budget with its"
    " its 95 % band by bootstrap of the study. Bars are 95 % intervals of the mean over games."
)


def draw(subject: Subject) -> Figure:
    """All cells, the best of each budget with its interval, and the law."""
    fit = subject.fit
    played = [(cell.flops, cell.return_mean) for cell in cells_of(fit.profiles) if cell.return_mean is not None]
    if not played:
        return message("No returns were measured.")
    figure, [axes] = panels()
    colour, law = COLOURS["envelope"], fit.found("return", "envelope")
    best = [cell for cell in (profile.best_return for profile in fit.profiles) if cell is not None]
    axes.plot(*zip(*played, strict=True), "o", ms=3.5, color=GREY, alpha=0.45, mew=0, label="trained cell")
    at = [cell.flops for cell in best], [cell.return_mean or 0.0 for cell in best]
    axes.plot(*at, "o", ms=6, color=colour, label="best mean return", zorder=4)
    intervals = [_interval(cell) for cell in best]
    axes.vlines(at[0], *zip(*intervals, strict=True), lw=1.3, color=colour, zorder=3)
    flops = [x for x, _ in played]
    draw_law(axes, law, flops, colour)
    if law is not None:
        axes.plot([], [], color=colour, lw=1.8, label=relation("R", "C", law.exponent))
    others = draw_reference(axes, fit.game, "return", "R", flops, subject.reference)
    log_axis(axes.xaxis, [*flops, *(x for x, _ in others)], power_of_ten(), gap=0.12)
    ends = [end for interval in intervals for end in interval]
    ends += [*draw_expert(axes, subject.reference), *(value for _, value in others)]
    return_axis(axes, [value for _, value in played], ends)
    finish(axes, FLOPS_LABEL, RETURN_LABEL, f"{fit.game}: return against compute")
    legend(axes)
    return figure


def _interval(cell: Cell) -> tuple[float, float]:
    """95 % interval of a cell's mean return; the mean itself without a standard error."""
    mean, half = cell.return_mean or 0.0, Z95 * (cell.return_se or 0.0)
    return mean - half, mean + half
