"""Benchmarks of the data package against common alternatives: `python -m data bench`.

All numbers are measured on this machine in this run; compare the ratios. Speed per core is steps per second of CPU
time, summed over all threads.
"""

import bz2
import contextlib
import itertools
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from nle.dataset import Converter, TtyrecDataset, db, populate_db

from data.common.cli import UserError
from data.common.comparison import Line
from data.common.machine import cores
from data.games import atari, nethack
from data.importers import nld, parquet, ttyrec
from data.sampling.stream import Order, batches
from data.spec import COLUMNS, ROWS
from data.store.pack import CHUNK_STEPS, pack
from data.store.reader import TrajectoryStore
from data.store.writer import StoreWriter

LANES, WINDOW = 64, 128
_MANY = 10_000
"""Number of episodes in the store whose opening is timed."""
_FRAMES = 20_000
"""Number of steps of Breakout to play."""
_FAR = 1_000_000
"""Number of the batch at which resuming is timed."""


def bench_nethack(folder: Path, seconds: float, rounds: int) -> Iterator[Line]:
    """Benchmark on NetHack recordings of NLE: `folder/*/nle.*.ttyrec*.bz2` with their xlogfiles.

    The loaders run in turn, each for `seconds`, `rounds` times; medians are compared.

    Raises:
        UserError: The folder has too few games, or cannot be imported.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "store"
        start = time.perf_counter()
        report = nld.import_nld(folder, path)
        imported = report.steps / (time.perf_counter() - start) / cores()
        store = TrajectoryStore.open(path)
        if len(store.episodes) < LANES:
            raise UserError(f"{folder} holds {len(store.episodes)} games: TtyrecDataset needs {LANES}, one per lane")
        played = [folder / episode.source for episode in store.episodes]
        yield Line("import, steps/s per core (NLE's converter)", imported, _converter(played), "steps/s", ">= 0.9")
        recorded = sum(file.stat().st_size for file in played)
        stored = sum(file.stat().st_size for file in path.iterdir())
        yield Line("size (ttyrec.bz2)", stored / report.steps, recorded / report.steps, "bytes/step", "<= 0.75")

        loaders: dict[str, Callable[[], Iterable[Any]]] = {
            "TtyrecDataset": lambda: _ttyrec_dataset(folder, Path(scratch) / "ttyrecs.db"),
            "lanes": lambda: _stream(path, "lanes", 1),
            "windows": lambda: _stream(path, "windows", 1),
            "lanes on all cores": lambda: _stream(path, "lanes", cores()),
            "windows on all cores": lambda: _stream(path, "windows", cores()),
        }
        wall, core = {name: [] for name in loaders}, {name: [] for name in loaders}
        for _, (name, loader) in itertools.product(range(rounds), loaders.items()):
            per_second, per_core_second = _speed(loader(), seconds)
            wall[name].append(per_second)
            core[name].append(per_core_second)
        peer = statistics.median(core["TtyrecDataset"])
        for name in ("lanes", "windows"):
            yield Line(f"{name}, per core (TtyrecDataset)", statistics.median(core[name]), peer, "steps/s", ">= 50")
        for name in ("lanes", "windows"):
            alone, together = (statistics.median(wall[key]) for key in (name, f"{name} on all cores"))
            yield Line(f"{name}, {cores()} threads (one)", together, alone, "steps/s", f">= {0.9 * cores():g}")
        many = _many_episodes(store, Path(scratch) / "many")
        for name, begin in ((f"first batch of {_MANY:,} episodes", 0), (f"first batch from step {_FAR:,}", _FAR)):
            yield Line(f"{name} (1 second)", _first(many, begin), 1.0, "s", "< 1")


def bench_atari(seconds: float, rounds: int) -> Iterator[Line]:
    """Benchmark on random play of Breakout, against the same steps in Parquet, one flattened stack per row.

    Raises:
        UserError: There are too few steps for `seconds`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder, path = Path(scratch) / "parquet", Path(scratch) / "store"
        _play_breakout(folder, _FRAMES)
        report = parquet.import_parquet(folder, path, game="Breakout")
        sizes = (sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) for place in (path, folder))
        stored, recorded = (size / report.steps for size in sizes)
        loaders: dict[str, Callable[[], Iterable[Any]]] = {
            "Parquet": lambda: _read_parquet(folder),
            "lanes": lambda: _stream(path, "lanes", 1),
            "windows": lambda: _stream(path, "windows", 1),
            "single steps": lambda: _stream(path, "windows", 1, lanes=LANES * WINDOW, window=1),
        }
        core = {name: [] for name in loaders}
        for _, (name, loader) in itertools.product(range(rounds), loaders.items()):
            core[name].append(_speed(loader(), seconds)[1])
        peer = statistics.median(core.pop("Parquet"))
        for name, speeds in core.items():
            yield Line(f"Breakout, {name}, per core (Parquet)", statistics.median(speeds), peer, "steps/s", ">= 10")
        yield Line("Breakout, size (Parquet)", stored, recorded, "bytes/step", "<= 0.25")


