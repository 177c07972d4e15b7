"""The figures of a game, those of the paper: profiles, laws, returns, and loss against return."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from laws import landscape
from laws.analysis import GameFit
from laws.axes import Form, log_axis, plain, power_of_ten, short, thousands
from laws.canvas import (
    BLUE,
    DPI,
    FLOPS_LABEL,
    GREY,
    INK,
    LOSS_LABEL,
    ORANGE,
    PARAMS_LABEL,
    RETURN_LABEL,
    SAMPLES_LABEL,
    Picture,
    empty,
    finish,
    picture,
    single,
)
from laws.isoflop import Cell, Profile, cells_of
from laws.power import Z95, PowerLaw
from laws.resample import METHODS, Method, Quantity

COLOURS: dict[Method, str] = {"envelope": BLUE, "isoflop": ORANGE}
NAMES: dict[Method, str] = {"envelope": "least-loss cell", "isoflop": "parabola vertex"}
BUDGET_COLOURS = LinearSegmentedColormap.from_list(
    "budgets", ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39"]
)
"""Viridis without its lightest tenth, which is hard to see on white; the same order in grey."""

PROFILES = (
    "IsoFLOP profiles: dev loss against parameters at each budget. Lines are parabolas in log N through the"
    " sizes near the best one; diamonds are their vertices."
)
LAWS = (
    "Loss, parameters and samples at the optimum against compute, with fitted power laws and the 95 %"
    " confidence bands of the lines."
)
RETURNS = (
    "Mean return of every cell against compute, and the power law through the greatest of each budget with its"
    " 95 % band. Bars are 95 % intervals of the mean over games."
)
LOSS_RETURN = (
    "Mean return against dev loss, coloured by compute, and the power law through the cells of least loss"
    " with its 95 % band."
)


def pictures(fit: GameFit) -> tuple[Picture, ...]:
    """The figures of one game, always all: one without data says so."""
    return (
        picture("profiles", PROFILES, _profiles(fit)),
        picture("laws", LAWS, _laws(fit)),
        picture("returns", RETURNS, _returns(fit)),
        picture("loss-return", LOSS_RETURN, _loss_return(fit)),
        *landscape.pictures(fit),
    )


def _profiles(fit: GameFit) -> Figure:
    figure, axes = single()
    if not fit.profiles:
        return empty(figure, "No losses to show.")
    norm, colours = _budgets(fit.profiles)
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
    _budget_bar(figure, axes, fit.profiles)
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


def _laws(fit: GameFit) -> Figure:
    figure = Figure(figsize=(13.2, 4.4), dpi=DPI, layout="constrained", facecolor="white")
    if not fit.profiles:
        return empty(figure, "No losses to show.")
    panels: tuple[tuple[Quantity, str, str, Form], ...] = (
        ("loss", "L", LOSS_LABEL, plain),
        ("params", "N", PARAMS_LABEL, short),
        ("samples", "D", SAMPLES_LABEL, short),
    )
    for axes, panel in zip(figure.subplots(1, 3), panels, strict=True):
        _law_panel(axes, fit, *panel)
    figure.suptitle(f"{fit.game}: compute-optimal loss, size and samples", fontsize=12, color=INK)
    return figure


def _law_panel(axes: Axes, fit: GameFit, y: Quantity, letter: str, label: str, form: Form) -> None:
    flops = [profile.flops for profile in fit.profiles]
    shown: list[float] = []
    for method in METHODS:
        optima = [(p.flops, p.best if method == "envelope" else p.vertex) for p in fit.profiles]
        points = [(c, float(getattr(optimum, y))) for c, optimum in optima if optimum is not None]
        law = fit.law(y, method)
        _draw_law(axes, law, flops, COLOURS[method])
        text = NAMES[method] + ("" if law is None else f":  {_relation(letter, 'C', law)}")
        _draw_points(axes, points, method, text)
        shown.extend(value for _, value in points)
        shown.extend([] if law is None else law.predict(np.array([flops[0], flops[-1]])).tolist())
    log_axis(axes, "x", flops, power_of_ten, gap=0.21)
    log_axis(axes, "y", shown, form)
    finish(axes, FLOPS_LABEL, label, "")
    axes.legend(frameon=False, fontsize=9)


def _returns(fit: GameFit) -> Figure:
    figure, axes = single()
    played = [cell for profile in fit.profiles for cell in profile.cells if cell.return_mean is not None]
    if not played:
        return empty(figure, "No returns were measured.")
    colour, law = COLOURS["envelope"], fit.law("return", "envelope")
    best = [cell for cell in (profile.best_return for profile in fit.profiles) if cell is not None]
    axes.plot(*_returns_by("flops", played), "o", ms=3.5, color=GREY, alpha=0.45, mew=0, label="trained cell")
    axes.plot(*_returns_by("flops", best), "o", ms=6, color=colour, label="best mean return", zorder=4)
    ends = [_interval(cell) for cell in best]
    for cell, (low, high) in zip(best, ends, strict=True):
        axes.plot([cell.flops, cell.flops], [low, high], "-", lw=1.3, color=colour, zorder=3)
    flops = [cell.flops for cell in played]
    _draw_law(axes, law, flops, colour)
    if law is not None:
        axes.plot([], [], color=colour, lw=1.8, label=_relation("R", "C", law))
    log_axis(axes, "x", flops, power_of_ten, gap=0.12)
    _return_axis(axes, played, [end for pair in ends for end in pair])
    finish(axes, FLOPS_LABEL, RETURN_LABEL, f"{fit.game}: return against compute")
    axes.legend(frameon=False, fontsize=9)
    return figure


def _loss_return(fit: GameFit) -> Figure:
    figure, axes = single()
    played = [cell for profile in fit.profiles for cell in profile.cells if cell.return_mean is not None]
    if not played:
        return empty(figure, "No returns were measured.")
    norm, colours = _budgets(fit.profiles)
    for profile in fit.profiles:
        colour = colours(norm(profile.flops))
        axes.plot(*_returns_by("loss", profile.cells), "o", ms=4.5, mew=0, color=colour, alpha=0.85)
    best = [cell for cell in fit.envelope if cell.return_mean is not None]
    ring = Line2D([], [], ls="", marker="o", ms=8, mfc="none", mec=INK, mew=1.2, label=NAMES["envelope"])
    axes.plot(*_returns_by("loss", best), ls="", marker="o", ms=8, mfc="none", mec=INK, mew=1.2)
    marks = [Line2D([], [], ls="", marker="o", ms=4.5, color=GREY, label="trained cell"), ring]
    if fit.correlation is not None:
        power = fit.correlation.power
        _draw_law(axes, power, [cell.loss for cell in best], INK)
        text = f"{_relation('R', 'L', power)},  $r = {fit.correlation.r:.2f}$ in logs"
        marks.append(Line2D([], [], color=INK, lw=1.8, label=text))
    log_axis(axes, "x", [cell.loss for cell in played], plain)
    axes.invert_xaxis()
    _return_axis(axes, played, [])
    finish(axes, f"{LOSS_LABEL}, falling to the right", RETURN_LABEL, f"{fit.game}: return against loss")
    axes.legend(handles=marks, frameon=False, fontsize=9, loc="upper left")
    _budget_bar(figure, axes, fit.profiles)
    return figure


def _returns_by(x: str, cells: Sequence[Cell]) -> tuple[list[float], list[float]]:
    """`x` and return of the cells that were played."""
    pairs = [(float(getattr(cell, x)), cell.return_mean) for cell in cells if cell.return_mean is not None]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _interval(cell: Cell) -> tuple[float, float]:
    """95 % interval of a cell's mean return; the mean itself where it has no standard error."""
    mean, half = cell.return_mean or 0.0, Z95 * (cell.return_se or 0.0)
    return mean - half, mean + half


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


