"""The style of all figures: colours, labels, logarithmic axes, laws with bands, and figures as files."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import (
    EngFormatter,
    Formatter,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)

from laws.fitting.analysis import GameFit
from laws.fitting.isoflop import Method, Profile, Quantity
from laws.fitting.law import Law
from laws.fitting.power import PowerLaw
from laws.predict import published
from laws.predict.forecast import Extrapolation

DPI = 160
BLUE, ORANGE, GREEN, SKY, PURPLE = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7"
"""From the palette of Okabe and Ito, distinguishable with any colour vision."""
GREY, INK = "#8a8a8a", "#222222"
BUDGET_COLOURS = LinearSegmentedColormap.from_list(
    "budgets", ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39"]
)
"""Viridis without its lightest tenth, which has too little contrast on white."""

COLOURS: dict[Method, str] = {"envelope": BLUE, "isoflop": ORANGE}
NAMES: dict[Method, str] = {"envelope": "least-loss cell", "isoflop": "parabola vertex"}

FLOPS_LABEL = "Training compute C (FLOPs)"
PARAMS_LABEL = "Parameters N"
SAMPLES_LABEL = "Samples D (steps of the expert)"
LOSS_LABEL = "Dev loss L (nats per step)"
RETURN_LABEL = "Mean return R (game score)"


class CountFormatter(EngFormatter):
    """250, 12k, 5.6M, 3B: `EngFormatter` with B for 10⁹, as parameters and samples are counted."""

    ENG_PREFIXES = EngFormatter.ENG_PREFIXES | {9: "B"}

    def __init__(self) -> None:
        super().__init__(sep="")


def plain() -> Formatter:
    """0.25, 1.5, 12."""
    return StrMethodFormatter("{x:.4g}")


def thousands() -> Formatter:
    """0.25, 12, 4,500, 3e+09."""
    return StrMethodFormatter("{x:,.9g}")


def power_of_ten() -> Formatter:
    """10¹⁴, 3 × 10¹⁴: at every tick."""
    return LogFormatterSciNotation(minor_thresholds=(np.inf, np.inf))


LAW_PANELS: tuple[tuple[Quantity, str, str, Callable[[], Formatter]], ...] = (
    ("loss", "L", LOSS_LABEL, plain),
    ("params", "N", PARAMS_LABEL, CountFormatter),
    ("samples", "D", SAMPLES_LABEL, CountFormatter),
)
"""Panels of a figure of laws against compute: quantity, symbol, label, tick formatter."""


@dataclass(frozen=True)
class Reference:
    """What the figures of a game are compared with."""

    expert: float | None = None
    """The expert's mean return."""
    other: GameFit | None = None
    """Another study of the game, whose envelope is drawn; by default the paper's laws, for the games it has."""


@dataclass(frozen=True)
class Subject:
    """What the figures of one game show."""

    fit: GameFit
    reference: Reference = Reference()
    extrapolation: Extrapolation | None = None
    """Forecasts and backtests; None leaves their figures out."""


@dataclass(frozen=True)
class Picture:
    """One rendered figure."""

    name: str
    """Suffix of its file names."""
    caption: str
    png: bytes
    pdf: bytes


