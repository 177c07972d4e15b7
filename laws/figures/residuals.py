"""Residuals of the parametric law against parameters, samples and compute."""

import numpy as np
from matplotlib.figure import Figure

from laws.figures.style import (
    BLUE,
    FLOPS_LABEL,
    INK,
    PARAMS_LABEL,
    SAMPLES_LABEL,
    CountFormatter,
    Subject,
    finish,
    heading,
    log_axis,
    message,
    panels,
    power_of_ten,
)
from laws.fitting.isoflop import cells_of

CAPTION = (
    "Residuals of the parametric law against parameters, samples and compute. A trend in any panel means that the law"
    " has another form."
)


def draw(subject: Subject) -> Figure:
    """One panel per variable."""
    fit = subject.fit
    if fit.parametric is None:
        return message("Too few cells for a parametric law.")
    figure, all_axes = panels(3, width=13.2, height=3.9, share_y=True)
    columns = np.array([(cell.params, cell.samples, cell.flops, cell.loss) for cell in cells_of(fit.profiles)]).T
    residual = 100 * (columns[3] / fit.parametric.fit.surface.predict(*columns[:2]) - 1)
    labels = (
        (PARAMS_LABEL, CountFormatter()),
        (SAMPLES_LABEL, CountFormatter()),
        (FLOPS_LABEL, power_of_ten()),
    )
    for axes, x, (label, formatter) in zip(all_axes, columns, labels, strict=False):
        axes.axhline(0, color=INK, lw=1)
        axes.scatter(x, residual, s=14, color=BLUE, alpha=0.55, linewidths=0)
        log_axis(axes.xaxis, x.tolist(), formatter, gap=0.2)
        finish(axes, label, "Loss above the law (%)" if axes is all_axes[0] else "")
    heading(figure, f"{fit.game}: residuals of the parametric law")
    return figure
