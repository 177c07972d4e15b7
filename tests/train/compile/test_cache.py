"""Programs that a command has compiled serve the next."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.runs import AGENT, STEP
from train.compile import cache

ROOT = Path(__file__).resolve().parents[3]


def test_a_folder_that_the_user_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    cache.keep_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"


@pytest.mark.slow
def test_the_second_run_compiles_nothing_anew(store: Path, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_COMP", "JAX_PERS", "XLA"))}
    # Of a fast machine, programs take too little time to be kept.
    chosen = {"XDG_CACHE_HOME": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = kept | chosen | {"PYTHONPATH": str(ROOT)}

    def programs(run: str) -> set[str]:
        options = ["--agent", AGENT, "--lanes", "8", "--window", "8", "--flops", f"{2 * STEP}", "--dev-every", "never"]
        command = [sys.executable, "-m", "train", "bc", "--store", str(store), "--run", str(tmp_path / run), *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "error" not in done.stderr.lower()
        return {path.name for path in (tmp_path / "isoplay" / "jax").glob("*/*-cache")}

    first = programs("one")
    assert any(name.startswith("jit_train_steps") for name in first), first
    assert programs("two") == first
