"""Tables as people have them: whatever the format, the encoding, the names of columns and the way of numbers."""

import gzip
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.common.cli import UserError
from eval.results import ResultRow
from laws.fitting.analysis import fit
from laws.fitting.parametric import fit_surface
from laws.rows.columns import field_of, match_columns, normalised, parse_columns
from laws.rows.numbers import scale_of
from laws.rows.runs import TableOptions, read, read_records
from tests.laws.rows.reading import read_bytes

FRAME = pd.DataFrame(
    {
        "game": ["cs336"] * 4,
        "run": ["a", "b", "c", "ä"],
        "flops": [6e18, 6e18, 3e19, 3e19],
        "params": [49_999_999, 123_969_849, 200_000_000, 307_370_470],
        "samples": [20_000_000_400, 8_066_477_519, 25_000_000_000, 16_267_014_852],
        "loss": [7.192784500319437, 6.406639752150447, 5.5, 5.25],
        "optimizer": ["adamw", "adamw", "sgd", "sgd"],
    }
)
NAMES = ("game", "run", "flops", "params", "samples", "loss")
ROWS = tuple(
    sorted(
        (ResultRow(**{name: row[name] for name in NAMES}) for row in FRAME.to_dict("records")),
        key=lambda row: (row.flops, row.params),
    )
)


def delimited(**options: Any) -> str:
    return str(FRAME.to_csv(index=False, **options))


def with_groups(mark: str) -> pd.DataFrame:
    sizes = {name: FRAME[name].map(lambda number: f"{number:,}".replace(",", mark)) for name in ("params", "samples")}
    return FRAME.assign(**sizes)


def packed(frame: pd.DataFrame, **options: Any) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file, **options)
    return file.getvalue()


def markdown(frame: pd.DataFrame) -> str:
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(object).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def with_r(frame: pd.DataFrame, separator: str, names: Sequence[object] = range(1, 5)) -> str:
    """As write.table of R writes it, whose column of row names has no name."""
    frame = frame.assign(run=[f"{name} 1" for name in frame["run"]])
    text = str(frame.set_axis(list(names)).to_csv(sep=separator, quoting=2))
    return text.removeprefix('""' + separator)


def of_wandb(row: dict[str, Any]) -> dict[str, Any]:
    config = {"parameters": row["params"], "tokens": {"desc": None, "value": row["samples"]}}
    summary = {"eval/loss": row["loss"], "total_flops": row["flops"], "_wandb": {"runtime": 5}}
    return {"name": row["run"], "state": "finished", "config": config, "summary": summary, "game": row["game"]}


