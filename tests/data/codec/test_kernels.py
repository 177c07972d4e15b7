"""Compiled functions, where Numba can and can't keep its cache."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import data

PROGRAM = """
import multiprocessing

import numpy as np

from data.codec.runlength import add_run


def runs(stop: int) -> int:
    return int(add_run(np.zeros((9, 2), np.uint8), 0, 0, 2, stop))


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(runs(300), pool.map(runs, [3, 300]))
"""


@pytest.mark.parametrize("chosen", [False, True], ids=["nowhere", "NUMBA_CACHE_DIR"])
def test_a_read_only_install_compiles_without_a_cache_and_says_so_once(tmp_path: Path, chosen: bool) -> None:
    # A file in place of the cache's folder stops even root, who may write anywhere.
    source, package = Path(data.__file__).parent, tmp_path / "data"
    for name in ("__init__.py", "codec/__init__.py", "codec/runlength.py", "codec/kernels.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, package / name)
    (package / "__init__.py").write_text("")
    for folder in (package / "codec", package):
        (folder / "__pycache__").touch()
    (tmp_path / "home").touch()
    (tmp_path / "program.py").write_text(PROGRAM)
    home = str(tmp_path / "home")
    surroundings = {"PATH": os.environ["PATH"], "HOME": home, "XDG_CACHE_HOME": home, "PYTHONDONTWRITEBYTECODE": "1"}
    if chosen:
        surroundings["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    command = [sys.executable, str(tmp_path / "program.py")]
    ran = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=1200)
    assert ran.stdout == "2 [1, 2]\n", ran.stderr
    assert ran.stderr.count("set NUMBA_CACHE_DIR") == (not chosen)
    assert len(ran.stderr.splitlines()) == (not chosen)
    assert bool(list(tmp_path.glob("cache/**/*.nbc"))) == chosen


@pytest.mark.slow
def test_no_kernel_leaves_its_arrays(tmp_path: Path) -> None:
    # Numba checks bounds only where it is told to, and not in what it has cached.
    tests = ["tests/data/codec", "tests/data/sampling/test_stream.py", "tests/data/importers/test_ttyrec.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    surroundings = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).resolve().parents[3]
    ran = subprocess.run(command, env=surroundings, cwd=root, capture_output=True, text=True, timeout=1200)
    assert ran.returncode == 0, ran.stdout
