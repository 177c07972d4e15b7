"""What several figures draw alike: laws with their bands, what they are compared with, and the colours of budgets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from laws.figures.axes import Form, log_axis, plain, power_of_ten, short
from laws.figures.canvas import BLUE, FLOPS_LABEL, GREY, INK, LOSS_LABEL, ORANGE, PARAMS_LABEL, SAMPLES_LABEL
from laws.fit.analysis import GameFit
from laws.fit.bootstrap import Method, Quantity
from laws.fit.isoflop import Profile
from laws.fit.power import PowerLaw
from laws.rows import published

COLOURS: dict[Method, str] = {"envelope": BLUE, "isoflop": ORANGE}
NAMES: dict[Method, str] = {"envelope": "least-loss cell", "isoflop": "parabola vertex"}
BUDGET_COLOURS = LinearSegmentedColormap.from_list(
    "budgets", ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39"]
)
"""Viridis without its lightest tenth, which is hard to see on white; the same order in grey."""


PANELS: tuple[tuple[Quantity, str, str, Form], ...] = (
    ("loss", "L", LOSS_LABEL, plain),
    ("params", "N", PARAMS_LABEL, short),
    ("samples", "D", SAMPLES_LABEL, short),
)
"""Of a figure of laws against compute: quantity, letter, label, how its numbers are written."""


@dataclass(frozen=True)
class Reference:
    """What the figures of a game are compared with."""

    expert: float | None = None
    """The expert's mean return."""
    other: GameFit | None = None
    """Another study of the game, its envelope drawn beside; without one the paper's laws are, where it has the game."""


def draw_law(axes: Axes, law: PowerLaw | None, over: Sequence[float], colour: str) -> None:
    """The line of `law` across `over`, the 95 % band of the line, and around it that of one more point."""
    if law is None:
        return
    grid = np.geomspace(min(over), max(over), 200)
    axes.plot(grid, law.predict(grid), "-", lw=1.8, color=colour, zorder=2)
    band, wider = law.band(grid), law.band(grid, new_point=True)
    if band is not None and wider is not None:
        axes.fill_between(grid, *band, color=colour, alpha=0.16, lw=0, zorder=1)
        axes.fill_between(grid, *wider, color=colour, alpha=0.06, lw=0, zorder=0)


def draw_reference(
    axes: Axes, game: str, y: Quantity, letter: str, over: Sequence[float], beside: Reference
) -> Sequence[tuple[float, float]]:
    """The other study's optima and law, or the line that the paper's measurements lie on, where budgets overlap.

    Returns the points drawn, which the axes must leave room for.
    """
    if beside.other is not None:
        law = beside.other.law(y, "envelope")
        if law is None:
            return ()
        axes.plot(*zip(*law.points, strict=True), "s", ms=4, mfc="none", mec=GREY, mew=1, zorder=3)
        grid = np.geomspace(law.points[0][0], law.points[-1][0], 100)
        label = f"beside:  {relation(letter, 'C', law.exponent)}"
        axes.plot(grid, law.predict(grid), "--", lw=1.4, color=GREY, label=label)
        return law.points
    line = published.law(game, y)
    if line is None:
        return ()
    low, high = max(min(over), line.budgets[0]), min(max(over), line.budgets[1])
    label = f"paper:  {relation(letter, 'C', line.exponent)}"
    grid = np.geomspace(low, high, 100) if low < high else np.array([])
    axes.plot(grid, line.predict(grid), ":", lw=1.6, color=INK, label=label)
    return ()


def relation(y: str, x: str, exponent: float) -> str:
    """y ~ x^exponent, as mathtext."""
    return f"${y} \\propto {x}^{{{exponent:.3f}}}$"


def budget_colours(found: Sequence[Profile]) -> tuple[LogNorm, Colormap]:
    """What makes a budget a colour."""
    return LogNorm(*_budget_range(found)), BUDGET_COLOURS


def budget_bar(figure: Figure, axes: Axes, found: Sequence[Profile]) -> None:
    """The bar that says which colour is which budget."""
    norm, colours = budget_colours(found)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, pad=0.02, aspect=32)
    log_axis(bar.ax, "y", _budget_range(found), power_of_ten, gap=0.13, margin=0.0)
    bar.set_label(FLOPS_LABEL, fontsize=10.5, color=INK)
    bar.ax.tick_params(labelsize=9.5, colors=INK)


def _budget_range(found: Sequence[Profile]) -> tuple[float, float]:
    low, high = found[0].flops, found[-1].flops
    return (low, high) if low < high else (low / 3, high * 3)
