"""A trace of a few dispatches of training steps, which TensorBoard shows (`pip install xprof`)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from data.common.paths import absolute
from train.memory.fit import FittedStep

AFTER, CALLS = 2, 10
"""Calls before the trace begins, so that caches are warm, and calls that it covers."""


@contextmanager
def profiled(step: FittedStep, run: Path) -> Iterator["ProfiledStep"]:
    """The step with a trace of its calls `AFTER` to `AFTER + CALLS`, or those there are, in RUN/plugins/profile."""
    traced = ProfiledStep(step, run)
    try:
        yield traced
    finally:
        traced.stop()
    if traced.calls <= AFTER:
        print(f"no profile: the run made {traced.calls} dispatches, a trace begins after {AFTER}", file=sys.stderr)


class ProfiledStep:
    """A training step, some of whose calls are traced; see `profiled`."""

    def __init__(self, step: FittedStep, run: Path) -> None:
        self._step, self._run = step, run
        self.calls, self._running = 0, False
        self._last: Any = ()

    def compile(self, state: Any, batch: Any) -> None:
        """See `FittedStep.compile`."""
        self._step.compile(state, batch)

    def __call__(self, state: Any, batch: Any) -> Any:
        """The step's result."""
        if self.calls == AFTER:
            jax.profiler.start_trace(absolute(self._run))
            self._running = True
        with jax.profiler.StepTraceAnnotation("train", step_num=self.calls):
            state, self._last = self._step(state, batch)
        self.calls += 1
        if self.calls == AFTER + CALLS:
            self.stop()
        return state, self._last

    def stop(self) -> None:
        """Write the trace once its steps are computed, if one is under way."""
        if self._running:
            jax.block_until_ready(self._last)
            jax.profiler.stop_trace()
            self._running = False
