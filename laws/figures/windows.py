"""Exponents against the smallest budget that is fitted."""

import numpy as np
from matplotlib.figure import Figure

from laws.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
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
    "Exponent against the smallest budget fitted, with 95 % intervals. For an exact power law it would be constant;"
    " a trend means that the curve bends."
)
_SERIES = (("envelope", "power", BLUE), ("isoflop, ln loss", "power", ORANGE), ("envelope", "offset", GREEN))


def draw(subject: Subject) -> Figure:
    """One panel per quantity."""
    fit = subject.fit
    chosen = [choice for choice in fit.choices if choice.weights == "equal" and choice.convention == "as given"]
    there = {(choice.y, choice.method, choice.form) for choice in chosen}
    quantities = [
        (y, symbol)
        for y, symbol in (("loss", "L"), ("params", "N"), ("return", "R"))
        if any((y, method, form) in there for method, form, _ in _SERIES)
    ]
    if not quantities:
        return message("Too few budgets.")
    figure, all_axes = panels(len(quantities), width=13.2, height=4.2)
    for axes, (y, symbol) in zip(all_axes, quantities, strict=True):
        starts, exponents = [], []
        for place, (method, form, colour) in enumerate(_SERIES):
            found = [choice for choice in chosen if (choice.y, choice.method, choice.form) == (y, method, form)]
            if not found:
                continue
            # Side by side, so that no interval hides another.
            x = [choice.window[0] * 10 ** (0.06 * (place - 1)) for choice in found]
            values = [choice.exponent for choice in found]
            axes.plot(x, values, "o-", ms=5, lw=1.2, color=colour, label=f"{method}, {form}")
            for at, choice in zip(x, found, strict=True):
                if choice.exponent_ci is not None:
                    axes.plot([at, at], choice.exponent_ci, color=colour, lw=1.2, alpha=0.6)
            starts += x
            exponents += values
        log_axis(axes.xaxis, starts, power_of_ten(), gap=0.2)
        middle, reach = float(np.median(exponents)), max(float(np.ptp(exponents)), 0.05)
        # The interval of a fit with few degrees of freedom would compress all others.
        axes.set_ylim(max(middle - 2 * reach, axes.get_ylim()[0]), min(middle + 2 * reach, axes.get_ylim()[1]))
        finish(axes, "Smallest budget fitted (FLOPs)", f"Exponent of {symbol} against C")
        legend(axes)
    heading(figure, f"{fit.game}: exponents by the smallest budget fitted")
    return figure
