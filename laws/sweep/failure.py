"""How a run of a sweep fails, and what is changed when it is tried again."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax

from data.common.cli import UserError
from train.config import TrainConfig
from train.failure.divergence import Diverged
from train.memory.settings import MOST as MOST_SAMPLES

Kind = Literal["memory", "diverged", "machine", "refused", "error"]

MOST: Mapping[Kind, int] = {"memory": 4, "diverged": 3, "machine": 3, "refused": 1, "error": 2}
"""Failures of a kind after which a run is given up."""
MOST_OF_A_HOST = 6
"""Failures of kind "machine" on one host alone after which a run is given up: that host may be what is broken."""
MOST_LOST = 20
"""Attempts in a row whose worker was lost before it saved anything, after which a run is given up.

Workers are lost for reasons that have nothing to do with the run, such as preemption, but a run may also kill each."""


def kind_of(error: Exception) -> Kind:
    """What an exception of a run says of its cause."""
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, UserError):
        return "refused"
    if isinstance(error, MemoryError) or (
        isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    ):
        return "memory"
    return "machine" if isinstance(error, (OSError, jax.errors.JaxRuntimeError)) else "error"


def verdict(attempts: Sequence[Mapping[str, Any]], progress: int) -> str | None:
    """Why a run is to be given up, given its attempts and the steps that are done; None if it is to be tried again."""
    for kind, most in MOST.items():
        failed = [attempt for attempt in attempts if attempt["ended"] == kind]
        if kind == "machine" and len({attempt["host"] for attempt in failed}) == 1:
            most = MOST_OF_A_HOST
        if len(failed) >= most:
            return f"{kind}: {failed[-1].get('message', '')}"
    lost = 0
    for attempt in reversed(attempts):
        if attempt["ended"] is not None or attempt["progress"] < progress:
            break
        lost += 1
    return f"its worker was lost {lost} times in a row at step {progress}" if lost >= MOST_LOST else None


def setbacks(attempts: Sequence[Mapping[str, Any]]) -> int:
    """Attempts at the step of the last one that were lost (or go on), or failed by their machine."""
    ended = [attempt["ended"] for attempt in attempts if attempt["progress"] == attempts[-1]["progress"]]
    return sum(how in (None, "machine") for how in ended)


def remedied(config: TrainConfig, attempts: Sequence[Mapping[str, Any]]) -> TrainConfig:
    """The configuration of the next attempt, changed by what the failures so far suggest.

    Out of memory: smaller microbatches, which change only rounding. Diverged: half of the learning rate, as often as it
    diverged, in a folder of its own.
    """
    endings = [attempt["ended"] for attempt in attempts]
    if memory := endings.count("memory"):
        given = MOST_SAMPLES if config.microbatch == "auto" else config.microbatch
        most = min(given, config.batch)
        config = dataclasses.replace(config, microbatch=max(config.window, most >> memory))
    rates = [attempt["lr"] for attempt in attempts if attempt["ended"] == "diverged"]
    if rates:
        lr = float(f"{min(rates) / 2:.3g}")
        run = config.run.with_name(f"{config.run.name}-lr{lr:g}")
        config = dataclasses.replace(config, run=run, optimizer=config.optimizer.at(lr))
    return config