def _draw_law(axes: Axes, law: PowerLaw | None, over: Sequence[float], colour: str) -> None:
    """The line of `law` with its band across `over`."""
    if law is None:
        return
    grid = np.geomspace(min(over), max(over), 200)
    axes.plot(grid, law.predict(grid), "-", lw=1.8, color=colour, zorder=2)
    band = law.band(grid)
    if band is not None:
        axes.fill_between(grid, *band, color=colour, alpha=0.13, lw=0, zorder=1)


def _relation(y: str, x: str, law: PowerLaw) -> str:
    return f"${y} \\propto {x}^{{{law.exponent:.3f}}}$"


def _return_axis(axes: Axes, cells: Sequence[Cell], ends: Sequence[float]) -> None:
    """Logarithmic where every return is positive; otherwise linear, so that no point is hidden."""
    values = [cell.return_mean for cell in cells if cell.return_mean is not None]
    if min(values) > 0:
        log_axis(axes, "y", [*values, *(end for end in ends if 3 * end >= min(values))], thousands)
        return
    low, high = min([*values, *ends]), max([*values, *ends])
    margin = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))


def _budgets(found: Sequence[Profile]) -> tuple[LogNorm, Colormap]:
    return LogNorm(*_budget_range(found)), BUDGET_COLOURS


def _budget_range(found: Sequence[Profile]) -> tuple[float, float]:
    low, high = found[0].flops, found[-1].flops
    return (low, high) if low < high else (low / 3, high * 3)


def _budget_bar(figure: Figure, axes: Axes, found: Sequence[Profile]) -> None:
    norm, colours = _budgets(found)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, pad=0.02, aspect=32)
    log_axis(bar.ax, "y", _budget_range(found), power_of_ten, gap=0.13, margin=0.0)
    bar.set_label(FLOPS_LABEL, fontsize=10.5, color=INK)
    bar.ax.tick_params(labelsize=9.5, colors=INK)
