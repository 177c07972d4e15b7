"""Both sides of the benchmark in turn."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from agents.cpu.devices import on_cpu
from data.collect.atari import collect_atari
from data.collect.nethack import collect
from data.common.cli import UserError
from data.common.comparison import Line
from data.experts.registry import RANDOM
from data.games.nethack import NAME
from data.importers.nld import import_nld
from data.store.reader import TrajectoryStore
from train.bench.cases import Case, cases
from train.bench.config import BenchConfig
from train.bench.ours import our_loop

GAMES, MOST_STEPS = 20, 1000
"""Games of random play to learn from by default, and the most steps of one of NetHack."""


def bench(config: BenchConfig) -> Iterator[Line]:
    """For each agent, measure both loops in turn, `config.rounds` times, and compare the medians.

    Raises: UserError: an option is out of range, PyTorch is not installed, or the store is of another game.
    """
    if config.members == 1 and find_spec("torch") is None:
        raise UserError("PyTorch is not installed, which this compares with: pip install -e '.[torch]'")
    with tempfile.TemporaryDirectory() as scratch:
        store = TrajectoryStore.open(config.store or random_play(config.game, Path(scratch)))
        for case in cases(config, store):
            yield compared(case, store, config, Path(scratch) / "run")


def random_play(game: str, folder: Path) -> Path:
    """A new store of a few games of random play."""
    store = folder / "store"
    if game == NAME:
        collect(folder / "games", episodes=GAMES, max_steps=MOST_STEPS, player=RANDOM)
        import_nld(folder / "games", store, expert=RANDOM)
    else:
        collect_atari(store, game=game, expert=RANDOM, episodes=GAMES)
    return store


def compared(case: Case, store: TrajectoryStore, config: BenchConfig, run: Path) -> Line:
    """Medians of `config.rounds` measurements of `config.seconds` each; `run` is the folder of no run."""
    goal = ">= 1" if on_cpu() else ">= 3"
    loops = our_loop(case, store, run, config.members), _other(case, store, config, run)
    speeds = [[samples_per_second(loop, config.seconds) for loop in loops] for _ in range(config.rounds)]
    ours, theirs = map(statistics.median, zip(*speeds, strict=True))
    params = case.agent.cost(case.window).params
    return Line(f"{case.agent.name}, {params:,} parameters", ours, theirs, "samples/s", goal)


def _other(case: Case, store: TrajectoryStore, config: BenchConfig, run: Path) -> Callable[[int], int]:
    """What is compared with: a run alone if we train a population, else PyTorch."""
    if config.members > 1:
        return our_loop(case, store, run)
    # Imported here: PyTorch is an extra.
    from train.bench.theirs import their_loop

    return their_loop(case, store)


def samples_per_second(loop: Callable[[int], int], seconds: float) -> float:
    """Speed of a loop, warmed up; `loop(n)` makes n dispatches, waits for them and returns their samples."""
    loop(2)
    begin = time.perf_counter()
    loop(2)
    count = max(1, round(2 * seconds / (time.perf_counter() - begin)))
    begin = time.perf_counter()
    return loop(count) / (time.perf_counter() - begin)
