"""The paper's NetHack rows, read and fitted once; figures without rasterising them."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

import laws.figures
from laws.figures.style import Picture
from laws.fitting.analysis import Fit, fit
from laws.rows.runs import Runs, read


@pytest.fixture(scope="session")
def nethack_rows(paper: Path) -> Runs:
    return read([paper / "nethack.csv"])


@pytest.fixture(scope="session")
def nethack_fit(nethack_rows: Runs) -> Fit:
    return fit(nethack_rows, draws=400)


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are laid out and drawn, but not encoded, which takes most of the time."""

    def render(name: str, caption: str, figure: Figure) -> Picture:
        figure.draw_without_rendering()
        return Picture(name, caption, b"png", b"pdf")

    monkeypatch.setattr(laws.figures, "render", render)
