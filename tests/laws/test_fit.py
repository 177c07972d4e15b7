"""The fit of whole games: the paper's exponents, the contract of laws.json, returns, order and units."""

import hashlib
import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from agents.atari.cnn import of_params
from data.common.cli import UserError
from eval.results import ResultRow, write_rows
from laws.fit import analysis
from laws.fitting.analysis import Fit, GameFit
from laws.fitting.bootstrap import METHODS, QUANTITIES, Quantity
from laws.fitting.parametric import HOFFMANN
from laws.report.document import document
from laws.report.outputs import fit
from laws.report.outputs import write_outputs as write_all
from laws.fitting import published
from laws.rows.runs import read
from tests.laws.test_forecast import planted

# Draws of runs take most of the time and change nothing else.
analyse, write_outputs = partial(analysis.analyse, draws=0), partial(write_all, draws=0)

BUDGETS = (1e12, 3e12, 1e13, 3e13)
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)


def sweep(game: str = "nethack") -> list[ResultRow]:
    """A sweep whose optima are exact power laws: N = 0.001·C^0.6, L = 50·C^-0.15, R = 3·L^-2."""
    rows = []
    for flops in BUDGETS:
        centre, least = math.log10(1e-3 * flops**0.6), 50 * flops**-0.15
        for size in SIZES:
            loss = least * math.exp(0.2 * (math.log10(size) - centre) ** 2)
            samples = round(flops / 6 / size)
            rows.append(ResultRow(game, f"r{size}", flops, size, samples, loss, 0.01, 3 * loss**-2, 0.1, 64, seed=0))
    return rows


def only(found: Fit) -> GameFit:
    assert len(found.games) == 1
    return found.games[0]


@pytest.fixture(scope="module")
def nethack(paper: Path) -> GameFit:
    return only(analysis.analyse(read([paper / "nethack.csv"]).rows, draws=400))


@pytest.mark.parametrize(
    ("y", "exponent"), [("loss", -0.172), ("params", 0.605), ("samples", 0.395), ("return", 0.340)]
)
def test_the_paper_nethack_exponents(nethack: GameFit, y: Quantity, exponent: float) -> None:
    """If this fails, the envelope is no longer the best cell of each of the 22 budgets."""
    law = nethack.law(y, "envelope")
    assert law is not None
    assert round(law.exponent, 3) == exponent
    assert len(law.points) == 22
    assert law.exponent_ci is not None
    assert law.exponent_ci[0] < exponent < law.exponent_ci[1]


@pytest.mark.parametrize(
    ("y", "interval"),
    [
        ("loss", (-0.191, -0.153)),
        ("params", (0.546, 0.664)),
        ("samples", (0.336, 0.454)),
        ("return", (0.273, 0.408)),
    ],
)
def test_the_paper_nethack_intervals(nethack: GameFit, y: Quantity, interval: tuple[float, float]) -> None:
    law = nethack.law(y, "envelope")
    assert law is not None
    assert law.exponent_ci == pytest.approx(interval, abs=5e-4)


def test_runs_are_far_fewer_than_cells(nethack: GameFit) -> None:
    """The published 207 cells are 15 trainings: the interval of N widens to 0.36 to 0.67."""
    [law] = [law for law in nethack.laws if (law.y, law.method) == ("params", "envelope")]
    assert law.runs_ci == pytest.approx((0.36, 0.67), abs=0.015)
    assert analyse(sweep()).games[0].laws[0].runs_ci is None


def test_the_window_decides_the_paper_exponent(nethack: GameFit) -> None:
    of_loss = [
        c for c in nethack.choices if (c.y, c.method, c.form, c.weights) == ("loss", "envelope", "power", "equal")
    ]
    assert [(c.window[0], round(c.exponent, 3)) for c in of_loss] == [
        (1e14, -0.172),
        (1e15, -0.145),
        (1e16, -0.115),
        (1e17, -0.083),
        (1e18, -0.056),
    ]


def test_the_paper_vertices_share_compute_between_size_and_samples(nethack: GameFit) -> None:
    """C = 6·N·D in every published cell, so the exponents of N and D must add up to 1."""
    size, samples = nethack.law("params", "isoflop"), nethack.law("samples", "isoflop")
    assert size is not None
    assert samples is not None
    assert size.exponent + samples.exponent == pytest.approx(1, abs=1e-3)
    assert round(size.exponent, 3) == 0.576
    assert len(size.points) == 11


def test_the_paper_return_follows_the_loss(nethack: GameFit) -> None:
    assert nethack.correlation is not None
    assert round(nethack.correlation.r, 3) == -0.977
    assert round(nethack.correlation.power.exponent, 3) == -2.031


