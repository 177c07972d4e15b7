"""Figures that question the laws: the loss over N and D, what it leaves, draws of runs, and the window of the fit."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from laws.figures.axes import Form, log_axis, plain, power_of_ten, short
from laws.figures.canvas import (
    BLUE,
    DPI,
    FLOPS_LABEL,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PARAMS_LABEL,
    SAMPLES_LABEL,
    Picture,
    empty,
    finish,
    picture,
    single,
)
from laws.fit.analysis import Fitted, GameFit
from laws.fit.isoflop import Cell, cells_of

CONTOURS = (
    "Dev loss over parameters and samples by the parametric law L = E + A/N^a + B/D^b, with every trained cell, and"
    " the frontier on which a budget is best spent."
)
RESIDUALS = (
    "What the parametric law leaves of each loss, against parameters, samples and compute. A trend in any panel is a"
    " law of another shape."
)
CORNER = (
    "Exponents of N* and D* and the irreducible loss E in draws of runs: how they move together, and how far, had"
    " other trainings been made. Lines mark the fit."
)
WINDOWS = (
    "Exponent against the smallest budget that is fitted, with 95 % intervals. A power law would be level; a slope"
    " is the curve that it is fitted to."
)


def pictures(fit: GameFit) -> tuple[Picture, ...]:
    """The figures of one game, always all: one without data says so."""
    cells = cells_of(fit.profiles)
    return (
        picture("contours", CONTOURS, _contours(fit, cells)),
        picture("residuals", RESIDUALS, _residuals(fit, cells)),
        picture("corner", CORNER, _corner(fit)),
        picture("windows", WINDOWS, _windows(fit)),
    )


def _contours(fit: GameFit, cells: Sequence[Cell]) -> Figure:
    figure, axes = single()
    if fit.parametric is None:
        return empty(figure, "Too few cells for a parametric law.")
    surface = fit.parametric.fit.surface
    params, samples, losses = _columns(cells)
    spread = [np.geomspace(values.min() / 1.5, values.max() * 1.5, 120) for values in (params, samples)]
    n_GxG, d_GxG = np.meshgrid(*spread)
    levels = np.geomspace(losses.min(), losses.max(), 12)
    drawn = axes.contour(n_GxG, d_GxG, surface.predict(n_GxG, d_GxG), levels=levels, colors=GREY, linewidths=0.8)
    axes.scatter(params, samples, c=np.log(losses), cmap="viridis_r", s=18, linewidths=0, zorder=3)
    log_axis(axes, "x", spread[0].tolist(), short, margin=0)
    log_axis(axes, "y", spread[1].tolist(), short, margin=0)
    # Labels find their room on the axes' final scale.
    axes.clabel(drawn, fmt=plain, fontsize=7.5)
    flops = np.geomspace(fit.profiles[0].flops / 100, fit.profiles[-1].flops * 100, 200)
    best = surface.optimum(flops, fit.parametric.price)
    axes.plot(best.params, best.samples, color=ORANGE, lw=2)
    inside = (best.params > spread[0][0]) & (best.params < spread[0][-1])
    inside &= (best.samples > spread[1][0]) & (best.samples < spread[1][-1])
    if inside.any():
        place = int(np.quantile(np.flatnonzero(inside), 0.85))
        where = best.params[place], best.samples[place]
        axes.annotate("frontier", where, (-8, 4), textcoords="offset points", ha="right", color=ORANGE, fontsize=10)
    finish(axes, PARAMS_LABEL, SAMPLES_LABEL, f"{fit.game}: loss over parameters and samples")
    return figure


def _residuals(fit: GameFit, cells: Sequence[Cell]) -> Figure:
    figure = Figure(figsize=(13.2, 3.9), dpi=DPI, layout="constrained", facecolor="white")
    if fit.parametric is None:
        return empty(figure, "Too few cells for a parametric law.")
    params, samples, losses = _columns(cells)
    left = 100 * (losses / fit.parametric.fit.surface.predict(params, samples) - 1)
    flops = np.array([cell.flops for cell in cells])
    panels: tuple[tuple[np.ndarray, str, Form], ...] = (
        (params, PARAMS_LABEL, short),
        (samples, SAMPLES_LABEL, short),
        (flops, FLOPS_LABEL, power_of_ten),
    )
    for axes, (x, label, form) in zip(figure.subplots(1, 3, sharey=True), panels, strict=True):
        axes.axhline(0, color=INK, lw=1)
        axes.scatter(x, left, s=14, color=BLUE, alpha=0.55, linewidths=0)
        log_axis(axes, "x", x.tolist(), form, gap=0.2)
        finish(axes, label, "Loss above the law (%)" if x is params else "", "")
    figure.suptitle(f"{fit.game}: what the parametric law leaves", fontsize=12, color=INK)
    return figure


def _columns(cells: Sequence[Cell]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array([(cell.params, cell.samples, cell.loss) for cell in cells], float)
    return table[:, 0], table[:, 1], table[:, 2]


def _corner(fit: GameFit) -> Figure:
    fitted = fit.parametric
    if fitted is None or len(fitted.draws) < 2:
        return empty(single()[0], "No draws of runs.")
    figure = Figure(figsize=(7.6, 7.2), dpi=DPI, layout="constrained", facecolor="white")
    names = {"params": "exponent of N*", "samples": "exponent of D*", "E": "irreducible loss E"}
    grid = figure.subplots(3, 3)
    best = fitted.values
    for (row, column), axes in np.ndenumerate(grid):
        y, x = list(names)[row], list(names)[column]
        if column > row:
            axes.set_visible(False)
            continue
        _corner_panel(axes, fitted, x, y, best)
        finish(axes, names[x] if row == 2 else "", names[y] if column == 0 and row else "", "")
    figure.suptitle(f"{fit.game}: the parametric law in {len(fitted.draws):,} draws of runs", fontsize=12, color=INK)
    return figure


def _corner_panel(axes: Axes, fitted: Fitted, x: str, y: str, best: dict[str, float]) -> None:
    values = [draw[x] for draw in fitted.draws]
    if x == y:
        axes.hist(values, bins=30, color=BLUE, alpha=0.7)
        axes.set_yticks([])
    else:
        axes.scatter(values, [draw[y] for draw in fitted.draws], s=4, color=BLUE, alpha=0.25, linewidths=0)
        axes.axhline(best[y], color=ORANGE, lw=1.2)
    axes.axvline(best[x], color=ORANGE, lw=1.2)


def _windows(fit: GameFit) -> Figure:
    figure = Figure(figsize=(13.2, 4.2), dpi=DPI, layout="constrained", facecolor="white")
    chosen = [choice for choice in fit.choices if choice.weights == "equal" and choice.convention == "as given"]
    series = (("envelope", "power", BLUE), ("isoflop, ln loss", "power", ORANGE), ("envelope", "offset", GREEN))
    shown = {(choice.y, choice.method, choice.form) for choice in chosen}
    panels = [
        (y, letter)
        for y, letter in (("loss", "L"), ("params", "N"), ("return", "R"))
        if any((y, method, form) in shown for method, form, _ in series)
    ]
    if not panels:
        return empty(figure, "Too few budgets.")
    for axes, (y, letter) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        starts, ends = [], []
        for place, (method, form, colour) in enumerate(series):
            found = [c for c in chosen if (c.y, c.method, c.form) == (y, method, form)]
            if not found:
                continue
            # A little apart, so that no interval hides another.
            x = [choice.window[0] * 10 ** (0.06 * (place - 1)) for choice in found]
            axes.plot(
                x, [choice.exponent for choice in found], "o-", ms=5, lw=1.2, color=colour, label=f"{method}, {form}"
            )
            for at, choice in zip(x, found, strict=True):
                if choice.exponent_ci is not None:
                    axes.plot([at, at], choice.exponent_ci, color=colour, lw=1.2, alpha=0.6)
            starts += x
            ends += [choice.exponent for choice in found]
        log_axis(axes, "x", starts, power_of_ten, gap=0.2)
        middle, reach = float(np.median(ends)), max(float(np.ptp(ends)), 0.05)
        # An interval of two degrees of freedom would squeeze all others.
        axes.set_ylim(max(middle - 2 * reach, axes.get_ylim()[0]), min(middle + 2 * reach, axes.get_ylim()[1]))
        finish(axes, "Smallest budget fitted (FLOPs)", f"Exponent of {letter} against C", "")
        axes.legend(frameon=False, fontsize=9)
    figure.suptitle(f"{fit.game}: the exponent hangs on where the fit begins", fontsize=12, color=INK)
    return figure
