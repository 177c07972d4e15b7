"""Reading result rows: what is accepted, and that every mistake is one line naming file, line and remedy."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from data.common.cli import UserError
from eval.results import ResultRow, write_rows
from laws.fitting.checks import check_mixtures
from laws.rows import runs
from laws.rows.runs import read

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
    assert read([tmp_path / "runs.jsonl"]).rows == rows
    assert read([tmp_path / "runs.csv"]).rows == rows


def test_the_same_cell_twice_counts_once_and_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "runs.jsonl", [ROW])
    found = read([tmp_path / "runs.jsonl", tmp_path / "runs.csv"])
    assert found.rows == (ROW,)
    assert [item.code for item in found.diagnostics] == ["duplicate_row"]
    assert "runs.csv line 2" in found.diagnostics[0].message


def test_contradicting_rows_are_an_error(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [ROW])
    write_rows(tmp_path / "b.jsonl", [replace(ROW, loss=1.25)])
    with pytest.raises(UserError, match=r"b\.jsonl line 1 contradicts .*a\.jsonl line 1: .*loss"):
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


def test_a_row_without_samples_is_left_out_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER, "g,a,1e14,10,,1", "g,b,1e14,10,2,1")
    found = read([path])
    assert [row.run for row in found.rows] == ["b"]
    assert [(item.code, item.severity) for item in found.diagnostics] == [("incomplete_row", "warning")]
    assert "line 2 has no samples" in found.diagnostics[0].message


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
        ("", "holds no rows"),
        (HEADER, "holds no rows"),
        (f"{HEADER},score\ng,a,1e14,10,2,1,3", "line 2: unknown column score"),
        ("game,run,flops,loss\ng,a,1e14,1", "line 2: no column params, samples"),
        (f"{HEADER}\ng,a,1e14,10,2", "line 2: 5 values for 6 columns"),
        (f"{HEADER}\ng,a,1e14,10,2,1,1", "line 2: 7 values for 6 columns"),
        (f"{HEADER}\ng,a,1e14,10,2,1\ng,b,lots,10,2,1", "line 3: flops is 'lots'"),
        (f"{HEADER}\ng,a,1e14,1_0,2,1", "params is '1_0'"),
        (f"{HEADER}\ng,a,1e14,10.5,2,1", "params is 10.5, not a whole number"),
        (f"{HEADER}\ng,a,1e14,10,2,nan", "loss is nan"),
        (f"{HEADER}\ng,a,inf,10,2,1", "flops is inf"),
        (f"{HEADER}\ng,a,1e14,10,2,-1", "loss is -1.0; it can't be negative"),
        (f"{HEADER}\ng,a,-1e14,10,2,1", "it must be greater than 0"),
        (f"{HEADER}\ng,a,1e14,0,2,1", "params is 0; it must be greater than 0"),
        (f"{HEADER}\n,a,1e14,10,2,1", "game is empty"),
        (f"{HEADER}\ng,,1e14,10,2,1", "run is empty"),
        (f"{HEADER}\ng,a,1e14,10,,1", "no row has flops, params and samples"),
        (f"{HEADER},game\ng,a,1e14,10,2,1,g", "line 1: a column name stands twice"),
        (f'{HEADER}\ng,"a"b,1e14,10,2,1', "not CSV"),
        (f"{HEADER}\ng,a,{'9' * 400},10,2,1", "beyond double precision"),
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
        ("{", "line 1: not JSON"),
        ("[1]", "line 1: not a JSON object"),
        (json_row() + "\n" + json_row(loss="1.5", run="b"), "line 2: loss is '1.5', not a number"),
        (json_row(loss=float("nan")), "loss is nan"),
        (json_row(loss_se=-0.1), "loss_se is -0.1; it can't be negative"),
        (json_row(episodes=True), "episodes is True, not a number"),
        (json_row(episodes=0.5), "episodes is 0.5, not a whole number"),
        (json_row(game=3), "game is 3, not text"),
        (json_row(score=3), "unknown column score"),
        ('{"game": "g"}', "no column run, flops, params, samples"),
        ('{"game": "g", "game": "h"}', "a name stands twice"),
        (json_row(samples=10**400), "beyond double precision"),
    ],
)
def test_bad_jsonl(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "bad.jsonl", text)
    refuse(path, said)


def refuse(path: Path, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read([path])
    message = str(caught.value)
    assert said in message
    assert str(path) in message
    assert "\n" not in message


def test_what_is_not_a_result_file(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    refuse(tmp_path / "absent.csv", "does not exist")
    refuse(tmp_path / "folder.csv", "is a folder")
    refuse(tmp_path / "binary.csv", "not UTF-8")
    refuse(tmp_path / "runs.parquet", "not a .jsonl or .csv file")
    with pytest.raises(UserError, match="no result file given"):
        read([])


def test_steps_of_training_are_not_taken_for_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MOST_ROWS", 50)
    path = tmp_path / "runs.csv"
    lines = [f"nethack,r{number},1e12,1000,5,1.5" for number in range(60)]
    path.write_text("\n".join(["game,run,flops,params,samples,loss", *lines]))
    with pytest.raises(UserError, match="more than 50 rows"):
        read([path])