@pytest.mark.parametrize("game", published.LAWS)
def test_published_laws_are_those_of_the_published_measurements(paper: Path, game: str) -> None:
    found = only(analyse(read([paper / f"{game}.csv"]).rows, draws=0))
    for y, line in published.LAWS[game].items():
        law = found.law(y, "envelope")
        assert law is not None
        assert round(law.exponent, 3) == line.exponent
        ends = np.array(line.budgets)
        assert (law.points[0][0], law.points[-1][0]) == line.budgets
        np.testing.assert_allclose(line.predict(ends), law.predict(ends), rtol=4e-3)


def test_published_laws_are_found_whatever_the_case_of_the_name() -> None:
    found = published.law("breakout", "params")
    assert found is not None
    assert found.exponent == 0.727
    assert published.law("Pong", "params") is None


def test_a_sweep_with_exact_laws_gives_them_back() -> None:
    found = only(analyse(sweep()))
    for y, exponent, tolerance in (("loss", -0.15, 1e-9), ("params", 0.6, 1e-9), ("samples", 0.4, 1e-4)):
        law = next(law.power for law in found.laws if (law.y, law.method) == (y, "isoflop"))
        assert law.exponent == pytest.approx(exponent, abs=tolerance)
    assert found.correlation is not None
    assert found.correlation.power.exponent == pytest.approx(-2)
    assert found.correlation.r == pytest.approx(-1)


def test_the_document_keeps_the_contract() -> None:
    found = json.loads(json.dumps(document(analysis.analyse(sweep(), draws=200)), allow_nan=False))
    assert set(found) == {"laws", "profiles", "parametric", "correlation", "choices", "diagnostics"}
    [parametric] = found["parametric"]
    assert {"game", "E", "A", "B", "alpha", "beta", "objective", "intervals", "profile_E"} <= set(parametric)
    assert [(law["y"], law["method"]) for law in found["laws"] if law["form"] == "power"] == [
        *((y, method) for method in METHODS for y in QUANTITIES),
        ("params", "parametric"),
        ("samples", "parametric"),
    ]
    assert [(law["y"], law["method"]) for law in found["laws"] if law["form"] == "offset"] == [
        ("loss", method) for method in (*METHODS, "parametric")
    ]
    for law in found["laws"]:
        assert set(law) == {
            *("game", "y", "x", "method", "form", "coefficient", "exponent"),
            *("offset", "exponent_ci", "exponent_ci_method", "points", "exponent_ci_runs"),
        }
        assert (law["game"], law["x"]) == ("nethack", "flops")
        assert law["form"] == "offset" or law["offset"] == 0
        if law["method"] == "parametric":
            # The surface has the interval; its frontier has no points of its own.
            assert law["exponent_ci_runs"][0] <= law["exponent"] <= law["exponent_ci_runs"][1]
            continue
        low, high = law["exponent_ci"]
        assert low <= law["exponent"] <= high
        assert law["exponent_ci_method"] == {"power": "ols-t", "offset": "delta-t"}[law["form"]]
        assert [x for x, _ in law["points"]] == list(BUDGETS)
    assert [(each["game"], each["y"], each["x"]) for each in found["correlation"]] == [("nethack", "return", "loss")]
    assert {"r", "exponent"} <= set(found["correlation"][0])


def test_the_document_has_every_diagnostic_in_full() -> None:
    rows = [replace(row, return_mean=None) if row.flops == BUDGETS[0] else row for row in sweep()]
    for item in document(analyse(rows))["diagnostics"]:
        assert set(item) == {"code", "severity", "game", "flops", "message"}
        assert item["severity"] in ("info", "warning")


def test_the_order_of_rows_changes_not_one_bit() -> None:
    rows = sweep() + sweep("chess")
    shuffled = rows.copy()
    random.Random(0).shuffle(shuffled)
    assert document(analyse(rows)) == document(analyse(shuffled))


def test_units_of_compute_and_loss_change_no_exponent() -> None:
    found = only(analyse(sweep()))
    scaled = [replace(row, flops=row.flops / 1e15, loss=(row.loss or 0) / math.log(2)) for row in sweep()]
    other = only(analyse(scaled))
    for law in (law for law in found.laws if law.form == "power"):
        same = other.law(law.y, law.method)
        assert same is not None
        assert same.exponent == pytest.approx(law.power.exponent, rel=1e-7)


def test_returns_that_are_not_positive_are_left_out_and_never_clipped() -> None:
    first, second = BUDGETS[:2]
    rows = [replace(row, return_mean={first: -5.0, second: 0.0}.get(row.flops, row.return_mean)) for row in sweep()]
    found = analyse(rows)
    law = only(found).law("return", "envelope")
    assert law is not None
    assert [x for x, _ in law.points] == list(BUDGETS[2:])
    said = [item for item in found.diagnostics if item.code == "nonpositive_return" and "envelope" in item.message]
    assert [item.flops for item in said] == [first, second]
    assert "no_interval" in {item.code for item in found.diagnostics}


