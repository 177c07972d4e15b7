"""The commands and the example of the package's README are run, in a folder with the files that they name."""

import re
import shlex
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import laws
from eval.results import write_rows
from laws.__main__ import main
from laws.fitting import bootstrap
from laws.fitting.bootstrap import MIN_DRAWS, counts
from tests.laws.rows.test_official import FILES, write
from tests.laws.synthetic import hoffmann_sweep

README = (Path(laws.__file__).parent / "README.md").read_text()
COMMANDS = re.findall(r"^python -m laws (.*?) *(?:#.*)?$", README, re.MULTILINE)
NOT_RUN_HERE = ("reproduce smoke",)
"""Run by test_reproduce.py, in a process of its own."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    rows = [replace(row, return_mean=3 / (row.loss or 1) ** 2) for row in hoffmann_sweep(0.01, budgets=6, sizes=5)]
    write_rows(tmp_path / "runs.jsonl", rows)
    write_rows(tmp_path / "other.jsonl", [replace(row, loss=(row.loss or 0) * 1.1) for row in rows])
    write(tmp_path / "experiment_data", {name.replace("Pong", "Breakout"): data for name, data in FILES.items()})
    monkeypatch.chdir(tmp_path)
    # A tenth of the bootstrap draws, which take most of the time.
    monkeypatch.setattr(bootstrap, "counts", lambda runs, draws, seed: counts(runs, min(draws, MIN_DRAWS), seed))
    handler = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.usefixtures("unrendered")
def test_the_commands_of_the_readme_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(COMMANDS) == 9
    assert set(NOT_RUN_HERE) <= set(COMMANDS)
    for words in (words for words in COMMANDS if words not in NOT_RUN_HERE):
        monkeypatch.setattr(sys, "argv", ["laws", *shlex.split(words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0, words
    assert (folder / "laws" / "report.html").exists()
    assert (folder / "breakout" / "Breakout-profiles.png").exists()


def test_the_example_of_the_readme_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(example, {})
    first, second = capsys.readouterr().out.splitlines()
    loss, exponent = map(float, first.split())
    assert 1 < loss < 4
    assert 0.2 < exponent < 0.7
    assert second.startswith("(")
