"""Reading result rows: what is accepted, and that every mistake is one line naming file, line and remedy."""

import json
import random
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.common.cli import UserError
from eval.results import ResultRow, write_rows
from laws.fitting.checks import check_mixtures
from laws.rows import runs
from laws.rows.runs import Runs, read, read_records

HEADER = "game,run,flops,params,samples,loss"
ROW = ResultRow(
    *("nethack", "a", 1e14, 1000, 2000, 1.5, 0.01, -3.0, 0.5, 64),
    seed=-1,
    core="lstm",
    lr=1e-3,
    dtype="bfloat16",
    device="NVIDIA H100 80GB HBM3, TPU v5 lite",
)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_what_evaluation_writes_is_read_back_from_both_files(tmp_path: Path) -> None:
    rows = (ROW, ResultRow("nethack", "b", 1e14, 10_000, 200))
    write_rows(tmp_path / "runs.jsonl", rows)
    assert read([tmp_path / "runs.jsonl"]) == Runs(rows)
    assert read([tmp_path / "runs.csv"]) == Runs(rows)


def test_the_same_cell_twice_counts_once_and_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "runs.jsonl", [ROW])
    found = read([tmp_path / "runs.jsonl", tmp_path / "runs.csv"])
    assert found.rows == (ROW,)
    assert [item.code for item in found.diagnostics] == ["duplicate_row"]
    assert "runs.csv line 2" in found.diagnostics[0].message


def test_contradicting_rows_are_an_error(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [ROW])
    write_rows(tmp_path / "b.jsonl", [replace(ROW, loss=1.25)])
    with pytest.raises(UserError, match=r"b\.jsonl line 1 contradicts .*a\.jsonl line 1: .*loss; remove .* seed"):
        read([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])


@pytest.mark.parametrize("first", [None, 1])
def test_versions_of_the_exact_count_are_not_mixed_unless_told(tmp_path: Path, first: int | None) -> None:
    old = replace(ROW, flop_convention="exact", flop_version=first)
    new = replace(old, run="b", flop_version=2)
    write_rows(tmp_path / "a.jsonl", [old, new])
    with pytest.raises(UserError, match=r"nethack count exact FLOPs by versions 1 and 2.*--mixed-versions"):
        read([tmp_path / "a.jsonl"])
    rows = read([tmp_path / "a.jsonl"], mixed_versions=True).rows
    assert rows == (old, new)
    assert [item.code for item in check_mixtures("nethack", rows)] == ["mixed_convention"]
    # Another game, or FLOPs that are counted by the paper's convention alone, are not compared.
    for other in (replace(new, game="chess"), replace(new, flop_convention="paper")):
        write_rows(tmp_path / "b.jsonl", [old, other])
        assert len(read([tmp_path / "b.jsonl"]).rows) == 2
    write_rows(tmp_path / "c.jsonl", [old, replace(new, flop_convention="paper", flops_exact=1e13)])
    with pytest.raises(UserError, match="versions 1 and 2"):
        read([tmp_path / "c.jsonl"])


def test_the_order_of_rows_and_files_does_not_matter(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", HEADER, "g,a,1e+14,10,2,1", "g,b,1e+13,10,2,1")
    second = write(tmp_path / "b.csv", HEADER, "f,a,1e+14,10,2,1", "g,b,1e+14,5,2,1")
    assert read([first, second]).rows == read([second, first]).rows


def test_numbers_as_programs_write_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "\ufeff" + HEADER + ",episodes", "nethack,a,1e+14,1000.0,2e3,0.5,", "")
    row = read([path]).rows[0]
    assert (row.flops, row.params, row.samples, row.episodes) == (1e14, 1000, 2000, None)
    assert isinstance(row.params, int)
    assert isinstance(row.flops, float)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("g,a,1e14,10,,1", "no samples"),
        ("g,a,,,2,1", "no flops and no params"),
        ("g,a,1e14,10,2,nan", "loss is nan"),
        ("g,a,1e14,10,2,inf", "loss is inf"),
        ("g,a,inf,10,2,1", "flops is inf"),
        ("g,a,1e14,nan,-inf,1", "params is nan and samples is -inf"),
    ],
)
def test_a_row_that_cannot_be_fitted_is_left_out_counted_and_named(line: str, why: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER, line, "g,b,1e14,10,2,1", *[line.replace(",a,", ",c,")] * 4)
    found = read([path])
    assert [row.run for row in found.rows] == ["b"]
    (item,) = found.diagnostics
    assert (item.code, item.severity, item.game) == ("incomplete_row", "warning", "g")
    places = f"{path} line 2, {path} line 4, {path} line 5 and 2 more"
    assert item.message == f"5 rows were left out: {why} ({places})."