def test_rows_without_returns_still_give_the_other_laws() -> None:
    found = analyse([replace(row, return_mean=None, return_se=None) for row in sweep()])
    assert {law.y for law in only(found).laws} == {"loss", "params", "samples"}
    assert only(found).correlation is None
    assert {"no_return", "few_budgets", "unfittable"} <= {item.code for item in found.diagnostics}


def test_the_envelope_takes_the_greatest_return_and_says_so() -> None:
    rows = [replace(row, return_mean=1e6) if row.params == SIZES[-1] else row for row in sweep()]
    found = analyse(rows)
    law = only(found).law("return", "envelope")
    assert law is not None
    assert {y for _, y in law.points} == {1e6}
    assert "best_of_noisy" in {item.code for item in found.diagnostics}


def test_a_law_that_hangs_on_one_run_says_so() -> None:
    rows = sweep()
    spoilt = [
        replace(row, loss=(row.loss or 0) * 0.3) if (row.params, row.flops) == (SIZES[0], BUDGETS[-1]) else row
        for row in rows
    ]
    said = [item.message for item in analyse(spoilt).diagnostics if item.code == "one_run"]
    assert any("r10000" in message for message in said)


def test_one_budget_gives_no_law_and_says_so() -> None:
    found = analyse([row for row in sweep() if row.flops == BUDGETS[0]])
    assert only(found).laws == ()
    assert "few_budgets" in {item.code for item in found.diagnostics}


@pytest.mark.parametrize(("field", "code"), [("flop_convention", "mixed_convention"), ("protocol", "mixed_protocol")])
def test_rows_that_do_not_compare_are_named(field: str, code: str) -> None:
    rows = sweep()
    mixed = [replace(row, **{field: "ab"[i % 2]}) for i, row in enumerate(rows)]
    assert code in {item.code for item in analyse(mixed).diagnostics}
    assert code not in {item.code for item in analyse(rows).diagnostics}


def test_outputs_are_whole_and_the_same_every_time(tmp_path: Path) -> None:
    write_outputs(sweep(), tmp_path / "a", draws=100)
    write_outputs(list(reversed(sweep())), tmp_path / "b" / "deep", draws=100)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    figures = "profiles laws returns return-profiles loss-return contours residuals corner windows forecast scores"
    assert names == sorted(
        [
            "laws.json",
            "report.html",
            *(f"nethack-{figure}.{kind}" for figure in figures.split() for kind in ("pdf", "png")),
        ]
    )
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / "deep" / name).read_bytes()