RECORDS = FRAME.to_dict("records")
WAYS: dict[str, Callable[[], str | bytes]] = {
    "csv": delimited,
    "csv with an index": lambda: str(FRAME.to_csv()),
    "quoted": lambda: delimited(quoting=1),
    "blanks after commas": lambda: delimited().replace(",", ", "),
    "trailing commas": lambda: delimited().replace("\n", ",,\n"),
    "blank and comment lines": lambda: "# a sweep\n\n" + delimited().replace("\n", "\n\n# seen\n") + "\n \n",
    "tabs": lambda: delimited(sep="\t"),
    "tabs and decimal commas": lambda: delimited(sep="\t", decimal=","),
    "semicolons": lambda: delimited(sep=";"),
    "semicolons and decimal commas": lambda: delimited(sep=";", decimal=","),
    "commas and decimal commas": lambda: delimited(decimal=","),
    "bars": lambda: delimited(sep="|"),
    "blanks": lambda: delimited(sep=" "),
    "Excel's line": lambda: "sep=;\r\n" + delimited(sep=";", lineterminator="\r\n"),
    "Excel's line for tabs": lambda: "sep=\t\r\n" + delimited(sep="\t", lineterminator="\r\n"),
    "Windows' lines": lambda: delimited(lineterminator="\r\n"),
    "old Mac lines": lambda: delimited(lineterminator="\r"),
    "thousands": lambda: str(with_groups(",").to_csv(index=False)),
    "thousands by points": lambda: str(with_groups(".").to_csv(index=False, sep=";", decimal=",")),
    "thousands by blanks that don't break": lambda: str(with_groups("\u00a0").to_csv(index=False)),
    "thousands by thin blanks": lambda: str(with_groups("\u202f").to_csv(index=False)),
    "thousands by apostrophes": lambda: str(with_groups("'").to_csv(index=False)),
    "upper case": lambda: str(FRAME.rename(columns=str.upper).to_csv(index=False)),
    "units": lambda: str(FRAME.rename(columns={"flops": "C (FLOPs)", "loss": "Loss [nats]"}).to_csv(index=False)),
    "Markdown": lambda: markdown(FRAME),
    "printed by pandas": lambda: FRAME.to_string(float_format=lambda number: repr(float(number))),
    "byte order mark": lambda: delimited().encode("utf-8-sig"),
    "UTF-16": lambda: delimited().encode("utf-16"),
    "UTF-16 without mark": lambda: delimited().encode("utf-16-le"),
    "UTF-16 of the other order": lambda: delimited().encode("utf-16-be"),
    "Windows-1252": lambda: delimited().encode("cp1252"),
    "gzip": lambda: gzip.compress(delimited().encode()),
    "JSON rows": lambda: json.dumps(RECORDS),
    "JSON rows, printed": lambda: "\ufeff" + json.dumps(RECORDS, indent=2),
    "JSON rows beside other values": lambda: json.dumps({"made by": "me", "runs": RECORDS}),
    "JSON rows by name": lambda: json.dumps({row["run"]: row for row in RECORDS}),
    "JSON columns": lambda: json.dumps(FRAME.to_dict("list")),
    "JSON columns with one value for all": lambda: json.dumps({**FRAME.to_dict("list"), "game": "cs336"}, indent=1),
    "JSON lists": lambda: json.dumps([list(FRAME.columns), *FRAME.astype(object).to_numpy().tolist()]),
    "JSON lines": lambda: "\n".join(map(json.dumps, RECORDS)) + "\n\n",
    "JSON objects": lambda: "\n".join(json.dumps(row, indent=1) for row in RECORDS),
    **{
        f"pandas, {orient}": lambda orient=orient: str(FRAME.to_json(orient=orient, double_precision=15))
        for orient in ("records", "columns", "index", "split", "table")
    },
    "W&B": lambda: json.dumps([of_wandb(row) for row in RECORDS]),
    "W&B as lines": lambda: "\n".join(json.dumps(of_wandb(row)) for row in RECORDS),
    "W&B as a table": lambda: str(pd.json_normalize([of_wandb(row) for row in RECORDS]).to_csv(index=False)),
    "Parquet": lambda: packed(FRAME),
    "Parquet with an index": lambda: packed(FRAME.set_index("run")),
    "Parquet in groups": lambda: packed(FRAME, row_group_size=1),
    "Parquet of categories": lambda: packed(FRAME.astype({"game": "category", "optimizer": "category"})),
    "Parquet of floats": lambda: packed(FRAME.astype({"params": float, "samples": float})),
    "Parquet of structures": lambda: packed(pd.DataFrame([of_wandb(row) for row in RECORDS])),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_table_has_the_same_rows_however_it_is_saved(way: str, tmp_path: Path) -> None:
    content = WAYS[way]()
    path = tmp_path / "table"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read([path])
    assert found.rows == ROWS
    assert found.diagnostics == ()


@pytest.mark.parametrize("names", [range(1, 5), ("one", "two", "three", "four"), (11, 7, 9, 2)])
@pytest.mark.parametrize("separator", [" ", "\t"])
def test_row_names_without_a_column_are_no_values(separator: str, names: Sequence[object], tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text(with_r(FRAME, separator, names))
    assert read([path]).rows == tuple(replace(row, run=f"{row.run} 1") for row in ROWS)


def test_the_header_may_be_a_comment_as_numpy_writes_it(tmp_path: Path) -> None:
    columns = FRAME[["flops", "params", "samples", "loss"]].to_numpy()
    for delimiter in (" ", ",", "\t"):
        np.savetxt(tmp_path / "cs336.txt", columns, header=delimiter.join("CNDL"), delimiter=delimiter)
        found = read([tmp_path / "cs336.txt"])
        assert tuple(replace(row, run="") for row in found.rows) == tuple(replace(row, run="") for row in ROWS)


def test_a_frame_in_memory_has_the_same_rows() -> None:
    assert read_records(FRAME.to_dict("records")).rows == ROWS
    missing = FRAME.astype({"params": "Int64"}).assign(lr=pd.NA, batch=np.float32(8))
    assert read_records(missing.to_dict("records")).rows == tuple(replace(row, batch=8) for row in ROWS)


@given(st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=8, unique=True))
def test_parquet_and_csv_keep_every_digit(losses: list[float]) -> None:
    frame = pd.DataFrame({"C": 1e18, "N": range(10, 10 + len(losses)), "D": 7, "loss": losses})
    found = read_bytes(packed(frame))
    assert [row.loss for row in found.rows] == losses
    assert read_bytes(str(frame.to_csv(index=False)).encode()).rows == found.rows
    for separator in "\t;":
        assert read_bytes(str(frame.to_csv(index=False, sep=separator, decimal=",")).encode()).rows == found.rows


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        ("C N D loss", {"flops": "C", "params": "N", "samples": "D", "loss": "loss"}),
        ("Training FLOP,Model Size,loss", {"flops": "Training FLOP", "params": "Model Size", "loss": "loss"}),
        ("loss,train_loss,val/loss,n,c", {"loss": "loss", "params": "n", "flops": "c"}),
        ("train/loss,eval/loss,n,c", {"loss": "eval/loss", "params": "n", "flops": "c"}),
        ("config.loss,summary.loss,n,c", {"loss": "summary.loss", "params": "n", "flops": "c"}),
        ("metrics.val_loss,params.lr,tags.mlflow.runName", {"loss": "metrics.val_loss", "lr": "params.lr"}),
        ("Loss,loss (train),n", {"loss": "Loss", "params": "n"}),
        ("n_params,size,loss", {"params": "n_params", "size": "size", "loss": "loss"}),
        ("size,loss", {"params": "size", "loss": "loss"}),
        ("Name,State,Runtime,Δloss", {"run": "Name", "seconds": "Runtime"}),
    ],
)
def test_columns_are_known_by_their_common_names(names: str, fields: dict[str, str]) -> None:
    split = names.split(",") if "," in names else names.split()
    assert match_columns(split, {}, set(split)) == fields