def _play_breakout(folder: Path, steps: int) -> None:
    """Write episodes of random actions, at least this many steps, in the format of `data.importers.parquet`."""
    import pyarrow
    from ale_py.vector_env import AtariVectorEnv
    from pyarrow.parquet import write_table

    env = AtariVectorEnv("breakout", num_envs=1, repeat_action_probability=0.25)
    random, played, choices = np.random.default_rng(0), 0, len(atari.content("Breakout").actions)
    seen, _ = env.reset(seed=0)
    while played < steps:
        states, actions, done = [], [], False
        while not done:
            states.append(np.moveaxis(seen[0], 0, -1).reshape(-1).astype(np.int16))
            actions.append(random.integers(choices))
            seen, _, terminated, truncated, _ = env.step(np.array(actions[-1:]))
            done = terminated[0] or truncated[0]
        seen, _ = env.reset()
        place = folder / str(played)
        place.mkdir(parents=True)
        played += len(actions)
        columns = {
            "states": pyarrow.array(states, pyarrow.list_(pyarrow.int16())),
            "actions": pyarrow.array(actions, pyarrow.uint8()),
        }
        write_table(pyarrow.table(columns), place / "rollout.parquet")
        write_table(pyarrow.table({"score": [0], "steps": [len(actions)]}), place / "metadata.parquet")
    env.close()


def _read_parquet(folder: Path) -> Iterator[np.ndarray]:
    """Endlessly yield the first pixel of every step of an episode, which reads all states and actions."""
    from pyarrow.parquet import read_table

    for path in itertools.cycle(sorted(folder.glob("*/rollout.parquet"))):
        table = read_table(path, columns=["states", "actions"], memory_map=True, use_threads=False)
        states = table["states"].combine_chunks().flatten().to_numpy()
        actions = table["actions"].to_numpy()
        yield states.reshape(len(actions), -1)[:, 0]


def _speed(loader: Iterable[Any], seconds: float) -> tuple[float, float]:
    """Steps per second of wall time and of CPU time, after a warm-up of a tenth of `seconds`."""
    steps, begun = 0, None
    start = time.perf_counter()
    for count in map(_steps_of, loader):
        now = time.perf_counter()
        if begun is None:
            if now - start > seconds / 10:
                begun = now, time.process_time()
            continue
        steps += count
        if now - begun[0] > seconds:
            break
    if begun is None or not steps:
        raise UserError(f"too few games to read for {seconds:g} seconds: lower --seconds or give more games")
    return steps / (time.perf_counter() - begun[0]), steps / (time.process_time() - begun[1])


def _steps_of(batch: Any) -> int:
    if isinstance(batch, dict):
        return int(batch["done"].size)
    return int(batch.size) if isinstance(batch, np.ndarray) else int(batch.mask.sum())


def _stream(path: Path, order: Order, threads: int, lanes: int = LANES, window: int = WINDOW) -> Iterator[Any]:
    return batches(TrajectoryStore.open(path), "train", lanes, window, 0, threads=threads, order=order)


def _ttyrec_dataset(folder: Path, file: Path) -> TtyrecDataset:
    if not file.exists():
        db.create(str(file))
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            populate_db.add_nledata_directory(str(folder), "bench", str(file))
    return TtyrecDataset("bench", LANES, WINDOW, dbfilename=str(file), shuffle=False, loop_forever=True)


def _converter(recordings: list[Path]) -> float:
    """Steps per second of CPU time that NLE's converter reads, without writing them."""
    buffers, steps, some = ttyrec.converter_buffers(), 0, recordings[:20]
    versions = [ttyrec.version_of(np.frombuffer(bz2.decompress(path.read_bytes()), np.uint8)) for path in some]
    start = time.process_time()
    for recording, version in zip(some, versions, strict=True):
        converter = Converter(ROWS, COLUMNS, version)
        converter.load_ttyrec(str(recording))
        left = 0
        while not left:
            left = converter.convert(*buffers)
            steps += CHUNK_STEPS - left
    return steps / (time.process_time() - start)


def _many_episodes(store: TrajectoryStore, path: Path) -> Path:
    """Write a store of many short episodes, slices of real ones."""
    each = max(1, min(256, int(store.lengths.sum()) // _MANY))
    with StoreWriter(path, nethack.content(), expert="bench", dev_fraction=0.1) as writer:
        for row, length in enumerate(store.lengths):
            whole = store.read(row, 0, int(length))
            for start in range(0, int(length), each):
                if len(writer.episodes) < _MANY:
                    piece = type(whole)(*(column[start : start + each] for column in whole))
                    writer.add(pack(store.codec, [piece], score=0.0, source=f"{row} from {start}"))
    return path


def _first(path: Path, begin: int) -> float:
    start = time.perf_counter()
    next(batches(TrajectoryStore.open(path), "train", LANES, WINDOW, 0, start=begin))
    return time.perf_counter() - start


def memory() -> str:
    """The peak memory of this process, as text."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return f"peak memory {peak:,.0f} MiB, libraries and preparation included"
