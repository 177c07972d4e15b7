"""Paths as people have them: with blanks, and longer than a file system allows."""

import shlex
from pathlib import Path

import pytest

from data.collect.nethack import command
from data.common.cli import exit_with
from data.common.files import replacing
from tests.command_lines import parser_of

LONG = "x" * 520


@pytest.mark.parametrize(
    "words",
    [
        ("data", "info", LONG),
        ("data", "verify", f"folder/{LONG}"),
        ("data", "import", "nld", LONG, "STORE"),
        ("data", "play", LONG),
        ("eval", LONG),
        ("laws", "fit", LONG, "--out", "out"),
        ("train", "bc", "--store", LONG, "--run", "run", "--agent", "nethack/lstm/16", "--flops", "1e7"),
        ("train", "sweep", LONG, "--store", LONG, "--budgets", "1e9"),
    ],
    ids=lambda words: " ".join(word for word in words if len(word) < 99),
)
def test_a_path_of_520_characters_gets_a_line(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        exit_with(*parser_of(words))
    assert left.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1


def test_the_next_command_is_one_that_a_shell_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "my games; and $HOME"
    command(out, episodes=1, workers=1, max_steps=5)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("next: ")
    words = shlex.split(last.removeprefix("next: "))
    assert words[:6] == ["python", "-m", "data", "import", "nld", str(out)]


def test_two_that_replace_a_file_at_once_write_into_files_of_their_own(tmp_path: Path) -> None:
    """Processes of two containers may have the same number on hosts of the same name."""
    path = tmp_path / "rows.jsonl"
    with replacing(path) as one, replacing(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]