def test_a_column_of_words_is_not_taken_for_a_size() -> None:
    assert match_columns(["C", "N", "loss", "data"], {}, {"C", "N", "loss"}) == {
        "flops": "C",
        "params": "N",
        "loss": "loss",
    }


def test_columns_may_be_named() -> None:
    table = b"C,N,perplexity,log loss\n1e18,5,9,2.5\n"
    assert read_bytes(table, "loss=LOG LOSS").rows[0].loss == 2.5
    assert read_bytes(table, "L=log loss").columns["loss"] == "log loss"
    both = b"C,N,loss (train),loss (dev)\n1e18,5,9,2.5\n"
    assert read_bytes(both, "loss=loss (dev)").rows[0].loss == 2.5
    with pytest.raises(UserError, match=r"both 'loss \(train\)' and 'loss \(dev\)' may be loss; choose with loss="):
        read_bytes(both)
    with pytest.raises(UserError, match="--columns: no column 'C2' for flops: the table has C, N, perplexity"):
        read_bytes(table, "flops=C2")
    for word, said in {"flops": "write FIELD=NAME", "speed=C": "no field 'speed'; the fields are game, run"}.items():
        with pytest.raises(UserError, match=said):
            parse_columns([word])
    with pytest.raises(UserError, match="flops stands twice"):
        parse_columns(["C=a", "flops=b"])
    # A column that is named as nothing is not looked for.
    assert read_bytes(b"C,N,D,loss\n6e18,5,1,9\n", "samples=").rows[0].samples == 200_000_000_000_000_000


@given(st.text(max_size=20))
def test_any_name_of_a_column_has_a_normal_form(name: str) -> None:
    assert isinstance(normalised(name), str)
    assert scale_of(name) > 0
    assert field_of(name) is None or field_of(name.upper()) == field_of(name)


def test_lines_break_only_where_a_table_breaks_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('run,C,N,loss,"notes"\nx\u2028y,1e18,5,3,"two\nlines"\nz\x0b,1e18,6,3,\n', newline="")
    assert [row.run for row in read([path]).rows] == ["x\u2028y", "z"]


