"""Reading the paper's published files: made-up ones, byte by byte as torch saves them; damaged and hostile ones."""

import csv
import json
import os
import random
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from data.common.cli import UserError, printable
from laws.rows.official import LARGEST_FILE, import_official, read_official
from laws.rows.runs import read
from tests.data.common.torchfiles import EMPTY, altered, archive, mapping, number, tensor, text


def table(cells: dict[str, dict[int, float]]) -> bytes:
    """A table of plain numbers, as the returns and the samples are."""
    inner = {
        budget: mapping({size: number(value) for size, value in of_size.items()}) for budget, of_size in cells.items()
    }
    return archive(mapping({**inner}, EMPTY))


def losses(cells: dict[str, dict[int, float]]) -> bytes:
    """A table of float32 tensors, as the losses of Atari are."""
    flat = [(budget, size) for budget in cells for size in cells[budget]]
    storages = {str(place): struct.pack("<f", cells[budget][size]) for place, (budget, size) in enumerate(flat)}
    inner = {
        budget: mapping({size: tensor(str(flat.index((budget, size)))) for size in of_size})
        for budget, of_size in cells.items()
    }
    return archive(mapping({**inner}, EMPTY), storages)


def checkpoint(**values: float) -> bytes:
    return archive(mapping({name: number(value) for name, value in values.items()}))


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


RUN = "nethack/llama_iso_flop/abc12345"
SAMPLES = "atari/flop_params_to_samples/flop_params_to_samples"
LOSS = f"{RUN}/eval_loss_overlap_0_model_1e15.tar"
MEASURED = {"eval_loss": 0.5, "eval_se": 0.25, "params": 1000, "samples": 3 << 40}
FILES = {
    LOSS: checkpoint(**MEASURED),
    f"{RUN}/eval_returns_model_1e15.txt": b"1.0\n2.0\n6.0\n",
    f"{RUN}/eval_lens_model_1e15.txt": b"10\n20\n30\n",
    f"{RUN}/eval_dlvls_model_1e15.txt": b"1\n1\n2\n",
    "atari/eval_loss/eval_loss_Pong.tar": losses({"1e13": {725: 0.5, 80: 1.5}, "2e14": {725: 0.25}}),
    f"{SAMPLES}_Pong.tar": table({"1e13": {725: 4096, 9: 1}, "2e14": {725: 7}}),
    "atari/eval_return/eval_return_Pong.tar": table({"1e13": {725: -1.0}, "2e14": {725: 5.0}}),
    "atari/eval_return/eval_return_Pong_0.tar": table({"1e13": {725: 3.0}}),
}


