"""One law alone, with its points and its 95 % band."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from laws.figures.style import (
    BLUE,
    FLOPS_LABEL,
    LOSS_LABEL,
    PARAMS_LABEL,
    RETURN_LABEL,
    SAMPLES_LABEL,
    draw_law,
    finish,
    legend,
    log_axis,
    plain,
    power_of_ten,
    relation,
)
from laws.fitting.law import Law

_LABELS = {"loss": LOSS_LABEL, "params": PARAMS_LABEL, "return": RETURN_LABEL, "samples": SAMPLES_LABEL}


def draw_alone(law: Law, game: str, y: str, axes: Axes | None = None) -> Axes:
    """Draw `law` on `axes`, or on those of a new figure; returns the axes."""
    if axes is None:
        axes = plt.subplots(figsize=(7.6, 5.2), layout="constrained")[1]  # notebooks show the figures of pyplot
    x, values = zip(*law.power.points, strict=True)
    draw_law(axes, law, x, BLUE)
    symbol = {"loss": "L", "params": "N", "samples": "D", "return": "R"}.get(y, y)
    axes.plot(x, values, "o", ms=6, color=BLUE, label=f"{law.method}: {relation(symbol, 'C', law.exponent)}")
    log_axis(axes.xaxis, x, power_of_ten(), gap=0.12)
    log_axis(axes.yaxis, values, plain() if y == "loss" else power_of_ten())
    finish(axes, FLOPS_LABEL, _LABELS.get(y, y), f"{game}: {y} against compute")
    legend(axes)
    return axes
