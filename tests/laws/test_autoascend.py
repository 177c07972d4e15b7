"""The rows of the study on AutoAscend's games give what README says of them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from laws.fitting.analysis import GameFit, fit
from laws.fitting.bootstrap import DRAWS
from laws.report.comparison import Study, side_by_side
from laws.report.matched import matches
from laws.rows.runs import read
from tests.laws.synthetic import only

LAWS = Path(__file__).resolve().parents[2] / "laws"
ROWS, TRIED = LAWS / "autoascend.jsonl", LAWS / "autoascend-tuning.jsonl"
README = (LAWS / "README.md").read_text()


def of(path: Path, draws: int = 0) -> GameFit:
    return only(fit(read([path]), draws=draws, choosing=False))


def table(first: str) -> Iterator[list[str]]:
    """The rows of the table whose header begins so, as cells."""
    for line in README.split(f"\n| {first} | ")[1].split("\n\n")[0].splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_rows_are_those_of_a_whole_sweep() -> None:
    rows = read([ROWS]).rows
    budgets = sorted({row.flops for row in rows})
    assert len(budgets) == 7
    for flops in budgets:
        assert len({row.params for row in rows if row.flops == flops}) == 5
    assert all(row.loss and row.return_mean and row.episodes == 40 for row in rows)
    assert len(read([TRIED]).rows) == 150


def test_exponents(paper: Path) -> None:
    studies = [Study("IsoPlay", of(ROWS)), Study("paper", of(paper / "nethack.csv"))]
    told = {tuple(cells[:2]): cells[2:] for cells in table("quantity")}
    for name, method, *exponents in side_by_side(studies).rows:
        assert [re.sub(r" \(.*", "", cell) for cell in told[name, method]] == exponents


def test_compute_for_the_same_result(paper: Path) -> None:
    studies = [Study("IsoPlay", of(ROWS, DRAWS)), Study("paper", of(paper / "nethack.csv", DRAWS))]
    matched = list(matches(studies))
    found = [(each.y, f"{each.first_flops:.2g}", f"{each.value:.3g}", f"{each.ratio:.0f}") for each in matched]
    names = {"dev loss": "loss", "mean return": "return"}
    assert [(names[y], flops, value, ratio) for y, flops, value, _, ratio, _ in table("reached")] == found
    for each, cells in zip(matched, table("reached"), strict=True):
        told = [float(end.replace(",", "")) for end in cells[-1].split(" to ")]
        assert told == pytest.approx(each.interval, rel=0.05)


@pytest.mark.parametrize("path", [ROWS, TRIED])
def test_rows_name_no_folder(path: Path) -> None:
    assert not re.search(r'"[^"]*/(root|home|tmp)/', path.read_text())
