"""The figures of a game: a file per figure, and `style` for what they share."""

from collections.abc import Iterator

from laws.figures import (
    contours,
    corner,
    forecast,
    laws,
    loss_return,
    profiles,
    recount,
    residuals,
    returns,
    scores,
    settings,
    windows,
)
from laws.figures.style import Picture, Subject, render

FIGURES = (
    ("profiles", profiles.LOSS, profiles.draw_loss),
    ("laws", laws.CAPTION, laws.draw),
    ("returns", returns.CAPTION, returns.draw),
    ("return-profiles", profiles.RETURN, profiles.draw_return),
    ("loss-return", loss_return.CAPTION, loss_return.draw),
    ("contours", contours.CAPTION, contours.draw),
    ("residuals", residuals.CAPTION, residuals.draw),
    ("corner", corner.CAPTION, corner.draw),
    ("windows", windows.CAPTION, windows.draw),
    ("settings", settings.CAPTION, settings.draw),
    ("recount", recount.CAPTION, recount.draw),
    ("forecast", forecast.CAPTION, forecast.draw),
    ("scores", scores.CAPTION, scores.draw),
)
"""Name, caption, and the function from a `Subject` to a Matplotlib figure, None where it does not apply."""


def draw(subject: Subject) -> Iterator[Picture]:
    """Every figure that applies to `subject`, in the order of the report, as it is made."""
    figures = ((name, caption, function(subject)) for name, caption, function in FIGURES)
    return (render(name, caption, figure) for name, caption, figure in figures if figure is not None)
