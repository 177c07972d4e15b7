"""Blocks: consecutive steps that one dispatch computes, in a compiled loop.

To dispatch a step of a small network takes the host as long as the step itself.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from agents.cpu.devices import on_cpu
from data.spec import Batch, Field
from train.mesh import over_lanes, replicated

State = TypeVar("State")
Step = Callable[[State, Batch], tuple[State, Any]]

_MOST_STEPS, _MOST_BYTES = 32, 2**27
"""Most steps of a block, and most bytes of the observations in their batches, of which an agent may be sent a part."""
_FLOPS_CPU, _FLOPS = 5e8, 5e11
"""FLOPs of a device, several milliseconds of them, after which the host's work for a dispatch no longer matters."""


class Block(NamedTuple):
    """What the steps of a dispatch read. K is the largest number of steps."""

    batches: Batch
    """Arrays [K, B, ...], of which the first `steps` hold batches."""
    steps: Any
    """Number of steps, an int32 scalar."""


def block_size(flops: float, bytes_: int) -> int:
    """A good number of steps in a block: of `flops` FLOPs and `bytes_` bytes of data, each on one device."""
    enough = (_FLOPS_CPU if on_cpu() else _FLOPS) / flops
    return max(1, min(_MOST_STEPS, int(enough), _MOST_BYTES // bytes_))


def bytes_of(observation: Mapping[str, Field]) -> int:
    """Bytes of one step's observation."""
    return sum(math.prod(field.shape) * np.dtype(field.dtype).itemsize for field in observation.values())


def blocks(start: int, stop: int, size: int, *, at: Sequence[int], every: Sequence[int]) -> Iterator[range]:
    """The steps [start, stop) in blocks of at most `size`, cut at the steps `at` and at multiples of `every` number."""
    while start < stop:
        cuts = (*(step for step in at if step > start), *(each * (start // each + 1) for each in every))
        begin, start = start, min(start + size, stop, *cuts)
        yield range(begin, start)


def jitted(step: Step[State], state: Any, mesh: Mesh, size: int | None = None) -> jax.stages.Wrapped:
    """A jitted step `(state, batch) → (state, metrics)`, given the state's shardings; the state is donated.

    With `size`, `(state, block) → (state, metrics)`: the steps of a block of size K, and their metrics [K, ...], zero
    where there is no step.
    """
    if size is None:
        batch, call = over_lanes(mesh), step
    else:
        batch, call = Block(over_lanes(mesh, axis=1), replicated(mesh)), _repeated(step, size)  # pyright: ignore
    return jax.jit(call, in_shardings=(state, batch), out_shardings=(state, replicated(mesh)), donate_argnums=0)


def _repeated(step: Step[State], size: int) -> Callable[[State, Block], tuple[State, Any]]:
    """The steps of a block, one after the other.

    The number of iterations is dynamic: however a run is cut into blocks, for example where it was interrupted, the
    same program computes its steps.
    """

    def train_step(state: State, block: Block) -> tuple[State, Any]:
        state, metrics = step(state, _at(block.batches, 0))
        return state, jax.tree.map(lambda x: x[None], metrics)

    def train_steps(state: State, block: Block) -> tuple[State, Any]:
        def body(number: jax.Array, carry: tuple[State, Any]) -> tuple[State, Any]:
            state, so_far = carry
            state, metrics = step(state, _at(block.batches, number))
            return state, jax.tree.map(lambda all_, x: all_.at[number].set(x), so_far, metrics)

        _, shapes = jax.eval_shape(step, state, _at(block.batches, 0))
        zeros = jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), shapes)
        return jax.lax.fori_loop(0, block.steps, body, (state, zeros))

    return train_step if size == 1 else train_steps


def _at(batches: Batch, number: int | jax.Array) -> Batch:
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, number, keepdims=False), batches)
