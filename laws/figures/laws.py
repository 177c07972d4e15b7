"""Loss, parameters and samples at the optimum of each budget against compute, with their laws."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from laws.figures.style import (
    BLUE,
    COLOURS,
    FLOPS_LABEL,
    LAW_PANELS,
    LOSS_LABEL,
    NAMES,
    PARAMS_LABEL,
    RETURN_LABEL,
    SAMPLES_LABEL,
    CountFormatter,
    Subject,
    draw_law,
    draw_reference,
    finish,
    heading,
    legend,
    literal,
    log_axis,
    message,
    panels,
    plain,
    power_of_ten,
    relation,
)
from laws.fitting.analysis import GameFit
from laws.fitting.isoflop import METHODS
from laws.fitting.law import Law

CAPTION = (
    "Loss, parameters and samples at the optimum against compute, with fitted power laws and their 95 %"
    " bands, by bootstrap of the study."
)
_LABELS = {"loss": LOSS_LABEL, "params": PARAMS_LABEL, "return": RETURN_LABEL, "samples": SAMPLES_LABEL}


def draw(subject: Subject) -> Figure:
    """One panel per quantity."""
    fit = subject.fit
    if not fit.profiles:
        return message("No losses to show.")
    figure, all_axes = panels(len(LAW_PANELS), width=13.2, height=4.4)
    flops = [profile.flops for profile in fit.profiles]
    for axes, (y, symbol, label, formatter) in zip(all_axes, LAW_PANELS, strict=True):
        values: list[float] = []
        for method in METHODS:
            law, colour = fit.law(y, method), COLOURS[method]
            draw_law(axes, fit.found(y, method), flops, colour)
            optima = [(p.flops, p.best if method == "envelope" else p.vertex) for p in fit.profiles]
            points = [(c, float(getattr(optimum, y))) for c, optimum in optima if optimum is not None]
            values += [value for _, value in points]
            if law is not None:
                values += law.predict(flops[:: max(len(flops) - 1, 1)]).tolist()
            if points:
                text = NAMES[method] + ("" if law is None else f":  {relation(symbol, 'C', law.exponent)}")
                mark, face = ("o", colour) if method == "envelope" else ("D", "white")
                style = {"ms": 5.5, "mew": 1.4, "mec": colour, "mfc": face, "zorder": 4}
                axes.plot(*zip(*points, strict=True), mark, label=text, **style)
        others = draw_reference(axes, fit.game, y, symbol, flops, subject.reference)
        log_axis(axes.xaxis, [*flops, *(x for x, _ in others)], power_of_ten(), gap=0.21)
        log_axis(axes.yaxis, [*values, *(value for _, value in others)], formatter())
        finish(axes, FLOPS_LABEL, label)
        legend(axes)
    heading(figure, f"{fit.game}: compute-optimal loss, size and samples")
    return figure


COMPARED = "Optima of each study against compute (envelope), with fitted power laws and their 95 % bands."


def draw_studies(studies: Sequence[tuple[str, GameFit]]) -> Figure:
    """One panel per quantity, with the laws of several studies by name."""
    played = any(fit.found("return", "envelope") for _, fit in studies)
    shown = [*LAW_PANELS, *([("return", "R", RETURN_LABEL, CountFormatter)] if played else [])]
    rows = 2 if played else 1
    figure, all_axes = panels(len(shown), rows=rows, width=4.4 * len(shown) / rows, height=4 * rows)
    for axes, (y, symbol, label, formatter) in zip(all_axes, shown, strict=True):
        flops: list[float] = []
        values: list[float] = []
        for place, (name, fit) in enumerate(studies):
            law, colour = fit.found(y, "envelope"), f"C{place % 10}"
            if law is None:
                continue
            x, points = zip(*law.power.points, strict=True)
            draw_law(axes, law, x, colour)
            text = f"{literal(name)}:  {relation(symbol, 'C', law.exponent)}"
            axes.plot(x, points, "o", ms=5, color=colour, zorder=4, label=text)
            flops, values = [*flops, *x], [*values, *points]
        if flops:
            log_axis(axes.xaxis, flops, power_of_ten(), gap=0.21)
            log_axis(axes.yaxis, values, formatter())
            legend(axes)
        finish(axes, FLOPS_LABEL, label)
    return figure


def draw_alone(law: Law, game: str, y: str, axes: Axes | None = None) -> Axes:
    """Draw `law` on `axes`, or on those of a new figure; returns the axes."""
    if axes is None:
        axes = plt.subplots(figsize=(7.6, 5.2), layout="constrained")[1]  # notebooks show the figures of pyplot
    x, values = zip(*law.power.points, strict=True)
    draw_law(axes, law, x, BLUE)
    symbol = {"loss": "L", "params": "N", "samples": "D", "return": "R"}.get(y, "y")
    axes.plot(x, values, "o", ms=6, color=BLUE, label=f"{law.method}: {relation(symbol, 'C', law.exponent)}")
    log_axis(axes.xaxis, x, power_of_ten(), gap=0.12)
    log_axis(axes.yaxis, values, plain() if y == "loss" else power_of_ten())
    finish(axes, FLOPS_LABEL, _LABELS.get(y, literal(y)), f"{game}: {y} against compute")
    legend(axes)
    return axes
