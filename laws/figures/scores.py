"""The error of every form in rolling validation, by the smallest budget fitted."""

from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from laws.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    Subject,
    finish,
    heading,
    legend,
    log_axis,
    message,
    panels,
    power_of_ten,
)

CAPTION = (
    "Rolling validation: root mean squared error of each form as far beyond the budgets it was fitted to as the"
    " forecast is, by the smallest budget fitted. Hollow: its 95 % intervals covered fewer than four of five values."
)
_COLOURS = {
    "parametric": GREEN,
    "envelope power": BLUE,
    "envelope offset": ORANGE,
    "isoflop power": SKY,
    "isoflop offset": PURPLE,
    "envelope broken": INK,
    "isoflop broken": GREY,
    "envelope ceiling": ORANGE,
    "isoflop ceiling": PURPLE,
}


def draw(subject: Subject) -> Figure | None:
    """One panel per quantity; None without an extrapolation."""
    found = subject.extrapolation
    if found is None:
        return None
    scored = [
        (entries, name)
        for each, name in ((found.loss, "dev loss"), (found.returns, "mean return"))
        if (entries := [entry for entry in each.entries if entry.score])
    ]
    if not scored:
        return message("Too few budgets to hold any out.")
    figure, all_axes = panels(len(scored), width=7.6 if len(scored) < 2 else 6.6 * len(scored), height=5.0)
    for axes, (entries, name) in zip(all_axes, scored, strict=True):
        for form in dict.fromkeys(entry.form for entry in entries):
            of_form, colour = [entry for entry in entries if entry.form == form], _COLOURS[form]
            starts, errors = [entry.window[0] for entry in of_form], [100 * (entry.score or 0) for entry in of_form]
            axes.plot(starts, errors, lw=1.4, color=colour)
            inside = [colour if (entry.coverage or 0) >= 0.8 else "white" for entry in of_form]
            axes.scatter(starts, errors, s=36, c=inside, edgecolors=colour, linewidths=1.4, zorder=2)
            axes.plot([], [], "o-", ms=6, lw=1.4, color=colour, label=form)
        log_axis(axes.xaxis, [entry.window[0] for entry in entries], power_of_ten(), gap=0.12)
        errors = [min(100 * (entry.score or 0), 1e3) for entry in entries]
        log_axis(axes.yaxis, errors, StrMethodFormatter("{x:.3g} %"))
        finish(axes, "Smallest budget fitted (FLOPs)", f"Error of the predicted {name}")
        legend(axes)
    heading(figure, f"{subject.fit.game}: rolling validation")
    return figure