def test_rows_that_lack_a_value_have_the_columns_of_the_others(tmp_path: Path) -> None:
    rows = [
        {"name": "crashed", "config": {"n": 5}, "summary": {}},
        {"name": "early", "config": {"n": 5}, "summary": {"c": 1e18, "train_loss": 9.0}},
        {"name": "done", "config": {"n": 5}, "summary": {"c": 1e18, "train_loss": 3.0, "eval_loss": 3.5}},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read([tmp_path / "a.jsonl"])
    # The loss of one column isn't filled up by that of another.
    assert [(row.run, row.loss) for row in found.rows] == [("done", 3.5), ("early", None)]
    assert [item.message for item in found.diagnostics if item.code == "incomplete_row"] == [
        f"1 row was left out: no flops ({tmp_path / 'a.jsonl'} line 1)."
    ]


def test_fractions_of_parameters_are_rounded() -> None:
    row = read_bytes(b"C,N,D,loss\n1e18,1000.6,700.4,3\n").rows[0]
    assert (row.params, row.samples) == (1001, 700)


def test_compute_is_counted_as_6nd_if_asked(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("C,N,D,loss\n1,10,7,3\n1,20,,3\n")
    found = read([tmp_path / "a.csv"], options=TableOptions(flops_from_6nd=True))
    assert [(row.flops, row.params) for row in found.rows] == [(420.0, 10)]
    assert [row.flops for row in read([tmp_path / "a.csv"]).rows] == [1.0]


def test_rows_of_each_value_are_games_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(delimited())
    for group in ("optimizer", "Optimizer"):
        found = read([tmp_path / "a.csv"], options=TableOptions(group=group))
        assert {row.game for row in found.rows} == {"cs336 (optimizer=adamw)", "cs336 (optimizer=sgd)"}
    assert len(read([tmp_path / "a.csv"], "cs336", options=TableOptions(group="optimizer")).rows) == 4
    with pytest.raises(UserError, match="--group speed: no such column; the table has game, run"):
        read([tmp_path / "a.csv"], options=TableOptions(group="speed"))


@pytest.mark.slow
def test_a_large_table_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"C": 1e18, "N": range(1, 200_001), "D": 5, "loss": 3.0})
    frame.to_csv(tmp_path / "large.csv", index=False)
    assert len(read([tmp_path / "large.csv"]).rows) == 200_000


@pytest.fixture
def law_cases(cases: Path) -> Path:
    return cases / "laws"


def test_every_saved_copy_of_a_sweep_has_its_72_rows(law_cases: Path) -> None:
    known = read([law_cases / "ROWS.CSV"]).rows
    assert len(known) == 72
    others = [
        path for path in sorted(law_cases.iterdir()) if path.suffix in (".csv", ".tsv") and "figure" not in path.name
    ]
    assert len(others) >= 9
    for path in others:
        found = read([path]).rows
        if path.name == "params_e.csv":  # its sizes have four digits
            assert [row.params for row in found] == [int(float(f"{row.params:.3e}")) for row in known]
            found = tuple(replace(row, params=other.params) for row, other in zip(found, known, strict=True))
        assert found == known, path.name


def test_a_published_sweep_without_tokens_has_its_exponents(law_cases: Path) -> None:
    rows = read([law_cases / "isoflops_curves.json"])
    assert len(rows.rows) == 72
    assert all(row.samples == round(row.flops / 6 / row.params) for row in rows.rows)
    assert {item.code for item in rows.diagnostics} == {"derived", "own_runs"}
    game = fit(rows, draws=0, choosing=False).games[0]
    exponents = [law.exponent for y in ("params", "samples") if (law := game.law(y, "isoflop"))]
    assert exponents == pytest.approx([0.513, 0.487], abs=5e-4)


@pytest.mark.parametrize("columns", [("flops=Training FLOP", "params=Model Size", "loss=loss"), ()])
def test_points_read_off_a_figure_have_their_law(columns: tuple[str, ...], law_cases: Path) -> None:
    rows = read([law_cases / "chinchilla-figure.csv"], options=TableOptions(columns=columns)).rows
    assert len(rows) == 245
    best = sorted(rows, key=lambda row: row.loss or 0.0)[:240]
    params, samples, loss = (
        np.array([getattr(row, name) for row in best], float) for name in ("params", "samples", "loss")
    )
    law = fit_surface(params, samples, loss, profiled=False).surface
    assert pytest.approx((1.8172, 477.8, 2143), rel=1e-3) == (law.E, law.A, law.B)
    assert (law.alpha, law.beta) == pytest.approx((0.34731, 0.36717), rel=1e-3)
