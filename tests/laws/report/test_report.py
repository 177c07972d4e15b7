"""The report: readable by machines, safe and self-contained."""

from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from eval.results import ResultRow
from laws.figures import draw
from laws.figures.style import Picture, Subject
from laws.fitting.analysis import fit
from laws.predict.forecast import extrapolate
from laws.report.number import abbreviated
from laws.report.outputs import write_outputs
from laws.report.report import Context, Stage, render
from laws.report.tables import ReportTable
from laws.rows.runs import Runs
from tests.laws.predict.test_repeats import repeated
from tests.laws.synthetic import sweep

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


def page(rows: list[ResultRow], context: Context | None = None, *, drawn: bool = False) -> tuple[str, Page]:
    """The report of `rows`; its figures are stand-ins, which are quicker, unless `drawn`."""
    found = fit(rows, draws=0)
    stands = (Picture("profiles", "A <caption>.", b"png", b"pdf"),) * 8
    extrapolations = {each.game: extrapolate(each) for each in found.games if drawn and each.profiles}
    pictures = {each.game: tuple(draw(Subject(each))) if drawn else stands for each in found.games}
    text = render(found, pictures, context, extrapolations)
    return text, Page(text)


@pytest.mark.slow
def test_figures_of_the_paper_are_drawn(nethack_rows: Runs, tmp_path: Path) -> None:
    write_outputs(nethack_rows, tmp_path, draws=0)
    assert len(list(tmp_path.glob("nethack-*.png"))) == 11
    found = Page((tmp_path / "report.html").read_text())
    assert found.tags["img"] == 11
    assert "0.605" in found.text


@pytest.mark.slow
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
@pytest.mark.usefixtures("unrendered")
def test_poor_rows_still_have_a_report(rows: list[ResultRow]) -> None:
    _, found = page(rows, drawn=True)
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


def test_diagnostics_are_listed_in_words() -> None:
    _, found = page([row for row in sweep() if row.params < 50_000])
    assert "few_sizes" in found.text
    assert "Only 2 of the 5 sizes that a parabola needs" in found.text


def test_the_context_of_a_study_is_shown_and_escaped() -> None:
    context = Context(
        "Quick <start>",
        "From & to",
        "python -m laws reproduce <x>",
        (ReportTable("Baselines", ("Player", "Mean"), (("expert <1>", "514.0"), ("random", "12")), "One note."),),
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


def test_links_of_several_games_have_targets_of_their_own() -> None:
    _, found = page([*sweep(), *sweep("chess")])
    targets = [value for name, value in found.attributes if name == "id"]
    links = [value for name, value in found.attributes if name == "href"]
    assert len(targets) == len(set(targets)) == 2
    assert links == [f"#{target}" for target in targets]


def test_columns_of_numbers_are_aligned_and_the_best_rows_bold() -> None:
    table = ReportTable(
        "t", ("a", "b"), (("x", "1"), ("y", "\u22122 to 3"), ("z", "\u2013"), ("p", "< 0.0001")), bold=frozenset({1})
    )
    assert table.numeric == (False, True)
    text, _ = page(sweep(), Context("", tables=(table,)))
    assert '<tr class="best"><td>y</td><td class="number">' in text
    assert '<tr><td>x</td><td class="number">1</td></tr>' in text


def test_numbers_of_parameters_are_abbreviated() -> None:
    numbers = (188_793, 1_574_137, 3e9, 250, 2e12)
    assert [abbreviated(number) for number in numbers] == ["188.8k", "1.574M", "3B", "250", "2T"]


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize(
    ("half_life", "said"),
    [
        (5.0, "Samples are repeated, up to 40 times. By L(N, D')"),
        (1e9, "Samples are repeated, up to 40 times, without a cost that these losses show"),
    ],
)
def test_what_repetition_costs_is_said(half_life: float, said: str) -> None:
    html, _ = page(repeated(half_life, 0.01))
    assert said in html.replace("&#39;", "'")
