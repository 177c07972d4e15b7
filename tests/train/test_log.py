"""The log writes each record once, in rows that say which steps they cover."""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from train.log import Log, Stopwatch, Window
from train.metrics import read_metrics


@dataclass(frozen=True)
class Sums:
    step: int
    after: int
    sum: int
    seconds: float
    timed: float

    @property
    def summary(self) -> str:
        return f"sum {self.sum}"


def sums(window: Window[int]) -> Sums:
    return Sums(window.step, window.after, sum(window.records), window.seconds, window.timed)


def log(run: Path, steps: range, every: int, *, late: bool = False) -> list[dict[str, float]]:
    """The rows of a run whose record of each step is the step."""
    run.mkdir(exist_ok=True)
    watch = Stopwatch()
    writer = Log(run, steps, every, watch, sums, progress=False)
    for step in range(steps.start + 1, steps.stop + 1):
        with watch:
            sum(range(100))
        if late:
            writer.write_due()
        writer.add(step, step)
        if not late:
            writer.write_due()
    writer.close()
    return read_metrics(run)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("steps", "ends"), [(range(7), [3, 6, 7]), (range(6), [3, 6]), (range(4, 9), [6, 9]), (range(5, 5), [])]
)
def test_rows_cover_all_steps_once(tmp_path: Path, steps: range, ends: list[int], late: bool) -> None:
    rows = log(tmp_path, steps, 3, late=late)
    assert [row["step"] for row in rows] == ends
    assert [row["after"] for row in rows] == [steps.start, *ends[:-1]][: len(ends)]
    assert sum(row["sum"] for row in rows) == sum(range(steps.start + 1, steps.stop + 1))
    assert all(0 <= row["timed"] <= row["seconds"] for row in rows)
    assert (sum(row["timed"] for row in rows) > 0) == (len(rows) > 0)


def test_paused_time_is_in_no_row(tmp_path: Path) -> None:
    begin = time.perf_counter()
    writer = Log(tmp_path, range(2), 1, Stopwatch(), sums, progress=False)
    for step in (1, 2):
        with writer.paused:
            time.sleep(0.2)
        writer.add(step, step)
        writer.write_due()
    writer.close()
    assert sum(row["seconds"] for row in read_metrics(tmp_path)) <= time.perf_counter() - begin - 2 * 0.2


def test_a_resumed_log_drops_what_came_after(tmp_path: Path) -> None:
    log(tmp_path, range(7), 2)
    assert [row["step"] for row in log(tmp_path, range(5, 8), 2)] == [2, 4, 6, 8]
