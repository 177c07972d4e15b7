"""The log of a run: metrics of steps to rows of `metrics.jsonl`, and a progress bar."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax

from data.common.progress import Bar
from train.hosts.agree import first
from train.metrics import MetricsWriter, Row

T = TypeVar("T")


class Stopwatch:
    """Adds up the seconds spent inside its `with` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._begin

    def timed(self, items: Iterable[T]) -> Iterator[T]:
        """The items; the time that each takes to come is added."""
        iterator = iter(items)
        while True:
            with self:
                item = next(iterator, None)
            if item is None:
                return
            yield item


@dataclass(frozen=True)
class Window(Generic[T]):
    """The steps that a row of metrics covers."""

    after: int
    """The last step of the row before."""
    step: int
    """The last step of this row."""
    records: list[T]
    """What was logged of each step."""
    seconds: float
    """Wall time, without what was paused."""
    timed: float
    """Seconds of it on the stopwatch."""


class Log(Generic[T]):
    """Collects a record per step, and writes a row of metrics whenever `every` divides the step or a record asks."""

    def __init__(
        self,
        run: Path,
        steps: range,
        every: int,
        watch: Stopwatch,
        row_of: Callable[[Window[T]], Row],
        *,
        progress: bool,
        axis: str = "step",
        writer: Callable[[Path, int, str], Any] = MetricsWriter,
    ) -> None:
        """Continue the run's log at step `steps.start` of all `steps`, those of branches included.

        A bar is shown if `progress`; `axis` is TensorBoard's, see `MetricsWriter`, which `writer` opens.
        """
        self.paused = Stopwatch()
        """Times what is no part of the steps, such as compiling them."""
        self._writer = writer(run, steps.start, axis) if first() else None
        self._every, self._watch, self._row_of = every, watch, row_of
        self._offset = 0
        shown = progress and jax.process_index() == 0
        self._bar = Bar(name="train", total=steps.stop, initial=steps.start, unit="step", rate=False, shown=shown)
        self._records: list[T] = []
        self._ends_row = False
        self._step = self._row_step = steps.start
        self._row_time, self._row_timed = self._now(), watch.seconds

    def enter(self, step: int, offset: int, branch: str | None) -> None:
        """Write a row of what is left, and go on after `step`, which is step + `offset` of all, in `branch` if any."""
        if self._records:
            self._write()
        self._step = self._row_step = step
        self._offset = offset
        self._bar.set_description_str("train" if branch is None else f"decay to {branch}", refresh=False)

    def add(self, step: int, record: T, *, ends_row: bool = False) -> None:
        """Keep the record of `step`, after which a row is due also if `ends_row`."""
        self._step, self._ends_row = step, ends_row
        self._records.append(record)

    def write_due(self) -> None:
        """Write a row if one is due at the last step added. Waits for that step's metrics to be computed."""
        if self._records and (self._ends_row or self._step % self._every == 0):
            self._write()

    def _now(self) -> float:
        return time.perf_counter() - self.paused.seconds

    def _write(self) -> None:
        now, timed = self._now(), self._watch.seconds
        row = self._row_of(
            Window(self._row_step, self._step, self._records, now - self._row_time, timed - self._row_timed)
        )
        if self._writer:
            self._writer.write(row)
        self._bar.set_postfix_str(row.summary, refresh=False)
        self._bar.update(self._step + self._offset - self._bar.n)
        self._records, self._row_step, self._row_time, self._row_timed = [], self._step, now, timed

    def close(self) -> None:
        """Write a row of what is left, and close the files."""
        if self._records:
            self._write()
        self._bar.close()
        if self._writer:
            self._writer.close()