def test_a_row_without_a_loss_stays_for_the_fit_to_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER, "g,a,1e14,10,2,", "g,b,1e14,10,2,1")
    assert [row.loss for row in read([path]).rows] == [None, 1.0]


def test_a_value_that_no_law_needs_is_left_out_and_named(tmp_path: Path) -> None:
    header = f"{HEADER},lr,batch,episodes,loss_se"
    path = write(tmp_path / "a.csv", header, "g,a,1e14,10,2,1,high,-1,0.5,inf", "g,b,1e14,10,2,1,1e-3,8,4,0.1")
    found = read([path])
    assert [(row.lr, row.batch, row.episodes, row.loss_se) for row in found.rows] == [(None,) * 4, (1e-3, 8, 4, 0.1)]
    assert {(item.code, item.severity) for item in found.diagnostics} == {("unreadable_value", "warning")}
    said = "\n".join(item.message for item in found.diagnostics)
    for what in (
        "lr is 'high', not a number",
        "batch is -1; it can't be negative",
        "episodes is 0.5",
        "loss_se is inf",
    ):
        assert re.search(rf"^{what}.*: the value was left out \(\S+ line 2\)\.$", said, re.MULTILINE), what


def test_one_game_of_several(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER, "g,a,1e14,10,,1", "g,b,1e14,10,2,1", "f,b,1e14,10,2,1")
    found = read([path], "f")
    assert [row.game for row in found.rows] == ["f"]
    assert not found.diagnostics
    with pytest.raises(UserError, match="no rows of game 'h': the files hold f, g"):
        read([path], "h")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no rows; evaluate"),
        (HEADER, "holds no rows; evaluate"),
        (
            "game,run,flops,loss\ng,a,1e14,1",
            "no column for params; it has game, run, flops, loss: name it with --columns",
        ),
        ("flops,params,ppl\n1,2,3", "no column for loss; it has flops, params, ppl: name it with --columns loss=NAME"),
        ("params,samples,loss\n1,2,3", "--columns flops=NAME; or --flops-from-6nd"),
        ("1e14,10,2,1\n1e14,20,2,1", "its first row is numbers; put the names of the columns above it"),
        (f"{HEADER}\ng,a,1e14,10,2", "line 2: 5 values for 6 columns; mend the line"),
        (f"{HEADER}\ng,a,1e14,10,2,1,1", "line 2: 7 values for 6 columns; mend the line"),
        (f"{HEADER}\ng,a,1e14,10,2,1,1\ng,a,1e15,10,2,1,1", "line 2: 7 values for 6 columns; mend the line"),
        (f"{HEADER}\ng,a,1e14,10,2,1\ng,b,lots,10,2,1", "line 3: flops is 'lots', not a number; mend the value"),
        (f"{HEADER}\ng,a,1e14,1_0,2,1", "params is '1_0'"),
        (
            f"{HEADER}\ng,a,1e14,0.01,2,1",
            "params is 0.01; it must be a whole number of params, 1 at least: if the unit",
        ),
        (f"{HEADER}\ng,a,1e14,10,2,-1", "line 2: loss is -1; it can't be negative"),
        (f"{HEADER}\ng,a,-1e14,10,2,1", "it must be greater than 0"),
        (f"{HEADER}\ng,a,1e14,0,2,1", "params is 0; it must be greater than 0"),
        (f"{HEADER}\ng,a,1e14,10,2,1e99", "loss is 1e+99, beyond what a fit can count with"),
        (f"{HEADER}\n,a,1e14,10,2,1", "game is empty"),
        (f"{HEADER}\ng,,1e14,10,2,1", "run is empty"),
        (f"{HEADER}\ng,a,1e14,10,,1", "no row has flops, params and samples"),
        (f"{HEADER},game\ng,a,1e14,10,2,1,g", "line 1: a column name stands twice"),
        (f'{HEADER}\ng,"a"b,1e14,10,2,1', "line 2: not CSV"),
        (f'{HEADER}\ng,"a,1e14,10,2,1', "line 3: not CSV"),
        (f"{HEADER}\ng,a,{'9' * 400},10,2,1", "beyond double precision"),
        (f"{HEADER}\ng,a,{'9' * 9000},10,2,1", "no row has flops, params and samples (flops is inf)"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "bad.csv", text)
    refuse(path, said)