def render(name: str, caption: str, figure: Figure) -> Picture:
    """The figure as PNG and PDF, without dates or versions: the same rows give the same bytes."""
    png, pdf = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    figure.set_layout_engine("none")  # keep the layout of the PNG
    FigureCanvasPdf(figure).print_pdf(pdf, metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return Picture(name, caption, png.getvalue(), pdf.getvalue())


def panels(
    count: int = 1, *, rows: int = 1, width: float = 7.6, height: float = 5.2, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in rows, side by side; sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, count // rows, sharey=share_y, squeeze=False).ravel().tolist()


def message(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(7.6, 5.2), dpi=DPI, facecolor="white")
    figure.text(0.5, 0.5, literal(text), ha="center", va="center", fontsize=13, color=INK)
    return figure


def literal(text: str) -> str:
    """A name that the user gave, in which Matplotlib reads no mathematics."""
    return text.replace("$", r"\$")


def heading(figure: Figure, text: str) -> None:
    """The title of a figure of several panels."""
    figure.suptitle(literal(text), fontsize=12, color=INK)


def finish(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Label the axes; draw grid and frame."""
    axes.set_xlabel(x, fontsize=10.5, color=INK)
    axes.set_ylabel(y, fontsize=10.5, color=INK)
    axes.set_title(literal(title), fontsize=12, color=INK)
    axes.grid(True, which="major", color="#e4e4e4", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9.5, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)


def legend(axes: Axes, handles: Sequence[Artist] | None = None, loc: Literal["best", "upper left"] = "best") -> None:
    """A legend of `handles`, or of everything labelled, on a translucent background."""
    shown = axes.get_legend_handles_labels()[0] if handles is None else handles
    axes.legend(handles=shown, loc=loc, fontsize=9, framealpha=0.75, edgecolor="none")


_SUBS = ((0.176, (1, 2, 3, 5)), (0.301, (1, 2, 5)), (0.477, (1, 3)))
"""Labelled multiples of each power of ten, and the least distance between them in decades."""


def log_axis(
    axis: Axis, values: Sequence[float], formatter: Formatter, *, gap: float = 0.09, margin: float = 0.06
) -> None:
    """Make `axis` logarithmic over the positive `values`.

    Args:
        axis: `Axes.xaxis` or `Axes.yaxis`.
        values: Their range, widened by `margin`, is the range of the axis.
        formatter: Of the tick labels.
        gap: Least distance between labels, as a fraction of the axis.
        margin: Margin at both ends, as a fraction of the range.
    """
    low, high = np.log10(min(values)), np.log10(max(values))
    pad = margin * (high - low) if high > low else 0.15
    axes, span = axis.axes, high - low + 2 * pad
    name = "x" if axis is axes.xaxis else "y"
    # Limits first: they end autoscaling, which a change of scale would run on whatever is drawn so far.
    axes.set(**{f"{name}lim": (10 ** (low - pad), 10 ** (high + pad))})
    axes.set(**{f"{name}scale": "log"})
    if span < 0.61:
        # Equal steps read better than multiples of powers of ten here.
        axis.set_major_locator(MaxNLocator(max(round(0.55 / gap), 2), steps=[1, 2, 5, 10]))
        axis.set_minor_locator(NullLocator())
    else:
        subs = next((subs for least, subs in _SUBS if least >= gap * span), (1,))
        # Whole decades have the shortest labels, which may stand closer.
        axis.set_major_locator(LogLocator(subs=subs, numticks=round(1 / (0.7 * gap))))
        axis.set_minor_locator(LogLocator(subs="auto"))
    axis.set_major_formatter(formatter)
    axis.set_minor_formatter(NullFormatter())


def draw_law(axes: Axes, law: Law | PowerLaw | None, over: Sequence[float], colour: str) -> None:
    """The line of `law` over the range of `over`, and the 95 % band of a `Law` by bootstrap of the study.

    There is no band where the study doesn't tell its noise.
    """
    if law is None:
        return
    power = law.power if isinstance(law, Law) else law
    grid = np.geomspace(min(over), max(over), 200)
    axes.plot(grid, power.predict(grid), "-", lw=1.8, color=colour, zorder=2)
    if isinstance(law, Law):
        places = np.geomspace(min(over), max(over), 21)
        ends = [law.interval_at(x) for x in places.tolist()]
        bounds = [each for each in ends if each is not None]
        if len(bounds) == len(ends):
            low, high = np.array(bounds).T
            axes.fill_between(places, low, high, color=colour, alpha=0.16, lw=0, zorder=1)


def draw_reference(
    axes: Axes, game: str, y: Quantity, symbol: str, over: Sequence[float], reference: Reference
) -> Sequence[tuple[float, float]]:
    """The other study's optima and law, or else the paper's law where its budgets overlap those of `over`.

    Returns the points drawn, which the limits of the axes must include.
    """
    if reference.other is not None:
        law = reference.other.law(y, "envelope")
        if law is None:
            return ()
        axes.plot(*zip(*law.points, strict=True), "s", ms=4, mfc="none", mec=GREY, mew=1, zorder=3)
        grid = np.geomspace(law.points[0][0], law.points[-1][0], 100)
        label = f"other study:  {relation(symbol, 'C', law.exponent)}"
        axes.plot(grid, law.predict(grid), "--", lw=1.4, color=GREY, label=label)
        return law.points
    line = published.law(game, y)
    if line is None:
        return ()
    low, high = max(min(over), line.budgets[0]), min(max(over), line.budgets[1])
    label = f"paper:  {relation(symbol, 'C', line.exponent)}"
    grid = np.geomspace(low, high, 100) if low < high else np.array([])
    axes.plot(grid, line.predict(grid), ":", lw=1.6, color=INK, label=label)
    return ()


def draw_expert(axes: Axes, reference: Reference) -> list[float]:
    """A line at the expert's mean return, labelled for the legend; returns the return, or [] where it is unknown."""
    if reference.expert is None:
        return []
    axes.axhline(reference.expert, color=GREEN, lw=1.4, ls=(0, (6, 2)), zorder=1, label="expert")
    return [reference.expert]


def return_axis(axes: Axes, returns: Sequence[float], ends: Sequence[float]) -> None:
    """Logarithmic where all returns are positive; otherwise linear, so that every point is shown.

    `ends` (of intervals, the expert's return) are included, on a logarithmic axis down to a third of the least return.
    """
    if min(returns) > 0:
        log_axis(axes.yaxis, [*returns, *(end for end in ends if 3 * end >= min(returns))], thousands())
        return
    low, high = min([*returns, *ends]), max([*returns, *ends])
    margin = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_formatter(thousands())


def relation(y: str, x: str, exponent: float) -> str:
    """y ∝ x^exponent, as mathtext."""
    return f"${y} \\propto {x}^{{{exponent:.3f}}}$"


def budget_colours(found: Sequence[Profile]) -> tuple[LogNorm, Colormap]:
    """The norm and colour map of budgets."""
    return LogNorm(*_budget_range(found)), BUDGET_COLOURS


def budget_bar(figure: Figure, axes: Axes, found: Sequence[Profile]) -> None:
    """The colour bar of budgets."""
    norm, colours = budget_colours(found)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, pad=0.02, aspect=32)
    log_axis(bar.ax.yaxis, _budget_range(found), power_of_ten(), gap=0.13, margin=0.0)
    bar.set_label(FLOPS_LABEL, fontsize=10.5, color=INK)
    bar.ax.tick_params(labelsize=9.5, colors=INK)


def _budget_range(found: Sequence[Profile]) -> tuple[float, float]:
    low, high = found[0].flops, found[-1].flops
    return (low, high) if low < high else (low / 3, high * 3)
