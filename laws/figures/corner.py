"""The parametric law in simulated studies: joint and marginal distributions of its exponents and E."""

import numpy as np
from matplotlib.figure import Figure

from laws.figures.style import BLUE, DPI, ORANGE, Subject, finish, heading, message

CAPTION = (
    "Exponents of N* and D* and the irreducible loss E over simulated studies: their distributions, and how they"
    " vary together. Lines mark the fit to the study itself."
)
_NAMES = {"params": "exponent of N*", "samples": "exponent of D*", "E": "irreducible loss E"}


def draw(subject: Subject) -> Figure:
    """Histograms on the diagonal, scatter plots below it."""
    fitted = subject.fit.parametric
    if fitted is None or len(fitted.draws) < 2:
        return message("No simulated studies.")
    figure = Figure(figsize=(7.6, 7.2), dpi=DPI, layout="constrained", facecolor="white")
    names, best = list(_NAMES), fitted.values
    for (row, column), axes in np.ndenumerate(figure.subplots(len(names), len(names))):
        if column > row:
            axes.set_visible(False)
            continue
        x, y = ([draw[names[place]] for draw in fitted.draws] for place in (column, row))
        if row == column:
            axes.hist(x, bins=30, color=BLUE, alpha=0.7)
            axes.set_yticks([])
        else:
            axes.scatter(x, y, s=4, color=BLUE, alpha=0.25, linewidths=0)
            axes.axhline(best[names[row]], color=ORANGE, lw=1.2)
        axes.axvline(best[names[column]], color=ORANGE, lw=1.2)
        bottom, left = row == len(names) - 1, column == 0 and row > 0
        finish(axes, _NAMES[names[column]] if bottom else "", _NAMES[names[row]] if left else "")
    title = f"{subject.fit.game}: the parametric law over {len(fitted.draws):,} simulated studies"
    heading(figure, title)
    return figure