def json_row(**changes: object) -> str:
    return json.dumps({**asdict(ROW), **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n", "holds no rows"),
        ("[]", "holds no rows"),
        ("{}", "holds no rows"),
        ("{", "not JSON"),
        ("[1]", "row 1: not a JSON object; write an array of rows"),
        (json_row() + "\n" + json_row(loss=[1.5], run="b"), "line 2: loss is [1.5], not a number; mend the value"),
        (json_row() + "\n" + json_row(run="b")[:-9], "line 2: not JSON"),
        (json_row() + "\n[]", "line 2: not a JSON object"),
        ("[" + json_row() + ",", "not JSON"),
        (json_row(loss=True), "line 1: loss is True, not a number"),
        (json_row(loss=float("nan")), "no row has flops, params and samples"),
        ('{"game": "g"}', "no column for flops and params; it has game"),
        ('{"flops": 1, "flops": 2}', "a name stands twice"),
        ('{"flops": [1], "params": [1, 2], "loss": [1, 2]}', "its columns differ in length"),
        ('[["flops", "flops"], [1, 2]]', "a column name stands twice"),
        ('[["flops", "params", "loss"], [1, 2]]', "row 1: not one value for each of 3 columns"),
        (json_row(samples=10**400), "beyond double precision"),
        ("[" * 9000, "not JSON"),
    ],
)
def test_bad_json(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "bad.jsonl", text)
    refuse(path, said)


