"""Progress on a terminal and in a log."""

import re
import sys
from typing import Any

import pytest

from data.common import progress
from data.common.progress import Bar


class Clock:
    """A clock that is put forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    monkeypatch.setattr("tqdm.std.time", clock)
    return clock


def test_a_log_has_plain_lines_a_minute_apart_and_a_sum(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in Bar(range(100), "import", unit="game"):
        clock.now += 4
    lines = capsys.readouterr().err.splitlines()
    assert "\r" not in "".join(lines)
    assert [re.sub(r", .*", "", line) for line in lines[:-1]] == [
        f"import: {count} of 100 games" for count in (15, 30, 45, 60, 75, 90)
    ]
    assert lines[0] == "import: 15 of 100 games, 01:00, 05:40 left"
    assert lines[-1] == "import: 100 games in 06:40"


def test_units_have_their_plural(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in Bar(range(2), "repetitions", unit="study"):
        clock.now += 100
    assert capsys.readouterr().err.splitlines()[-1] == "repetitions: 2 studies in 03:20"


def test_what_is_brief_says_nothing_in_a_log(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(name="collect", total=3, unit="game") as bar:
        for _ in range(3):
            clock.now += 15
            bar.update()
            bar.refresh()
    with Bar(name="no", total=3, unit="game", shown=False) as bar:
        clock.now += 500
        bar.update()
    assert capsys.readouterr().err == ""


def test_counts_go_on_and_tell_what_else_is_known(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(name="train", total=4e9, initial=1e9, unit="step", unit_scale=True) as bar:
        clock.now += 61
        bar.set_postfix_str("loss 1.5", refresh=False)
        bar.update(1e9)
    assert capsys.readouterr().err.splitlines() == [
        "train: 2.00G of 4.00G steps, 01:01, 02:02 left, loss 1.5",
        "train: 2.00G steps in 01:01",
    ]


def test_without_a_total_a_terminal_shows_count_and_rate(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for _ in Bar(iter(range(12)), "read rows.csv", unit="row", ncols=80):
        clock.now += 0.5
    assert "read rows.csv: 12 rows [00:06,  2.00row/s]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "count", "said"),
    [
        ({"name": "train", "unit": "step"}, 1_220_703, "loss 0.512, 1,662,000 samples/s"),
        ({"name": "decay to 1.7e+13", "unit": "step"}, 21_988, "loss 0.512, 83,000 samples/s"),
        ({"name": "play", "unit": "game"}, 1000, "13,400 steps/s"),
        ({"name": "sweep", "unit": "FLOP", "unit_scale": True}, 394 * 10**12, "189/200 cells, 2 running, 3 waiting"),
    ],
)
def test_a_bar_and_what_it_says_fit_80_columns(options: dict[str, Any], count: int, said: str) -> None:
    with Bar(total=count, rate=False, **options) as bar:
        bar.set_postfix_str(said, refresh=False)
        bar.n = count
        line = bar.format_meter(**{**bar.format_dict, "ncols": 80, "elapsed": 4000.0})
    assert f", {said}]" in line
    assert "█" in line
    assert len(line) <= 80


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for _ in Bar(range(3), "import", unit="game"):
        pass
    shown = capsys.readouterr().err
    assert "\r" in shown
    assert "import: 100%" in shown
    for _ in Bar(range(3), "read", unit="row", leave=False):
        pass
    assert re.search(r"\r *\r$", capsys.readouterr().err), "the next line starts at the left"
    assert progress.EVERY == 60
