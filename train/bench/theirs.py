"""PyTorch's side of the benchmark: the same networks, trained on batches that are ready in memory."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import torch  # pyright: ignore[reportMissingImports]  # an extra

from data.sampling.stream import batches
from data.store.reader import TrajectoryStore
from train.bench import torchatari, torchnethack
from train.bench.cases import Case

NETWORKS = {"atari": torchatari, "nethack": torchnethack}
READY = 4
"""Batches in memory, used in turn."""


def their_loop(case: Case, store: TrajectoryStore) -> Callable[[int], int]:
    """A plain PyTorch loop with Adam: makes n steps, waits for them, returns their samples."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks: Any = NETWORKS[case.agent.name.split("/")[0]]
    policy = networks.module_of(case.agent, case.agent.init(jax.random.key(0))).to(device)
    optimizer = torch.optim.Adam(policy.parameters(), 1e-3, fused=True)
    read = itertools.islice(batches(store, "train", case.lanes, case.window, 0, order=case.order), READY)
    ready = [
        (networks.inputs_of(case.agent, batch), torch.from_numpy(batch.action).long(), int(batch.mask.sum()))
        for batch in read
    ]
    turn, carry = itertools.cycle(ready), [None]

    def loop(count: int) -> int:
        seen = 0
        for _ in range(count):
            inputs, action, samples = next(turn)
            seen += samples
            logits, carry[0] = policy({name: x.to(device) for name, x in inputs.items()}, carry[0])
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), action.to(device).flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return seen

    return loop