def refuse(path: Path, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read([path])
    message = str(caught.value)
    assert said in message
    assert str(path) in message
    assert "\n" not in message


def test_what_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    refuse(tmp_path / "absent.csv", "does not exist")
    refuse(tmp_path / ("x" * 5000), "can't be read")
    refuse(tmp_path / "folder.csv", "is a folder")
    refuse(Path("/dev/null"), "is no plain file")
    for data, said in {
        b"\xff\xfe\x00": "not text in UTF-8, UTF-16 or Windows-1252",
        bytes(range(256)): "not text",
        random.Random(3).randbytes(1000): "not text",
        b"PK\x03\x04\0\0": "save the sheet as CSV",
        b"\x1f\x8b\x08oops": "a damaged gzip file",
        b"PAR1 and no more": "a damaged Parquet file",
        b"\x80\x04\x95": "a pickle",
        b"<!DOCTYPE html>": "a web page",
    }.items():
        (tmp_path / "binary.csv").write_bytes(data)
        refuse(tmp_path / "binary.csv", said)
    with pytest.raises(UserError, match="no result file given"):
        read([])


def test_steps_of_training_are_not_taken_for_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MOST_ROWS", 50)
    path = tmp_path / "runs.csv"
    lines = [f"nethack,r{number},1e12,1000,5,1.5" for number in range(60)]
    path.write_text("\n".join(["game,run,flops,params,samples,loss", *lines]))
    with pytest.raises(UserError, match="more than 50 rows"):
        read([path])


TABLES = (
    f"{HEADER},lr\r\ng,a,1e14,10,2,1.5,\r\ng,b,1e14,20,1,1.25,0.1\r\n",
    "sep=;\nC;N;D;Verlust\n1e14;10;2;1,5\n1e14;20;1;1,25\n",
    "# a\nC N loss\n1e14 10 1.5\n1e14 20 1.25\n",
    json_row() + "\n" + json_row(run="b") + "\n",
    '[{"C": 1e14, "N": 10, "loss": 1.5, "config": {"lr": 1}}, {"C": 1e14, "N": 20, "loss": NaN}]',
    '{"C": {"0": 1e14, "1": 1e14}, "N": {"0": 10, "1": 20}, "loss": {"0": 1.5, "1": 1.25}}',
    '{"columns": ["C", "N", "loss"], "index": [0], "data": [[1e14, 10, 1.5]]}',
)
PIECES = [
    '"',
    ",",
    ";",
    "\n",
    "\r",
    "\t",
    "[",
    "{",
    "}",
    "]",
    ":",
    "#",
    "-",
    "e9",
    "nan",
    "\0",
    "é",
    "\u2028",
    "9" * 400,
]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.sampled_from(TABLES), seed=st.integers(0, 1 << 32), encoding=st.sampled_from(["utf-8", "utf-16"]))
def test_a_damaged_table_is_read_or_refused_in_one_line(table: str, seed: int, encoding: str, tmp_path: Path) -> None:
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(table) + 1)
        cut = chance.choice([0, 1, 5, len(table)])
        table = table[:place] + chance.choice(["", *PIECES]) + table[place + cut :]
    readable_or_refused(tmp_path / "damaged.csv", table.encode(encoding))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"PAR1", b"\xff\xfe", b"\x1f\x8b\x08", b"{", b"["]))
def test_any_bytes_are_read_or_refused_in_one_line(data: bytes, start: bytes, tmp_path: Path) -> None:
    readable_or_refused(tmp_path / "noise", start + data)


def readable_or_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    said = ""
    try:
        found = read([path])
    except UserError as error:
        said, found = str(error), None
    assert (found and found.rows) or str(path) in said
    assert len(said.splitlines()) <= 1
    assert len(said) < 3000


def test_rows_in_memory_are_read_like_a_file() -> None:
    records = [{"C": 1e14, "N": 10, "D": 5, "loss": 1.5}, {"C": 1e14, "N": 20, "D": 5}]
    found = read_records(records, "mine")
    assert [(row.game, row.params, row.loss) for row in found.rows] == [("mine", 10, 1.5), ("mine", 20, None)]
    with pytest.raises(UserError, match="mine: holds no rows"):
        read_records([], "mine")


def test_equal_run_names_of_different_trainings_are_told_apart(tmp_path: Path) -> None:
    lines = ["a,1e14,10,2,1.5,0", "a,1e14,10,2,1.6,1", "a,1e15,10,9,1.2,0", "b,1e14,10,2,1.5,0", "b,1e15,10,9,1.2,0"]
    path = write(tmp_path / "a.csv", "run,flops,params,samples,loss,seed", *lines)
    # A seed each is a training each; b has checkpoints at two budgets.
    assert [row.run for row in read([path]).rows] == ["a (seed 0)", "a (seed 1)", "b", "a (seed 0)", "b"]
    # The name of a family of models, or of an experiment, is that of no training.
    path = write(tmp_path / "b.csv", "model,flops,params,samples,loss", "x,1e14,10,2,1.5", "x,1e14,20,1,1.6")
    assert [row.run for row in read([path]).rows] == ["x (params 10)", "x (params 20)"]


def test_rows_without_run_names_get_one_each(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "C,N,loss", "1e14,10,1.5", "1e14,10,1.6", "1.0000001e14,10,1.7", "1e14,20,1.4")
    found = read([path])
    assert len({row.run for row in found.rows}) == 4
    assert sorted(item.code for item in found.diagnostics) == ["derived", "own_runs"]
