"""The figures of a game: here those of the loss, the others each in their module."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from laws.figures import landscape, recount, returns, settings
from laws.figures.axes import Form, log_axis, plain, power_of_ten, short
from laws.figures.canvas import (
    DPI,
    FLOPS_LABEL,
    GREY,
    INK,
    LOSS_LABEL,
    PARAMS_LABEL,
    Picture,
    empty,
    finish,
    picture,
    single,
)
from laws.figures.marks import (
    COLOURS,
    NAMES,
    PANELS,
    Reference,
    budget_bar,
    budget_colours,
    draw_law,
    draw_reference,
    relation,
)
from laws.fit.analysis import GameFit
from laws.fit.bootstrap import METHODS, Method, Quantity
from laws.fit.isoflop import Profile, cells_of

PROFILES = (
    "IsoFLOP profiles: dev loss against parameters at each budget. Lines are parabolas in log N through the"
    " sizes near the best one; diamonds are their vertices."
)
LAWS = (
    "Loss, parameters and samples at the optimum against compute, with fitted power laws and the 95 %"
    " bands: of the line, and around it of another budget."
)


def pictures(fit: GameFit, beside: Reference | None = None) -> tuple[Picture, ...]:
    """The figures of one game; those of settings and counts where there are several, of the others one without data."""
    beside = beside or Reference()
    return (
        picture("profiles", PROFILES, _profiles(fit)),
        picture("laws", LAWS, _laws(fit, beside)),
        *returns.pictures(fit, beside),
        *landscape.pictures(fit),
        *settings.pictures(fit),
        *recount.pictures(fit),
    )


def _profiles(fit: GameFit) -> Figure:
    figure, axes = single()
    if not fit.profiles:
        return empty(figure, "No losses to show.")
    norm, colours = budget_colours(fit.profiles)
    for profile in fit.profiles:
        colour = colours(norm(profile.flops))
        sizes, losses = [cell.params for cell in profile.cells], [cell.loss for cell in profile.cells]
        axes.plot(sizes, losses, "-", lw=0.7, color=colour, alpha=0.3)
        axes.plot(sizes, losses, "o", ms=4.5, mew=0, color=colour, alpha=0.9)
        _draw_parabola(axes, profile, colour)
    cells = cells_of(fit.profiles)
    log_axis(axes, "x", [cell.params for cell in cells], short)
    log_axis(axes, "y", [cell.loss for cell in cells], plain)
    finish(axes, PARAMS_LABEL, LOSS_LABEL, f"{fit.game}: isoFLOP profiles")
    axes.legend(handles=_profile_marks(fit.profiles), frameon=False, fontsize=9)
    budget_bar(figure, axes, fit.profiles)
    return figure


def _draw_parabola(axes: Axes, profile: Profile, colour: tuple[float, ...]) -> None:
    if profile.parabola is None:
        return
    grid = np.geomspace(*profile.parabola.window, 100)
    axes.plot(grid, profile.parabola.loss(grid), "-" if profile.vertex else "--", lw=1.4, color=colour, alpha=0.9)
    if profile.vertex is not None:
        point = ([profile.vertex.params], [profile.vertex.loss])
        axes.plot(*point, "D", ms=6, mfc="white", mec=colour, mew=1.6, zorder=4)


def _profile_marks(found: Sequence[Profile]) -> list[Line2D]:
    curves = [profile for profile in found if profile.parabola is not None]
    marks = [Line2D([], [], ls="", marker="o", ms=4.5, color=GREY, label="trained cell")]
    if any(profile.vertex is not None for profile in curves):
        marks.append(Line2D([], [], ls="-", color=GREY, label="parabola of log L in log N"))
        marks.append(Line2D([], [], ls="", marker="D", ms=6, mfc="white", mec=INK, label="vertex"))
    if any(profile.vertex is None for profile in curves):
        marks.append(Line2D([], [], ls="--", color=GREY, label="parabola, vertex not used"))
    return marks


def _laws(fit: GameFit, beside: Reference) -> Figure:
    figure = Figure(figsize=(13.2, 4.4), dpi=DPI, layout="constrained", facecolor="white")
    if not fit.profiles:
        return empty(figure, "No losses to show.")
    for axes, panel in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        _law_panel(axes, fit, beside, *panel)
    figure.suptitle(f"{fit.game}: compute-optimal loss, size and samples", fontsize=12, color=INK)
    return figure


def _law_panel(axes: Axes, fit: GameFit, beside: Reference, y: Quantity, letter: str, label: str, form: Form) -> None:
    flops = [profile.flops for profile in fit.profiles]
    shown: list[float] = []
    for method in METHODS:
        optima = [(p.flops, p.best if method == "envelope" else p.vertex) for p in fit.profiles]
        points = [(c, float(getattr(optimum, y))) for c, optimum in optima if optimum is not None]
        law = fit.law(y, method)
        draw_law(axes, law, flops, COLOURS[method])
        text = NAMES[method] + ("" if law is None else f":  {relation(letter, 'C', law.exponent)}")
        _draw_points(axes, points, method, text)
        shown.extend(value for _, value in points)
        shown.extend([] if law is None else law.predict(np.array([flops[0], flops[-1]])).tolist())
    others = draw_reference(axes, fit.game, y, letter, flops, beside)
    log_axis(axes, "x", [*flops, *(x for x, _ in others)], power_of_ten, gap=0.21)
    log_axis(axes, "y", [*shown, *(value for _, value in others)], form)
    finish(axes, FLOPS_LABEL, label, "")
    axes.legend(frameon=False, fontsize=9)


def _draw_points(axes: Axes, points: Sequence[tuple[float, float]], method: Method, label: str) -> None:
    if not points:
        return
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        ls="",
        marker="o" if method == "envelope" else "D",
        ms=5.5,
        mew=1.4,
        mec=COLOURS[method],
        mfc=COLOURS[method] if method == "envelope" else "white",
        zorder=4,
        label=label,
    )
