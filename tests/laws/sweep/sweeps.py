"""Small sweeps, and the command that runs them."""

import contextlib
import io
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from data.common import cli
from laws.design.config import Shared, Sweep, SweepConfig, shared_of
from laws.design.grid import content_of, grid_of
from laws.sweep.command import parsed

ROOT = Path(__file__).resolve().parents[3]
BUDGETS = (2e8, 6e8)
"""FLOPs: of `nethack/lstm/16` with batches of 64 samples, 39 and 118 steps."""
OPTIONS = [
    "--budgets=2e8,6e8",
    "--sizes=16,32",
    "--lanes=8",
    "--window=8",
    "--min-steps=10",
    "--max-epochs=100",
    "--warmup-samples=640",
    "--workers=1",
    "--checkpoint-seconds=0",
]


def described(store: Path, **options: Any) -> Sweep:
    """The sweep of `OPTIONS`, with changes."""
    values = {"budgets": BUDGETS, "sizes": ("16", "32"), "min_steps": 10, "max_epochs": 100.0}
    config, shared = SweepConfig(**values | options), shared_of(Shared(store=store, lanes=8, window=8))
    content = content_of(shared)
    return Sweep(config, shared, content.checksum, grid_of(config, shared, content).sizes)


def start(folder: Path, *words: str | Path) -> subprocess.Popen[str]:
    """Start `python -m train sweep FOLDER`."""
    command = [sys.executable, "-m", "train", "sweep", str(folder), *map(str, words)]
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def sweep(folder: Path, *words: str | Path, code: int = 0) -> tuple[str, str]:
    """Run `python -m train sweep FOLDER`, which exits with `code`; returns stdout and stderr."""
    process = start(folder, *words)
    said, errors = process.communicate(timeout=1500)
    assert process.returncode == code, said + errors
    return said, errors


def refused(folder: Path, *words: str | Path) -> str:
    """What `python -m train sweep FOLDER`, which exits with 2, says on stderr; run by this process."""
    errors = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(errors):
        patch.setattr(cli, "raise_interrupts", lambda: None)
        with pytest.raises(SystemExit) as ended:
            cli.exit_with(partial(parsed, prog="python -m train sweep"), ["sweep", str(folder), *map(str, words)])
    assert ended.value.code == 2, errors.getvalue()
    return errors.getvalue()


def attempts(folder: Path) -> list[dict[str, Any]]:
    """All attempts of the runs of a sweep."""
    return [each for path in folder.glob("attempts/*.json") for each in json.loads(path.read_text())]
