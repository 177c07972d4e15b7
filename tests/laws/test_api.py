"""`laws.fit`: any table in, one law out, with the same numbers as the command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

import laws
from data.common.cli import UserError
from eval.results import write_rows
from laws import Runs, fit
from laws.fitting.isoflop import METHODS, QUANTITIES
from laws.rows.runs import read_records
from laws.study.coverage import DESIGNS
from tests.laws.synthetic import command, sweep


@pytest.fixture(scope="module")
def noisy() -> pd.DataFrame:
    return pd.DataFrame([vars(row) for row in DESIGNS["7x6"].rows(np.random.default_rng(0))])


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame([vars(row) for row in sweep()])


def test_a_law_has_an_exponent_an_interval_predictions_and_a_plot(frame: pd.DataFrame, noisy: pd.DataFrame) -> None:
    exact = fit(frame, method="isoflop", draws=0)
    assert exact.exponent == pytest.approx(-0.15)
    assert exact.predict(1e14) == pytest.approx(50 * 1e14**-0.15)
    assert exact.predict([1e12, 1e13]).shape == (2,)
    assert exact.interval() is None
    assert exact.of("params").exponent == pytest.approx(0.6)
    law = fit(noisy, draws=200)
    low, high = law.interval() or (0, 0)
    assert low <= law.exponent <= high
    low, high = law.interval(at=1e17) or (0, 0)
    assert low <= law.predict(1e17) <= high
    axes = law.plot()
    assert len(axes.lines) >= 2
    ours = Figure().subplots()
    assert law.plot(ours) is ours
    assert law.parametric is not None


def test_tables_of_every_kind_have_the_same_law(frame: pd.DataFrame, tmp_path: Path) -> None:
    write_rows(tmp_path / "runs.jsonl", sweep())
    records = frame.to_dict("records")
    tables = [frame, records, pa.Table.from_pylist(records), sweep(), tmp_path / "runs.jsonl", [tmp_path / "runs.csv"]]
    tables.append(laws.read([tmp_path / "runs.jsonl"]))
    assert len({fit(table, draws=0).exponent for table in tables}) == 1


def test_numbers_are_those_of_the_command_line(paper: Path, tmp_path: Path) -> None:
    done = command("fit", str(paper / "Breakout.csv"), "--out", str(tmp_path), "--no-figures", "--bootstraps", "200")
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "laws.json").read_text())["laws"]
    law = fit(pd.read_csv(paper / "Breakout.csv"), draws=200)
    for y in QUANTITIES:
        for method in METHODS:
            own = law.of(y, method)
            [record] = [each for each in written if (each["y"], each["method"], each["form"]) == (y, method, "power")]
            assert own.exponent == record["exponent"]
            assert own.coefficient == record["coefficient"]
            assert list(own.interval() or ()) == (record["exponent_ci"] or [])


def test_a_column_of_ones_own_has_a_law_at_the_least_loss(noisy: pd.DataFrame) -> None:
    own = noisy.assign(accuracy=np.exp(-noisy.loss), C=noisy.flops).drop(columns=["return_mean", "return_se", "flops"])
    law = fit(own, y="accuracy", draws=200)
    best = own.loc[own.groupby("C").loss.idxmin()]
    assert np.array(law.law.power.points) == pytest.approx(np.array([best.C, best.accuracy]).T)
    slope = np.polyfit(np.log(best.C), np.log(best.accuracy), 1)[0]
    assert law.exponent == pytest.approx(slope)
    assert law.interval() is not None


def test_a_group_is_fitted_apart(frame: pd.DataFrame) -> None:
    both = pd.concat([frame.assign(optimizer="adam"), frame.assign(optimizer="muon", loss=frame.loss * 0.9)])
    law = fit(both, group="optimizer", game="nethack (optimizer=muon)", method="isoflop", draws=0)
    assert [each.game for each in law.games] == ["nethack (optimizer=adam)", "nethack (optimizer=muon)"]
    assert law.coefficient == pytest.approx(45)
    assert fit(both, filter="optimizer=adam", method="isoflop", draws=0).coefficient == pytest.approx(50)
    with pytest.raises(UserError, match="choose one with game="):
        fit(both, group="optimizer", draws=0).predict(1e14)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"y": "speed"}, "no column 'speed'"),
        ({"method": "best"}, "method='best': choose envelope, isoflop"),
        ({"columns": {"flops": "compute!"}}, "no column 'compute!' for flops: the table has"),
        ({"filter": "lr"}, "write NAME=VALUE"),
        ({"min_sizes": 1}, "min-sizes is 1: a parabola needs at least 3"),
        ({"bin": -1.0}, "bin is -1: give a number greater than 0"),
        ({"y": "lr", "method": "isoflop"}, "y='lr': a column has one law"),
    ],
)
def test_mistakes_are_one_line(frame: pd.DataFrame, options: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        fit(frame, draws=0, **options)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)


def test_every_table_takes_the_options_or_refuses_them(frame: pd.DataFrame) -> None:
    rows = read_records(frame.to_dict("records")).rows
    half = f"flops>={frame.flops.median():g}"
    expected = fit(frame, filter=half, draws=0).exponent
    assert expected != fit(frame, draws=0).exponent
    assert fit(rows, filter=half, draws=0).exponent == expected
    assert fit({name: frame[name].tolist() for name in frame}, filter=half, draws=0).exponent == expected
    for options in ({"filter": half}, {"group": "seed"}, {"columns": {"loss": "loss_se"}}, {"y": "epochs"}):
        with pytest.raises(UserError, match=r"not of what laws.read returns"):
            fit(Runs(rows), draws=0, **options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="50 simulated studies: an interval needs at least 100"):
        fit(frame, draws=50)
    with pytest.raises(UserError, match="columns of different lengths"):
        fit({"flops": [1e12], "loss": [1.0, 2.0]}, draws=0)


def test_a_law_that_the_rows_do_not_support_says_why(frame: pd.DataFrame) -> None:
    law = fit(frame[frame.params < 50_000], draws=0)
    with pytest.raises(UserError, match=r"no law of params .*Only 2 of the 5 sizes"):
        law.of("params", "isoflop").predict(1e14)


def test_a_forecast_takes_the_law(frame: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="are too few"):
        laws.forecast(fit(frame, draws=0), 1e15)
