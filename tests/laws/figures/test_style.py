"""Logarithmic axes: labels that can be read, whatever the range."""

from itertools import pairwise

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import Formatter

from laws.figures.style import CountFormatter, finish, log_axis, panels, plain, power_of_ten, thousands


@pytest.mark.parametrize("span", [0.01, 0.05, 0.2, 0.5, 0.62, 0.9, 1.5, 2.5, 5.0, 9.0, 30.0])
@pytest.mark.parametrize("start", [-3.3, 0.7, 13.9])
def test_labels_of_logarithmic_axes_keep_apart(span: float, start: float) -> None:
    """Across a single panel, across one of three, and upwards, with the labels that these have in the figures."""
    of_count = CountFormatter if start + span < 30 else power_of_ten  # beyond the prefixes
    for (width, height), gap, across in (((7.6, 5.2), 0.09, of_count), ((4.4, 4.4), 0.21, power_of_ten)):
        figure, [axes] = panels(width=width, height=height)
        log_axis(axes.xaxis, [10**start, 10 ** (start + span)], across(), gap=gap)
        log_axis(axes.yaxis, [10**start, 10 ** (start + span)], thousands())
        finish(axes, "x", "y")
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        for axis, side in ((axes.xaxis, "x0"), (axes.yaxis, "y0")):
            low, high = axis.get_view_interval()
            labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            boxes = sorted((label.get_window_extent(renderer) for label in labels), key=lambda box: getattr(box, side))
            assert 2 <= len({label.get_text() for label in labels}) == len(labels) <= 16
            assert all(label.get_text() for label in labels)
            assert not any(one.overlaps(other) for one, other in pairwise(boxes))


@pytest.mark.parametrize(
    ("formatter", "values", "texts"),
    [
        (CountFormatter(), (250, 12_000, 5.6e6, 3e9, 2e12), ["250", "12k", "5.6M", "3B", "2T"]),
        (thousands(), (0.5, 20, 4500, 3e9), ["0.5", "20", "4,500", "3e+09"]),
        (plain(), (0.25, 1.5, 12), ["0.25", "1.5", "12"]),
    ],
)
def test_numbers_on_axes(formatter: Formatter, values: tuple[float, ...], texts: list[str]) -> None:
    assert [formatter(value) for value in values] == texts


def test_every_power_of_ten_and_multiple_is_labelled() -> None:
    _, [axes] = panels()
    log_axis(axes.xaxis, [1e14, 3e15], formatter := power_of_ten())
    for value, text in ((1e14, "10^{14}"), (3e14, "3\\times10^{14}")):
        assert text in formatter(value).replace(" ", "").replace("{\\times}", "\\times")
