"""The fastest settings with which the compiled training step fits the device."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.errors import JaxRuntimeError
from jax.experimental import multihost_utils

from data.common.cli import UserError
from train.failure.skipping import LAG
from train.hosts.agree import first
from train.memory.settings import Settings


@dataclass(frozen=True)
class Memory:
    """Bytes of a device that a compiled step needs."""

    arguments: int
    """The state and the batch."""
    temporaries: int
    """Activations, gradients, and results that don't replace an argument."""
    code: int
    next_batches: int
    """The batches of dispatches that wait for this one, and the one that is transferred meanwhile."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.arguments + self.temporaries + self.code + self.next_batches


@dataclass(frozen=True)
class Fitted:
    """A compiled step, its settings and its memory; None if the compiler itself found that it does not fit."""

    settings: Settings
    step: Any
    memory: Memory | None
    seconds: float
    """Seconds that it took to trace and compile."""

    def fits(self, limit: int) -> bool:
        """Whether it needs at most `limit` bytes of each device."""
        return self.memory is not None and self.memory.total <= limit


def compiled(make: Callable[[Settings], Any], settings: Settings, state: Any, batch: Any) -> Fitted:
    """Compile the step that `make` jits for these settings; `state` and `batch` are arrays or shapes with shardings."""
    begin = time.perf_counter()
    try:
        step = make(settings).lower(state, batch).compile()
    except JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Fitted(settings, None, None, time.perf_counter() - begin)
    return Fitted(settings, step, memory_of(step, batch), time.perf_counter() - begin)


def memory_of(step: Any, batch: Any) -> Memory:
    """What a compiled step needs of each device, by XLA's account."""
    needs = step.memory_analysis()
    results = needs.output_size_in_bytes - needs.alias_size_in_bytes
    return Memory(
        arguments=needs.argument_size_in_bytes,
        temporaries=needs.temp_size_in_bytes + results,
        code=needs.generated_code_size_in_bytes,
        next_batches=(1 + LAG) * bytes_per_device(batch),
    )


def bytes_per_device(tree: Any) -> int:
    """Bytes of arrays, or of shapes with shardings, on each device."""
    leaves = jax.tree.leaves(tree)
    return sum(int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize for x in leaves)


def fastest(make: Callable[[Settings], Any], choices: Sequence[Settings], state: Any, batch: Any, limit: int) -> Fitted:
    """The first of `choices` whose compiled step fits into `limit` bytes of each device.

    Raises: UserError: none fits.
    """
    fitted = first_fitting(make, choices, state, batch, limit)
    if fitted.fits(limit):
        return fitted
    raise UserError(
        f"the training step does not fit into {limit / 2**30:.1f} GiB of a device: choose more devices, a larger"
        " --fsdp, fewer --lanes or a smaller --microbatch"
    )


def first_fitting(
    make: Callable[[Settings], Any], choices: Sequence[Settings], state: Any, batch: Any, limit: int
) -> Fitted:
    """The first of `choices` that fits, compiled, or else the last that was compiled.

    A choice is not compiled if its activations, in proportion to those of one that was, would not fit.
    """
    tried: list[Fitted] = []
    for settings in choices:
        if not any(_at_least(seen, settings) > limit for seen in tried):
            tried.append(compiled(make, settings, state, batch))
            if tried[-1].fits(limit):
                break
    return tried[-1]


def _at_least(seen: Fitted, settings: Settings) -> float:
    """Bytes that a step with `settings` needs at least, given the memory of another; 0 if they can't be compared."""
    if seen.memory is None or seen.settings.remat != settings.remat:
        return 0
    fixed = seen.memory.total - seen.memory.temporaries
    return fixed + seen.memory.temporaries * settings.microbatch / seen.settings.microbatch


def device_memory() -> int | None:
    """Bytes that JAX may use of a device, the least of all processes' devices; None where it is not known (CPU)."""
    stats = [device.memory_stats() for device in jax.local_devices()]
    limits = [entry["bytes_limit"] for entry in stats if entry and "bytes_limit" in entry]
    if len(limits) < len(stats):
        return None
    limit = np.float32(min(limits))
    return int(np.min(multihost_utils.process_allgather(limit)) if jax.process_count() > 1 else limit)


class FittedStep:
    """A training step, compiled with the fastest settings that fit the device."""

    def __init__(self, make: Callable[[Settings], Any], choices: Sequence[Settings], *, held: bool = False) -> None:
        """`make` jits the step for settings, of which `choices` are given from the fastest to the most frugal.

        `held`: the device holds a second state, which a branch started from.
        """
        self._make, self._choices, self._held, self._step = make, choices, held, None

    def compile(self, state: Any, batch: Any) -> None:
        """Compile it for arguments like these, unless it is compiled already.

        Raises: UserError: the step fits with none of the settings.
        """
        if self._step is None:
            self._step = self._chosen(state, batch)

    def __call__(self, state: Any, batch: Any) -> Any:
        """The step's result; `compile` it before."""
        assert self._step is not None, "compile comes first"
        return self._step(state, batch)

    def _chosen(self, state: Any, batch: Any) -> Any:
        limit = device_memory()
        if limit is None:
            return compiled(self._make, self._choices[0], state, batch).step
        limit -= bytes_per_device(state) if self._held else 0
        fitted = fastest(self._make, self._choices, state, batch, limit)
        if first() and fitted.memory is not None:
            kept = "layers recomputed" if fitted.settings.remat else "no rematerialisation"
            print(
                f"microbatches of {fitted.settings.microbatch} samples per device, {kept}:"
                f" {fitted.memory.total / 2**30:.1f} of {limit / 2**30:.1f} GiB"
            )
        return fitted.step
