"""Training speed of the paper's Atari networks against a plain PyTorch loop: `python -m train bench`.

Ours is measured from the store to the updated parameters. PyTorch trains the same network by Adam on batches of the
same size that are in memory already, as stacks of uint8 frames, which it scales.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np

from agents.atari.agent import AtariAgent
from agents.atari.cnn import CNN, LAYERS
from agents.cpu.devices import on_cpu
from data.collect.atari import collect_atari
from data.common.cli import UserError
from data.common.comparison import Line
from data.experts.registry import RANDOM
from data.games import atari
from data.sampling.stream import batches
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK
from data.store.reader import TrajectoryStore
from train.config import Optimizer
from train.input.transfer import transferred
from train.mesh import lanes_of_host, make_mesh, replicated
from train.optimizer import bc_optimizer
from train.state import TrainState, init_state
from train.step import make_train_step

WINDOW = 8
"""Steps per lane and batch."""
_STEPS = 1_000_000
"""Length of the schedule, longer than any measurement."""
_GAMES = 20


def bench(
    game: str, widths: Sequence[int], batch: int, seconds: float, rounds: int, store: Path | None
) -> Iterator[Line]:
    """For each width, measure both loops in turn for `seconds`, `rounds` times, and compare the medians.

    Learns from `store`, or from random play of the game.

    Raises: UserError: an argument is out of range, PyTorch is not installed, or the store is of another game.
    """
    if batch % WINDOW:
        raise UserError(f"--batch {batch}: give a multiple of {WINDOW}")
    if find_spec("torch") is None:
        raise UserError("PyTorch is not installed, which this compares with: pip install -e '.[torch]'")
    atari.content(game)
    lanes_of_host(batch // WINDOW)
    with tempfile.TemporaryDirectory() as scratch:
        if store is None:
            store = Path(scratch) / "store"
            collect_atari(store, game=game, expert=RANDOM, episodes=_GAMES)
        opened = TrajectoryStore.open(store)
        if opened.manifest["game"] != game:
            raise UserError(f"{store} holds games of {opened.manifest['game']}, not {game}")
        for width in widths:
            network = CNN(width, len(opened.manifest["actions"]))
            loops = {"ours": _ours(network, opened, batch), "theirs": _theirs(network, batch)}
            speeds: dict[str, list[float]] = {name: [] for name in loops}
            for _, (name, loop) in itertools.product(range(rounds), loops.items()):
                speeds[name].append(_samples_per_second(loop, seconds))
            ours, theirs = (statistics.median(speeds[name]) for name in ("ours", "theirs"))
            goal = ">= 1" if on_cpu() else ">= 3"
            yield Line(f"{game}, w = {width}, {network.cost().params:,} parameters", ours, theirs, "samples/s", goal)


def _samples_per_second(loop: Callable[[int], int], seconds: float) -> float:
    """Speed of a loop after a few warm-up steps; `loop(n)` makes n steps, waits for them and returns their samples."""
    loop(2)
    begin = time.perf_counter()
    loop(3)
    count = max(1, round(3 * seconds / (time.perf_counter() - begin)))
    begin = time.perf_counter()
    return loop(count) / (time.perf_counter() - begin)


def _ours(network: CNN, store: TrajectoryStore, batch: int) -> Callable[[int], int]:
    """The loop of `train.loop` without log and checkpoints."""
    agent = AtariAgent("atari/cnn", network).for_backend()
    config, mesh = Optimizer(lr=1e-3, schedule="constant"), make_mesh()
    optimizer = bc_optimizer(config, batch, _STEPS)
    step = make_train_step(agent, optimizer, average=config.average, dropout=0.0, seed=0, mesh=mesh, block=1)
    lanes = batch // WINDOW
    of_host = batches(store, "train", lanes, WINDOW, 0, threads=1, order="windows")
    stream = transferred(agent, of_host, mesh, (range(n, n + 1) for n in itertools.count()), 1)
    fresh = init_state(agent.init(jax.random.key(0)), optimizer, averaged=True)
    state: list[TrainState] = [jax.device_put(fresh, replicated(mesh))]

    def loop(count: int) -> int:
        samples = 0
        for _ in range(count):
            _, read = next(stream)
            samples += int(read.batches.mask.sum())
            state[0], _ = step(state[0], read)
        jax.block_until_ready(state[0])
        return samples

    return loop


def _theirs(network: CNN, batch: int) -> Callable[[int], int]:
    """A plain PyTorch loop."""
    import torch  # pyright: ignore[reportMissingImports]  # an extra

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    layers: list[Any] = []
    for (_, side, stride), (inputs, outputs) in zip(LAYERS, itertools.pairwise(network.channels), strict=True):
        layers += [torch.nn.Conv2d(inputs, outputs, side, stride), torch.nn.ReLU()]
    features = network.channels[-1] * network.sides[-1] ** 2
    policy = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(features, network.actions)).to(device)
    optimizer = torch.optim.Adam(policy.parameters(), 1e-3)
    random = np.random.default_rng(0)
    stacks = torch.from_numpy(random.integers(0, 256, (batch, STACK, FRAME_ROWS, FRAME_COLUMNS), np.uint8))
    action = torch.from_numpy(random.integers(0, network.actions, batch))

    def loop(count: int) -> int:
        for _ in range(count):
            logits = policy(stacks.to(device).float() / 255)
            loss = torch.nn.functional.cross_entropy(logits, action.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return count * batch

    return loop
