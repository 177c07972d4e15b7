"""Metrics of a population: each member's rows in its own folder, as those of a run alone."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax

from train.config import TrainConfig
from train.log import Window
from train.metrics import MetricsRow, MetricsWriter
from train.rows import Record

RowOf = Callable[[Window[Any]], MetricsRow]


@dataclasses.dataclass(frozen=True)
class PopulationRow:
    """The rows of the members that are trained, by number."""

    step: int
    """Optimiser steps done."""
    rows: Mapping[int, MetricsRow]

    @property
    def summary(self) -> str:
        """Number of members, their best and median loss, and speed, for the progress bar."""
        losses = sorted(row.loss for row in self.rows.values() if math.isfinite(row.loss))
        speed = max((row.samples_per_s for row in self.rows.values()), default=0.0)
        loss = f"loss {losses[0]:.3f} best, {statistics.median(losses):.3f} median, " if losses else ""
        return f"{len(self.rows)} members, {loss}{speed:,.0f} samples/s each"


class PopulationWriter:
    """A writer of metrics for each member."""

    def __init__(self, members: Sequence[TrainConfig], step: int, axis: str) -> None:
        """See `MetricsWriter`."""
        self._writers = [MetricsWriter(member.run, step, axis) for member in members]

    def write(self, row: PopulationRow) -> None:
        """Append its row to each member's."""
        for number, of_member in row.rows.items():
            self._writers[number].write(of_member)

    def close(self) -> None:
        """Flush and close the files."""
        for writer in self._writers:
            writer.close()


class PopulationRows:
    """The function from a window's metrics to the members' rows. A member's last row is that in which it diverged."""

    def __init__(self, of_members: Sequence[RowOf], diverged: Collection[int]) -> None:
        """`diverged` are the numbers of the members that have diverged so far."""
        self._of_members, self._diverged, self._ended = of_members, diverged, set(diverged)

    def __call__(self, window: Window[Record]) -> PopulationRow:
        """The rows of the members that had not diverged in an earlier window."""
        records = [record._replace(metrics=jax.device_get(record.metrics)) for record in window.records]

        def of(number: int) -> MetricsRow:
            mine = [record.of_member(number) for record in records]
            return self._of_members[number](dataclasses.replace(window, records=mine))

        rows = {number: of(number) for number in range(len(self._of_members)) if number not in self._ended}
        self._ended = set(self._diverged)
        return PopulationRow(window.step, rows)