def test_nothing_is_written_when_a_fit_fails(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="share files"):
        write_outputs(sweep("a/b") + sweep("a:b"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no result rows"):
        write_outputs([], tmp_path / "out")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match="can't be written"):
        write_outputs(sweep()[:1], tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def test_one_game_is_fitted_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    lines = ["game,run,flops,params,samples,loss"]
    lines += [f"{r.game},{r.run},{r.flops},{r.params},{r.samples},{r.loss}" for r in sweep() + sweep("chess")]
    path.write_text("\n".join(lines))
    assert [each.game for each in fit([path], out=tmp_path / "one", game="chess", draws=0).games] == ["chess"]
    assert (tmp_path / "one" / "chess-profiles.png").exists()
    with pytest.raises(UserError, match="--game"):
        fit([path], out=tmp_path / "two", expert=100.0)
    assert not (tmp_path / "two").exists()


def test_another_study_is_drawn_beside(tmp_path: Path) -> None:
    mine, other, stranger = (tmp_path / f"{name}.jsonl" for name in ("mine", "other", "stranger"))
    write_rows(mine, sweep())
    write_rows(other, [replace(row, loss=(row.loss or 0) * 1.3, flops=row.flops * 10) for row in sweep()])
    write_rows(stranger, sweep("chess"))
    figures = {}
    for name, beside in (("alone", []), ("beside", [other])):
        fit([mine], out=tmp_path / name, beside=beside, draws=0)
        figures[name] = [(tmp_path / name / f"nethack-{kind}.png").read_bytes() for kind in ("laws", "returns")]
        assert (tmp_path / name / "laws.json").read_bytes() == (tmp_path / "alone" / "laws.json").read_bytes()
    assert all(alone != beside for alone, beside in zip(*figures.values(), strict=True))
    told = (tmp_path / "beside" / "report.html").read_text()
    assert f"--out {tmp_path / 'beside'} --beside {other} --bootstraps 0\n" in told
    with pytest.raises(UserError, match="--beside holds chess, not nethack"):
        fit([mine], out=tmp_path / "none", beside=[stranger], draws=0)


def test_without_figures_the_tables_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    write_rows(path, sweep())
    fit([path], out=tmp_path / "drawn", draws=0)
    fit([path], out=tmp_path / "bare", draws=0, drawn=False)
    assert sorted(file.name for file in (tmp_path / "bare").iterdir()) == ["laws.json", "report.html"]
    assert (tmp_path / "bare" / "laws.json").read_bytes() == (tmp_path / "drawn" / "laws.json").read_bytes()
    told = (tmp_path / "drawn" / "report.html").read_text()
    assert "Ten times the compute" in told
    assert f"python -m laws fit {path} --out {tmp_path / 'drawn'}" in told
    assert hashlib.sha256(path.read_bytes()).hexdigest() in told


def test_vertices_and_offsets_have_intervals_by_run() -> None:
    """Around the truth, Hoffmann's law: N = 0.6·C^0.45 at the vertex, and what its loss falls to."""
    rows = planted(0.01, seed=3, sizes=9)
    found = analysis.analyse(rows, draws=200)
    profiles = only(found).profiles
    held = []
    for profile in profiles:
        assert profile.vertex is not None
        ends = profile.vertex.params_ci_runs
        assert ends is not None
        held.append(ends[0] / 1.2 <= float(HOFFMANN.optimum(profile.flops).params) <= ends[1] * 1.2)
    assert sum(held) >= len(held) - 2
    offsets = [law for law in only(found).laws if law.form == "offset"]
    assert {law.method for law in offsets} == {"envelope", "isoflop"}
    for law in offsets:
        assert law.runs_ci is not None
        assert law.runs_ci[0] <= law.power.exponent <= law.runs_ci[1]
    told = document(found)["profiles"]
    assert [each["flops"] for each in told] == sorted({row.flops for row in rows})
    assert all(each["vertex"]["params_ci_runs"] for each in told)


def test_intervals_by_run_that_are_wider_are_pointed_at(paper: Path) -> None:
    """The paper's 207 cells are 15 trainings: the interval of N is 0.12 wide or 0.31."""
    found = analysis.analyse(read([paper / "nethack.csv"]).rows, draws=200)
    said = [item.message for item in found.diagnostics if item.code == "intervals_differ"]
    assert any("params (envelope)" in message for message in said)
    alone = analysis.analyse(planted(0.01, seed=1), draws=200)
    assert "intervals_differ" not in {item.code for item in alone.diagnostics}


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "laws", *words], capture_output=True, text=True, check=False)


def test_the_command_fits_and_says_where(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    lines = [f"nethack,r{row.params},{row.flops},{row.params},{row.samples},{row.loss}" for row in sweep()]
    path.write_text("\n".join(["game,run,flops,params,samples,loss", *lines]))
    done = command("fit", str(path), "--out", str(tmp_path / "out"), "--bootstraps", "0", "--no-figures")
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    assert json.loads((tmp_path / "out" / "laws.json").read_text())["laws"]


def test_mistakes_on_the_command_line_exit_with_2(tmp_path: Path) -> None:
    done = command("fit", str(tmp_path / "absent.csv"), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "absent.csv" in done.stderr
    assert not (tmp_path / "out").exists()
    assert command("fit", "a.csv", "--out", "b", "--bogus", "1").returncode == 2


def test_fitting_needs_no_training_library() -> None:
    code = "import sys, laws.__main__; print([m for m in ('jax', 'flax', 'optax', 'nle') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("game", "given", "exact"),
    [
        ("Breakout", 0.727, 0.661),
        ("BankHeist", 0.427, 0.401),
        ("BattleZone", 0.413, 0.388),
        ("NameThisGame", 0.558, 0.513),
    ],
)
def test_the_overcount_of_convolutions_made_the_atari_exponents_larger(
    paper: Path, game: str, given: float, exact: float
) -> None:
    """The paper counts a convolution at its input's resolution: 17 times too much for the smallest network, 6 for the
    largest, so true compute grows faster over its budgets, and everything slower against it."""
    rows = []
    for row in read([paper / f"{game}.csv"]).rows:
        network = of_params(row.params)
        assert network is not None
        rows.append(replace(row, flops_exact=float(network.cost().train_flops("exact") * row.samples)))
    found = {
        (choice.convention, choice.budgets): choice.exponent
        for choice in only(analyse(rows)).choices
        if (choice.y, choice.method, choice.weights) == ("params", "envelope", "equal")
    }
    assert round(found["as given", 16], 3) == given
    assert round(found["exact", 16], 3) == exact
