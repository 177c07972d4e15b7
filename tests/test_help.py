"""`--help` of every command, and the one line that a mistake on the command line gets."""

import shlex
import sys

import pytest

from data.common import help
from data.common.cli import exit_with
from tests.command_lines import parser_of
from tests.terminal import on_terminal

COMMANDS = (
    "agents", "data import nld", "data import katakomba", "data import parquet", "data import minari", "data info",
    "data verify", "data play", "data bench", "data collect nethack", "data collect atari", "data collect gym",
    "train bc", "train sweep", "train rl", "train bench", "train compile", "train presets", "eval", "eval expert",
    "eval bench", "eval summary", "eval compare", "laws fit", "laws forecast", "laws plan", "laws rate",
    "laws import-official", "laws coverage", "laws power", "laws reproduce", "laws coordinates", "data.experts",
)  # fmt: skip
SCREEN = 56
"""Lines of a terminal on a full screen."""


def code(command: str, *words: str) -> int:
    """Exit code of a command line."""
    with pytest.raises(SystemExit) as left:
        exit_with(*parser_of([*command.split(), *words]))
    assert isinstance(left.value.code, int)
    return left.value.code


def page(command: str) -> help.Page:
    return help.page_of(*parser_of(command.split()))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_screen_and_shows_one_example_that_works(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert code(command, "--help") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert len(shown.splitlines()) <= SCREEN
    assert shown.count("\nexample:\n") == 1
    line = shown.split("\nexample:\n")[1].split("\n\n")[0].replace("\\\n", " ")
    words = shlex.split(line)
    assert words[:2] == ["python", "-m"]
    assert " ".join(words[2:]).startswith(command)
    parse, rest = parser_of(words[2:])
    parse(rest)
    assert code(command, "--help-all") == 0
    everything = capsys.readouterr().out
    assert max(map(len, everything.splitlines())) <= 80
    assert not {"Args:", "Returns:", "Raises:"} & set(everything.split())
    read = page(command)
    assert read.groups or command == "train presets"
    for group in read.groups:
        for entry in group.entries:
            assert entry.names[0] in everything.replace("[no-]", "")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train bc --stroe x", "no option --stroe: did you mean --store? (see"),
        (
            "train bc --store x --run y --agent a --flops 1 --order lane",
            "--order lane: did you mean lanes? choose from",
        ),
        ("train bc --store x --run y --agent a --flops 1e9x", "--flops 1e9x: give FLOAT…"),
        ("train bc --store x --run y --agent a --flops 1 --lanes 3.5", "--lanes 3.5: give INT"),
        ("train bc --store x --flops 1", "give --run PATH, --agent STR (see"),
        ("train bc --population", "--population: give STR"),
        ("train bx", "no command 'bx': did you mean bc? choose from bc, sweep, rl, bench, compile, presets (see"),
        ("train", "name a command: bc, sweep, rl, bench, compile, presets (see"),
        ("train sweep f --budgts 3", "no option --budgts: did you mean --budgets?"),
        ("data import nlt a b", "no command 'nlt': did you mean nld? choose from nld, katakomba, parquet, minari"),
        ("data collect nethak", "no command 'nethak': did you mean nethack?"),
        ("data colect nethack", "no command 'colect': did you mean collect?"),
        ("data info", "give STORE (see"),
        ("data info a b", "one argument too many: 'b'"),
        ("eval x --protcol paper", "no option --protcol: did you mean --protocol?"),
        ("eval expert --lane 3", "no option --lane: did you mean --lanes?"),
        ("laws fot", "no command 'fot': did you mean fit?"),
        ("agents --widow 3", "no option --widow: did you mean --window?"),
    ],
)
def test_a_mistake_gets_one_line_with_the_nearest_right_word(
    command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code(command) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error: {said}")
    assert shown.err.count("\n") == 1
    assert "--help)" in shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("data", "error: name a command: import, info, verify, play, bench, collect (see python -m data --help)\n"),
        ("data info STORE --jsn", "error: no option --jsn: did you mean --json? (see python -m data info --help)\n"),
        ("data info", "error: give STORE (see python -m data info --help)\n"),
    ],
)
def test_a_mistake_is_one_line_on_a_terminal_too(words: str, said: str) -> None:
    assert on_terminal([sys.executable, "-m", *words.split()]) == (2, said)


def test_help_has_no_colours_on_a_terminal() -> None:
    code, shown = on_terminal([sys.executable, "-m", "data", "info", "--help"])
    assert code == 0
    assert "\x1b" not in shown
    assert "example:\n  python -m data info STORE" in shown


def test_completion_is_printed_for_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert code("data", "--tyro-print-completion", "bash") == 0
    assert "complete" in capsys.readouterr().out
