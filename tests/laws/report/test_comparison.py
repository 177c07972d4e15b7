"""Several studies in one report: laws side by side, and tests of their exponents."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from data.common.cli import UserError
from eval.results import ResultRow, write_rows
from laws.fitting.parametric import Surface
from laws.report.comparison import Study, difference, differences, holm
from laws.report.studies import named_tables, report_studies, short_name
from tests.laws.synthetic import command, fitted

BUDGETS = np.logspace(12, 15, 5)


def study(exponent: float, seed: int, noise: float = 0.01, budgets: np.ndarray = BUDGETS) -> list[ResultRow]:
    """Trainings of seven sizes about the optimum of each budget, whose loss is a sum of powers with equal exponents."""
    random, rows = np.random.default_rng(seed), []
    surface = Surface(0.0, 30.0, 30.0, exponent, exponent)
    for flops in budgets:
        best = float(surface.optimum(flops).params)
        for place, params in enumerate(np.geomspace(best / 4, best * 4, 7)):
            samples = flops / 6 / params
            loss = float(surface.predict(params, samples)) * math.exp(noise * random.normal())
            rows.append(ResultRow("game", f"{flops:g}-{place}", float(flops), round(params), round(samples), loss))
    return rows


@pytest.mark.slow
def test_equal_exponents_are_told_apart_in_one_of_twenty_studies_and_others_mostly() -> None:
    def share(other: float) -> float:
        found = [
            difference(*(fitted(study(exponent, 2 * seed + place), draws=200).found("loss", "isoflop")
                         for place, exponent in enumerate((0.3, other))))  # pyright: ignore[reportArgumentType]
            for seed in range(60)
        ]  # fmt: skip
        for value, interval, p in found:
            assert interval is not None
            assert p is not None
            assert (p < 0.05) == (not interval[0] <= 0 <= interval[1])
            assert interval[0] <= value <= interval[1]
        return float(np.mean([p < 0.05 for *_, p in found if p is not None]))

    # Of 60, 3 are expected with a standard deviation of 1.7.
    assert share(0.3) <= 8 / 60
    assert share(0.36) > 0.9


def test_the_difference_is_of_the_exponents_and_its_sign_turns_with_the_order() -> None:
    one, other = (fitted(study(exponent, seed), draws=200) for seed, exponent in enumerate((0.3, 0.45)))
    found = {(each.y, each.method): each for each in differences([Study("one", one), Study("other", other)])}
    turned = {(each.y, each.method): each for each in differences([Study("other", other), Study("one", one)])}
    assert ("return", "envelope") not in found
    for key, each in found.items():
        laws = one.found(each.y, each.method), other.found(each.y, each.method)
        assert laws[0] is not None
        assert laws[1] is not None
        assert each.value == laws[0].exponent - laws[1].exponent == -turned[key].value
        assert each.interval is not None
        assert turned[key].interval == pytest.approx((-each.interval[1], -each.interval[0]))
        assert each.p == pytest.approx(turned[key].p)
    assert found["loss", "isoflop"].p == pytest.approx(0, abs=1e-6)
    # With equal exponents in N and D, both grow as the root of C, whatever these are.
    assert (found["params", "isoflop"].p or 0) > 0.05


def test_holm_corrects_p_values_in_their_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_the_command_writes_one_report_of_all_studies(tmp_path: Path) -> None:
    for name, exponent in (("small", 0.3), ("large", 0.45)):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "runs.jsonl", study(exponent, 1))
    out = tmp_path / "out"
    words = [str(tmp_path / "small"), f"big={tmp_path / 'large' / 'runs.jsonl'}"]
    done = command("report", *words, "--out", str(out), "--bootstraps", "200", "--no-figures")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Dev loss L, isoFLOP: small less big" in done.stdout
    assert done.stdout.splitlines()[-1] == f"wrote {out / 'report.html'}"
    assert sorted(path.name for path in out.iterdir()) == [
        "comparison.json", "comparison.pdf", "comparison.png", "report.html",
    ]  # fmt: skip
    told = json.loads((out / "comparison.json").read_text())
    assert {law["study"] for law in told["laws"]} == {"small", "big"}
    page = (out / "report.html").read_text()
    assert ("Compute for the same result" in page) == bool(told["matches"])
    assert page.index("Laws side by side") < page.index("Do the exponents differ?") < page.index("<h2>small</h2>")
    assert "<h2>big</h2>" in page
    assert command("report", words[0], "--out", str(out)).stderr.startswith("error: a comparison needs two studies")


def test_studies_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    for name in ("a/study", "b/study"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "runs.jsonl").touch()
    folders = [str(tmp_path / name) for name in ("a/study", "b/study")]
    assert list(named_tables(folders)) == ["a/study", "b/study"]
    assert list(named_tables([f"x={folders[0]}", folders[1]])) == ["x", "b/study"]
    assert short_name(Path("one.csv"), [Path("one.csv"), Path("two.csv")]) == "one"
    with pytest.raises(UserError, match="two studies are called 'x'"):
        named_tables([f"x={folders[0]}", f"x={folders[1]}"])
    with pytest.raises(UserError, match=r"has no runs\.jsonl"):
        named_tables([str(tmp_path)])


def test_intervals_are_needed_for_a_test(tmp_path: Path) -> None:
    write_rows(tmp_path / "one.jsonl", study(0.3, 1))
    write_rows(tmp_path / "two.jsonl", study(0.3, 2))
    words = [str(tmp_path / name) for name in ("one.jsonl", "two.jsonl")]
    found = report_studies(words, tmp_path / "out", draws=0, figures=False)
    assert found.differences
    assert all(each.p is None and each.interval is None for each in found.differences)
