"""The settings that trade memory for time: microbatches and rematerialisation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import optax

from agents.spec import Agent
from data.common.cli import UserError
from train.config import Remat
from train.step import make_train_step, parts_of

MOST = 16_384
"""Samples per device that keep it busy. A larger microbatch saves no time and takes minutes to compile for a GPU, where
the compiler times kernels on such arrays."""
LEAST = 2048
"""Samples per device below which, it is assumed, a smaller microbatch costs more time than recomputing activations."""


@dataclass(frozen=True)
class Settings:
    """How a step computes its gradients."""

    microbatch: int
    """Samples per device whose gradients are computed at once."""
    remat: bool
    """Whether activations of the layers are recomputed in the backward pass."""


def candidates(
    agent: Agent, lanes: int, window: int, microbatch: int | Literal["auto"], remat: Remat
) -> tuple[Settings, ...]:
    """Settings for a device that has `lanes` lanes of `window` steps, from the fastest to the most frugal.

    Where both are given there is one. "auto" halves the microbatch from `MOST` down to `LEAST` samples, then recomputes
    activations, then halves on.

    Raises: UserError: the agent can't recompute its activations, but is told to.
    """
    if remat == "layers" and agent.rematerialised() is None:
        raise UserError(f"--remat layers: {agent.name} has no rematerialisation, choose --remat none")
    if microbatch == "auto":
        most = min(agent.microbatch or lanes * window, MOST)
        parts = dict.fromkeys(parts_of(lanes, window, most >> halved) for halved in range(most.bit_length()))
        sizes = [lanes // count * window for count in parts]
    else:
        sizes = [lanes // parts_of(lanes, window, microbatch) * window]
    if remat == "auto" and agent.rematerialised() is not None:
        kept = [size for size in sizes if size >= LEAST] or sizes[:1]
        spared = [size for size in sizes if size <= min(kept)]
    else:
        kept, spared = ([], sizes) if remat == "layers" else (sizes, [])
    return (*(Settings(size, False) for size in kept), *(Settings(size, True) for size in spared))


def step_maker(
    agent: Agent, optimizer: optax.GradientTransformation, **options: Any
) -> Callable[[Settings], jax.stages.Wrapped]:
    """A function from settings to the jitted step; `options` are the others of `make_train_step`."""

    def make(settings: Settings) -> jax.stages.Wrapped:
        chosen = (agent.rematerialised() or agent) if settings.remat else agent
        return make_train_step(chosen, optimizer, microbatch=settings.microbatch, **options)

    return make