def test_a_made_up_folder_gives_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_official(write(tmp_path / "experiment_data", FILES), out=tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    found = [tuple(value for value in row.values() if value is not None) for row in rows]
    assert found == [
        ("Pong", "n80", 1e13, 80, 1.5, 0, "paper"),
        ("Pong", "n725", 1e13, 725, 4096, 0.5, 1.0, 2.0, 2, "paper", 2, 469_652.0 * 4096, 10_934_664.0 * 4096),
        ("Pong", "n725", 2e14, 725, 7, 0.25, 5.0, 1, "paper", 2, 469_652.0 * 7, 10_934_664.0 * 7),
        ("nethack", "abc12345", 1e15, 1000, 3 << 40, 0.5, 0.25, 3.0, pytest.approx((7 / 3) ** 0.5), 3, "paper"),
    ]
    assert rows[0]["samples"] is rows[0]["return_mean"] is rows[2]["return_se"] is None
    said = capsys.readouterr()
    assert "4 rows of 2 games" in said.out
    assert said.err.splitlines() == [
        "Pong: 1 cells of unknown samples, which a fit leaves out",
        "Pong: 1 cells with neither loss nor return: left out",
    ]
    # What was written is what `fit` reads, and the folder above (the clone) may be named as well.
    assert len(read([tmp_path / "rows.jsonl"]).rows) == 3
    assert len(read_official(tmp_path)[0]) == 4


def test_absent_files_leave_their_columns_empty(tmp_path: Path) -> None:
    write(tmp_path, {LOSS: checkpoint(params=5, samples=7, eval_loss=float("nan"))})
    (row,), notes = read_official(tmp_path)
    assert not notes
    assert (row.params, row.samples) == (5, 7)
    assert (row.loss, row.loss_se, row.return_mean, row.return_se, row.episodes) == (None,) * 5


def test_a_folder_of_damaged_files_gives_notes_and_no_error(tmp_path: Path) -> None:
    chance = random.Random(11)
    for round_ in range(60):
        root = write(tmp_path / str(round_), {name: altered(content, chance) for name, content in FILES.items()})
        rows, notes = read_official(root)
        assert notes
        assert all(note.startswith(("skipped ", "Pong: ")) for note in notes)
        assert all(row.params > 0 for row in rows)


MISPLACED = {
    "README.md": (b"words", "out of place"),
    "atari/eval_loss/eval_loss_Pong_0.tar": (losses({"1e13": {5: 1.0}}), "out of place"),
    "atari/eval_return/eval_loss_Pong.tar": (losses({"1e13": {5: 1.0}}), "out of place"),
    "atari/notes/eval_notes_Pong.tar": (EMPTY, "out of place"),
    "atari/loose": (b"x", "can't be listed"),
    "atari/eval_return/eval_return_Empty.tar": (b"", ": empty"),
    "atari/eval_return/eval_return_None.tar": (archive(EMPTY), "without cells"),
    "atari/eval_return/eval_return_Flat.tar": (checkpoint(a=1.0), "not a table"),
    "atari/eval_return/eval_return_Budget.tar": (table({"soon": {5: 1.0}}), "isn't written like 1e15"),
    "atari/eval_return/eval_return_Size.tar": (table({"1e15": {0: 1.0}}), "where a count belongs"),
    "atari/eval_return/eval_return_Text.tar": (archive(mapping({"1e15": mapping({5: text("x")})})), "unknown content"),
    "atari/eval_return/eval_return_Large.tar": (table({"1e15": {5: 1e200}}), "unknown content"),
    "atari/eval_loss/eval_loss_Minus.tar": (losses({"1e15": {5: -1.0}}), "unknown content"),
    f"{SAMPLES}_Half.tar": (table({"1e15": {5: 0.5}}), "unknown content"),
    "atari/eval_return/eval_return_Vast.tar": (bytes(LARGEST_FILE + 1), "more than 1,048,576 bytes"),
    "nethack/llama_lr_sensitivity/a/eval_loss_overlap_0_model_1.0.tar": (b"", "no part of the isoFLOP sweep"),
    "nethack/llama_iso_flop/x\ny/a": (b"", "not the name of a training"),
    f"{RUN}/eval_loss_overlap_1_model_1e15.tar": (checkpoint(**MEASURED), "out of place"),
    f"{RUN}/eval_loss_overlap_0_model_1e16.tar": (checkpoint(**MEASURED, lr=1.0), "not the loss of a checkpoint"),
    f"{RUN}/eval_loss_overlap_0_model_1e17.tar": (checkpoint(eval_loss=1.0), "where a count belongs"),
    f"{RUN}/eval_loss_overlap_0_model_1e18.tar/x": (b"", "not a plain file"),
    f"{RUN}/eval_returns_model_1e13.tar": (b"1.0\n", "out of place"),
    f"{RUN}/eval_returns_model_1e14.txt": (b"1.0\n", "no loss file beside it"),
    f"{RUN}/eval_returns_model_1e15.txt": (b"1.0\nnan\n", "a score that isn't finite"),
}


def test_what_is_not_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {LOSS: FILES[LOSS], **{name: content for name, (content, _) in MISPLACED.items()}})
    import_official(tmp_path, out=tmp_path / "rows.jsonl")
    said = capsys.readouterr().err.splitlines()
    for name, (_, why) in MISPLACED.items():
        # The line names the file, or the folder that is out of place with all that lies in it.
        lines = [line for line in said if why in line]
        assert any(printable(name).startswith(line.split(": ")[0].removeprefix("skipped ")) for line in lines), name
    assert len(said) == len(MISPLACED)
    assert [row.episodes for row in read([tmp_path / "rows.jsonl"]).rows] == [None]


@pytest.mark.parametrize("kind", ["link", "pipe", "loop"])
def test_what_is_no_plain_file_is_named_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, {LOSS: FILES[LOSS]}) / RUN / "eval_loss_overlap_0_model_2e15.tar"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "link" else path)
    rows, (note,) = read_official(tmp_path)
    assert len(rows) == 1
    assert note == f"skipped {RUN}/{path.name}: not a plain file"


def test_if_nothing_is_read_the_old_rows_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {LOSS: b"", "rows.jsonl": b"old"})
    with pytest.raises(UserError, match=r"can be read; clone .* and name its folder experiment_data") as raised:
        import_official(tmp_path, out=tmp_path / "rows.jsonl")
    assert str(tmp_path) in str(raised.value)
    assert f"skipped {LOSS}: empty" in capsys.readouterr().err
    assert (tmp_path / "rows.jsonl").read_bytes() == b"old"
    assert not (tmp_path / "rows.csv").exists()


def test_a_wrong_folder_or_file_is_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent", Path("x" * 5000)):
        with pytest.raises(UserError, match="no atari and no nethack folder"):
            import_official(folder, out=tmp_path / "rows.jsonl")
    with pytest.raises(UserError, match=r"ends in \.jsonl"):
        import_official(write(tmp_path, FILES), out=tmp_path / "rows.csv")


@pytest.mark.parametrize("game", ["nethack", "BankHeist", "BattleZone", "Breakout", "NameThisGame"])
def test_the_published_files_hold_the_papers_numbers(game: str, paper: Path) -> None:
    folder = Path(os.environ.get("ISOPLAY_OFFICIAL", paper.parent / "experiment_data"))
    if not folder.is_dir():
        pytest.skip("the paper's experiment_data is not here (ISOPLAY_OFFICIAL names it)")
    found = [asdict(row) for row in read_official(folder)[0] if row.game == game]
    with (paper / f"{game}.csv").open() as file:
        known: list[dict[str, Any]] = list(csv.DictReader(file))
    assert len(found) == len(known) > 100
    for row, cell in zip(found, known, strict=True):
        for name, value in cell.items():
            assert row[name] == (value if name in ("game", "run") else float(value) if value else None), (cell, name)
