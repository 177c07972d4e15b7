"""The files of a fit: complete, reproducible, written together or not at all; and the command that writes them."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from data.common.cli import UserError
from eval.results import write_rows
from laws.figures import laws, returns
from laws.figures.style import Reference, Subject, render
from laws.fitting.analysis import fit
from laws.report import outputs
from tests.laws.synthetic import command, only, sweep

# Bootstrap draws take most of the time and change nothing else.
fit_files, write_outputs = partial(outputs.fit_files, draws=0), partial(outputs.write_outputs, draws=0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs.jsonl and, in `out`, everything that is made of it."""
    folder = tmp_path_factory.mktemp("study")
    write_rows(folder / "runs.jsonl", sweep())
    fit_files([folder / "runs.jsonl"], out=folder / "out")
    return folder


def test_outputs_are_whole_and_the_same_every_time(study: Path, tmp_path: Path) -> None:
    write_outputs(list(reversed(sweep())), tmp_path / "again" / "deep")
    names = sorted(path.name for path in (study / "out").iterdir())
    figures = "profiles laws returns return-profiles loss-return contours residuals corner windows forecast scores"
    assert names == sorted(
        [
            "laws.json",
            "report.html",
            *(f"nethack-{figure}.{kind}" for figure in figures.split() for kind in ("pdf", "png")),
        ]
    )
    for name in names:
        again = (tmp_path / "again" / "deep" / name).read_bytes()
        if name == "report.html":  # the command of `study` names its folder
            again = again.split(b"<h2>How to")[0]
        assert (study / "out" / name).read_bytes().startswith(again)


def test_draws_are_the_same_every_time(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_outputs(sweep(), tmp_path / folder, draws=100, figures=False)
    for name in ("laws.json", "report.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


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


def test_names_are_printed_as_they_are(tmp_path: Path) -> None:
    """Half of a formula, characters outside of ASCII, and what has no code in UTF-8."""
    names = ["$x_{1$", "\u00e9", "\u00fc", "bad\ud800"]
    found = write_outputs([row for name in names for row in sweep(name)], tmp_path, draws=0, figures=False)
    assert [each.game for each in found.games] == sorted(names)
    assert "$x_{1$" in (tmp_path / "report.html").read_text()
    write_outputs([row for name in names[:3] for row in sweep(name)], tmp_path / "drawn", draws=0)
    for stem in ("x_-1", "\u00e9", "\u00fc"):
        assert (tmp_path / "drawn" / f"{stem}-laws.png").exists()


@pytest.mark.usefixtures("unrendered")
def test_one_game_is_fitted_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    lines = ["game,run,flops,params,samples,loss"]
    lines += [f"{r.game},{r.run},{r.flops},{r.params},{r.samples},{r.loss}" for r in sweep() + sweep("chess")]
    path.write_text("\n".join(lines))
    assert [each.game for each in fit_files([path], out=tmp_path / "one", game="chess").games] == ["chess"]
    assert (tmp_path / "one" / "chess-profiles.png").exists()
    with pytest.raises(UserError, match="--game"):
        fit_files([path], out=tmp_path / "two", expert=100.0)
    assert not (tmp_path / "two").exists()


@pytest.mark.slow
def test_another_study_is_drawn_beside(study: Path, tmp_path: Path) -> None:
    other, stranger = tmp_path / "other.jsonl", tmp_path / "stranger.jsonl"
    rows = [replace(row, loss=(row.loss or 0) * 1.3, flops=row.flops * 10) for row in sweep()]
    write_rows(other, rows)
    write_rows(stranger, sweep("chess"))
    fit_files([study / "runs.jsonl"], out=tmp_path / "beside", beside=[other])
    assert (tmp_path / "beside" / "laws.json").read_bytes() == (study / "out" / "laws.json").read_bytes()
    subject = Subject(only(fit(sweep(), draws=0)), Reference(other=only(fit(rows, draws=0))))
    for name, draw in (("laws", laws.draw), ("returns", returns.draw)):
        file = f"nethack-{name}.png"
        beside, alone = ((folder / file).read_bytes() for folder in (tmp_path / "beside", study / "out"))
        assert beside == render(name, "", draw(subject)).png
        assert beside != alone
    page = (tmp_path / "beside" / "report.html").read_text()
    assert f"--out {tmp_path / 'beside'} --beside {other} --bootstraps 0\n" in page
    with pytest.raises(UserError, match="--beside holds chess, not nethack"):
        fit_files([study / "runs.jsonl"], out=tmp_path / "none", beside=[stranger])


def test_without_figures_the_tables_are_the_same(study: Path, tmp_path: Path) -> None:
    path = study / "runs.jsonl"
    fit_files([path], out=tmp_path / "bare", figures=False)
    assert sorted(file.name for file in (tmp_path / "bare").iterdir()) == ["laws.json", "report.html"]
    assert (tmp_path / "bare" / "laws.json").read_bytes() == (study / "out" / "laws.json").read_bytes()
    page = (study / "out" / "report.html").read_text()
    assert "Ten times the compute" in page
    assert f"python -m laws fit {path} --out {study / 'out'}" in page
    assert hashlib.sha256(path.read_bytes()).hexdigest() in page


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


@pytest.mark.parametrize(
    ("module", "absent"),
    [("laws.report.outputs", ("jax", "flax", "optax", "nle")), ("laws.__main__", ("jax", "nle", "matplotlib"))],
)
def test_heavy_libraries_are_imported_only_where_they_are_used(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
