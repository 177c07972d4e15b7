"""What the processes that train together decide together, by public JAX collectives."""

import json
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from data.common.cli import UserError
from train.hosts.leave import AgreedError

T = TypeVar("T")

_MOST_BYTES = 4096
"""Longest text that process 0 sends to the others."""
LAG = 2
"""Steps between a vote and its outcome. The devices count the votes meanwhile, and the host does not wait for them."""
SAVE = 1
"""Decision to save and go on. The others are numbers of signals, to save and stop: the largest wins."""


def first() -> bool:
    """Whether this is process 0, which writes what is written once."""
    return jax.process_index() == 0


class Agreement:
    """Decisions that all processes take after the same step: to go on (0), to save, or to stop at a signal.

    Every process votes after every step; the decision after step s is the largest vote after step s - `LAG`. The votes
    are a collective of one number per process, queued behind the step. A process that trains alone decides at once.
    """

    def __init__(self) -> None:
        self._pending: deque[jax.Array] = deque()
        self._alone = jax.process_count() == 1
        heads = {device.process_index: device for device in reversed(jax.devices())}
        mesh = Mesh(np.array([heads[process] for process in sorted(heads)]), ("process",))
        self._votes = NamedSharding(mesh, PartitionSpec("process"))
        self._largest = jax.jit(lambda votes: votes.max(), out_shardings=NamedSharding(mesh, PartitionSpec()))

    def decide(self, *, save: bool, stop: int) -> int:
        """Vote, and return the decision. Process 0 alone can vote to save, as each has its own clock.

        `stop` is the number of the signal that this process received, 0 if none. Call it after every step.
        """
        vote = stop or SAVE * (save and first())
        if self._alone:
            return vote
        votes = jax.make_array_from_process_local_data(self._votes, np.array([vote], np.int32))
        self._pending.append(self._largest(votes))
        if len(self._pending) <= LAG:
            return 0
        decision = int(self._pending.popleft())
        if decision:
            # Votes since then were for the same save.
            self._pending.clear()
        return decision


def together(action: Callable[[], T]) -> T:
    """Call `action` in every process and return its result, or raise in all of them if it fails in one.

    Raises: AgreedError: `action` raised one here or in another process.
    """
    if jax.process_count() == 1:
        return action()
    failure, result = "", None
    try:
        result = action()
    except UserError as error:
        failure = str(error) or "failed"
    text = np.zeros(1024, np.uint8)
    encoded = failure.encode()[: len(text)]
    text[: len(encoded)] = list(encoded)
    failures = multihost_utils.process_allgather(text)
    for process, bytes_ in enumerate(np.asarray(failures)):
        if bytes_.any():
            said = bytes(bytes_[bytes_ > 0]).decode(errors="replace")
            raise AgreedError(failure or f"process {process}: {said}")
    return result  # pyright: ignore[reportReturnType]


def by_first(action: Callable[[], object]) -> None:
    """Call `action` in process 0 while the others wait.

    Raises: AgreedError: in every process, if `action` raised one.
    """
    together(lambda: action() if first() else None)


def of_first(action: Callable[[], T]) -> T:
    """The result of `action`, values of JSON, as process 0 finds it, in every process.

    Raises: AgreedError: in every process, if `action` raised one.
    """
    if jax.process_count() == 1:
        return action()
    found: list[str] = []
    by_first(lambda: found.append(json.dumps(action())))
    text = np.zeros(_MOST_BYTES, np.uint8)
    for word in found:
        text[: len(word)] = list(word.encode())
    text = np.asarray(multihost_utils.broadcast_one_to_all(text))
    return json.loads(bytes(text[text > 0]))


def same_everywhere(values: Mapping[str, Any]) -> None:
    """Check that all processes were started with the same options.

    Raises: AgreedError: they differ.
    """
    if jax.process_count() == 1:
        return
    sums = np.array([zlib.crc32(repr(values[name]).encode()) for name in sorted(values)], np.uint32)
    rows = np.asarray(multihost_utils.process_allgather(sums))
    differ = [name for name, column in zip(sorted(values), rows.T, strict=True) if len(set(column.tolist())) > 1]
    if differ:
        raise AgreedError(f"processes differ in {', '.join(differ)}: start all alike (--processes 1 trains alone)")
