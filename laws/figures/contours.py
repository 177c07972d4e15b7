"""The parametric law L(N, D) as contours, with the compute-optimal frontier."""

import numpy as np
from matplotlib.figure import Figure

from laws.figures.style import (
    GREY,
    ORANGE,
    PARAMS_LABEL,
    SAMPLES_LABEL,
    CountFormatter,
    Subject,
    finish,
    log_axis,
    message,
    panels,
)
from laws.fitting.isoflop import cells_of

CAPTION = (
    "Dev loss over parameters and samples by the parametric law L = E + A/N^a + B/D^b, with every trained cell and"
    " the compute-optimal frontier."
)


def draw(subject: Subject) -> Figure:
    """Contours of the loss, the cells coloured by theirs, and the frontier."""
    fit = subject.fit
    if fit.parametric is None:
        return message("Too few cells for a parametric law.")
    figure, [axes] = panels()
    surface = fit.parametric.fit.surface
    params, samples, losses = np.array([(cell.params, cell.samples, cell.loss) for cell in cells_of(fit.profiles)]).T
    n_G, d_G = (np.geomspace(values.min() / 1.5, values.max() * 1.5, 120) for values in (params, samples))
    levels = np.geomspace(losses.min(), losses.max(), 12)
    contours = axes.contour(
        n_G, d_G, surface.predict(n_G[None], d_G[:, None]), levels=levels, colors=GREY, linewidths=0.8
    )
    axes.scatter(params, samples, c=np.log(losses), cmap="viridis_r", s=18, linewidths=0, zorder=3)
    log_axis(axes.xaxis, n_G.tolist(), CountFormatter(), margin=0)
    log_axis(axes.yaxis, d_G.tolist(), CountFormatter(), margin=0)
    # Labels are placed on the axes' final scale.
    axes.clabel(contours, fmt="%.3g", fontsize=7.5)
    flops = np.geomspace(fit.profiles[0].flops / 100, fit.profiles[-1].flops * 100, 200)
    best = surface.optimum(flops, fit.parametric.price)
    axes.plot(best.params, best.samples, color=ORANGE, lw=2)
    inside = (best.params > n_G[0]) & (best.params < n_G[-1]) & (best.samples > d_G[0]) & (best.samples < d_G[-1])
    if inside.any():
        place = int(np.quantile(np.flatnonzero(inside), 0.85))
        where = best.params[place], best.samples[place]
        axes.annotate("frontier", where, (-8, 4), textcoords="offset points", ha="right", color=ORANGE, fontsize=10)
    finish(axes, PARAMS_LABEL, SAMPLES_LABEL, f"{fit.game}: loss over parameters and samples")
    return figure
