"""Figures and report: drawn, readable by machines, safe and self-contained."""

import io
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from eval.results import ResultRow
from laws.figures.axes import log_ticks, power_of_ten, short, thousands
from laws.figures.canvas import Picture
from laws.figures.profiles import pictures
from laws.fitting.analysis import analyse
from laws.predict.forecast import outlook
from laws.report.outputs import write_outputs
from laws.report.report import Context, Stage, Table, render
from laws.rows.runs import read
from tests.laws.test_fit import sweep

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks nesting and keeps tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(rows: list[ResultRow], context: Context | None = None, *, draw: bool = False) -> tuple[str, Page]:
    """The report of `rows`; its figures are stand-ins, which are quicker, unless `draw`."""
    found = analyse(rows, draws=0)
    stands = (Picture("profiles", "A <caption>.", b"png", b"pdf"),) * 8
    outlooks = {each.game: outlook(each.profiles) for each in found.games if draw and each.profiles}
    text = render(found, {each.game: pictures(each) if draw else stands for each in found.games}, context, outlooks)
    return text, Page(text)


@pytest.fixture(scope="module")
def drawn() -> tuple[Picture, ...]:
    return pictures(analyse(sweep(), draws=100).games[0])


def test_figures_that_are_not_empty(drawn: tuple[Picture, ...]) -> None:
    names = ["profiles", "laws", "returns", "return-profiles", "loss-return"]
    names += ["contours", "residuals", "corner", "windows"]
    assert [picture.name for picture in drawn] == names
    for picture in drawn:
        assert picture.png.startswith(b"\x89PNG\r\n")
        assert picture.pdf.startswith(b"%PDF-")
        assert b"CreationDate" not in picture.pdf
        assert picture.caption.endswith(".")
        image = imread(io.BytesIO(picture.png), format="png")
        assert min(image.shape[:2]) > 600
        assert 0.01 < np.mean(image[..., :3].min(axis=-1) < 0.9) < 0.6


def test_figures_of_the_paper_are_drawn(paper: Path, tmp_path: Path) -> None:
    write_outputs(read([paper / "nethack.csv"]).rows, tmp_path, draws=0)
    assert len(list(tmp_path.glob("nethack-*.png"))) == 11
    found = Page((tmp_path / "report.html").read_text())
    assert found.tags["img"] == 11
    assert "0.605" in found.text


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(sweep()[:1], id="one cell"),
        pytest.param([row for row in sweep() if row.params < 50_000], id="two sizes"),
        pytest.param([replace(row, loss=None) for row in sweep()], id="no losses"),
        pytest.param([replace(row, return_mean=None, return_se=None) for row in sweep()], id="no returns"),
        pytest.param([replace(row, return_mean=(row.return_mean or 0) - 5) for row in sweep()], id="below zero"),
        pytest.param([replace(row, return_mean=0.0, return_se=0.0) for row in sweep()], id="all zero"),
        pytest.param([replace(row, return_se=None, episodes=None) for row in sweep()], id="no errors"),
    ],
)
def test_poor_rows_still_have_a_report(rows: list[ResultRow]) -> None:
    _, found = page(rows, draw=True)
    assert found.tags["img"] == 9


def test_the_report_needs_nothing_beside_it() -> None:
    text, found = page(sweep())
    assert text.startswith("<!DOCTYPE html>")
    assert "http:" not in text
    assert "https:" not in text
    assert not {"link", "iframe", "object", "base"} & set(found.tags)
    assert not {"fetch(", "XMLHttpRequest", "import("} & set(text.split())
    assert "url(" not in text
    assert "@import" not in text
    sources = [value or "" for name, value in found.attributes if name in ("src", "href")]
    assert sum(source.startswith("data:") for source in sources) == 8
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert sum(name == "alt" for name, _ in found.attributes) == 8


def test_the_report_says_what_was_found_beside_the_paper() -> None:
    _, found = page(sweep())
    for words in (
        "\u22120.172",
        "0.605",
        "0.395",
        "95 % interval",
        "Ten times the compute lowers",
        "Diagnostics",
    ):
        assert words in found.text
    text, _ = page(sweep("chess"))
    assert "Paper: the same fit" not in text


def test_the_report_has_both_colour_schemes() -> None:
    text, _ = page(sweep())
    assert "prefers-color-scheme: dark" in text


def test_diagnostics_stand_in_words() -> None:
    _, found = page([row for row in sweep() if row.params < 50_000])
    assert "few_sizes" in found.text
    assert "Only 2 of the 5 sizes that a parabola needs" in found.text


def test_the_context_of_a_reproduction_is_shown_and_escaped() -> None:
    context = Context(
        "Quick <start>",
        "From & to",
        "python -m laws reproduce <x>",
        (Table("Baselines", ("Player", "Mean"), (("expert <1>", "514.0"), ("random", "12")), "One note."),),
        (Stage("collect", 12.34), Stage("train", 125.0), Stage("play", 7200.0)),
    )
    text, found = page(sweep(), context)
    for words in (
        "Quick <start>",
        "From & to",
        "reproduce <x>",
        "Baselines",
        "expert <1>",
        "One note.",
        "514.0",
    ):
        assert words in found.text
    for words in ("12.3 s", "2 min 05 s", "2 h 00 min", "2 h 02 min"):
        assert words in found.text
    assert "<start>" not in text


def test_names_from_rows_are_escaped() -> None:
    rows = [replace(row, game="<i>g", run="<script>") for row in sweep()]
    text, found = page(rows)
    assert found.tags["script"] == 1, "the one that sorts tables"
    assert "<script>" in found.text
    assert "<i>g" not in text


@pytest.mark.parametrize("span", [0.01, 0.05, 0.2, 0.45, 0.6, 1.0, 1.5, 2.5, 5.0, 9.0, 30.0])
@pytest.mark.parametrize("start", [-3.3, -0.1, 0.0, 4.71, 13.9])
@pytest.mark.parametrize("gap", [0.09, 0.21])
def test_labels_of_logarithmic_axes_keep_apart(span: float, start: float, gap: float) -> None:
    major, minor = log_ticks(start, start + span, gap)
    where = (np.log10(major) - start) / span
    assert 2 <= len(major) <= 16
    assert np.all(where > -1e-9)
    assert np.all(where < 1 + 1e-9)
    assert np.min(np.diff(where)) >= 0.7 * gap - 1e-9
    assert all(10**start <= tick <= 10 ** (start + span) for tick in minor)


def test_numbers_on_axes() -> None:
    assert [short(x) for x in (188_793, 1_574_137, 3e9, 250, 2e12)] == ["188.8k", "1.574M", "3B", "250", "2T"]
    assert [thousands(x) for x in (0.5, 20, 4500, -3000)] == ["0.5", "20", "4,500", "-3,000"]
    assert [power_of_ten(x) for x in (1e14, 3e14)] == ["$10^{14}$", "$3\\times10^{14}$"]
