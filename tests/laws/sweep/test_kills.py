"""A sweep whose driver and workers are killed at random moments ends as if it had not been disturbed."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from eval.results import ResultRow
from laws.rows.runs import read
from tests.laws.sweep.sweeps import attempts, start, sweep

KILLS = 10
GRID = [
    "--budgets=1e8,2e8,4e8,8e8,1.6e9",
    "--sizes=16,32,48,64,96",
    "--lanes=4",
    "--window=8",
    "--min-steps=1",
    "--max-epochs=1000",
    "--warmup-samples=640",
    "--workers=2",
    "--checkpoint-seconds=0",
]


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    own = [int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()]
    return own + [each for child in own for each in children(child)]


def events(folder: Path) -> int:
    """How much has happened in a sweep: attempts, rows of metrics, and cells."""
    attempts = sum(path.read_text().count("began") for path in folder.glob("attempts/*.json"))
    rows = sum(path.read_text().count("\n") for path in folder.glob("runs/*/metrics.jsonl"))
    return attempts + rows + len(list(folder.glob("cells/*.json")))


def wait_for(process: subprocess.Popen[str], folder: Path, more: int) -> None:
    """Wait until so much more has happened, or the process has ended."""
    before = events(folder)
    while process.poll() is None and events(folder) < before + more:
        time.sleep(0.02)


def results(folder: Path) -> list[ResultRow]:
    return [
        ResultRow(**{name: value for name, value in vars(row).items() if name not in ("checkpoint", "store")})
        for row in read([folder / "runs.jsonl"]).rows
    ]


@pytest.mark.slow
def test_ten_kills_lose_nothing_and_change_nothing(store: Path, tmp_path: Path) -> None:
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    sweep(calm, "--store", store, *GRID)
    dice = random.Random(0)
    for kill in range(KILLS):
        process = start(disturbed, "--store", store, *GRID)
        wait_for(process, disturbed, dice.randint(1, 8))
        victims = children(process.pid)
        # All at once, the driver alone, or one of the others and later the driver.
        chosen = [[process.pid, *victims], [process.pid], [dice.choice(victims or [process.pid])]][kill % 3]
        for pid in chosen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if process.pid not in chosen:
            wait_for(process, disturbed, 2)
            process.kill()
        process.communicate(timeout=1200)
    lost = [each for each in attempts(disturbed) if not each["ended"]]
    assert len(lost) >= KILLS / 2
    sweep(disturbed, "--store", store, *GRID)
    assert len(results(calm)) == 25
    assert results(disturbed) == results(calm)
    assert not list(disturbed.glob("failed/*"))
