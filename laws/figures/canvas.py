"""What every figure shares: ink, labels, size, and how a figure becomes files."""

import io
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

DPI = 160
BLUE, ORANGE, GREEN, SKY, PURPLE = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7"
"""Of Okabe and Ito, told apart with every colour vision."""
GREY = "#8a8a8a"
INK = "#222222"

FLOPS_LABEL = "Training compute C (FLOPs)"
PARAMS_LABEL = "Parameters N"
SAMPLES_LABEL = "Samples D (steps of the expert)"
LOSS_LABEL = "Dev loss L (nats per step)"
RETURN_LABEL = "Mean return R (game score)"


@dataclass(frozen=True)
class Picture:
    """One figure, ready to be written."""

    name: str
    """What its files end with."""
    caption: str
    png: bytes
    pdf: bytes


def picture(name: str, caption: str, figure: Figure) -> Picture:
    """The figure as PNG and PDF."""
    png, pdf = io.BytesIO(), io.BytesIO()
    # Without dates and version strings the same rows give the same bytes.
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    figure.set_layout_engine("none")  # as laid out already
    FigureCanvasPdf(figure).print_pdf(pdf, metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return Picture(name, caption, png.getvalue(), pdf.getvalue())


def single() -> tuple[Figure, Axes]:
    """A figure of one panel."""
    figure = Figure(figsize=(7.6, 5.2), dpi=DPI, layout="constrained", facecolor="white")
    return figure, figure.add_subplot()


def empty(figure: Figure, text: str) -> Figure:
    """The figure with nothing but words."""
    figure.clear()
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=13, color=INK)
    return figure


def finish(axes: Axes, x: str, y: str, title: str) -> None:
    """Labels, grid and frame."""
    axes.set_xlabel(x, fontsize=10.5, color=INK)
    axes.set_ylabel(y, fontsize=10.5, color=INK)
    axes.set_title(title, fontsize=12, color=INK)
    axes.grid(True, which="major", color="#e4e4e4", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9.5, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
