"""Strict JAX for every test: eight CPU devices, no implicit rank or dtype promotion, warnings are errors."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
# What one test, worker or process has compiled serves the others, and the next run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import pytest
from hypothesis import settings

from data.collect.nethack import collect
from data.importers.nld import import_nld

# Started in the background of a script, a process ignores SIGINT, and so would those that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# The first example of a property may compile a kernel.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker begins with one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module", autouse=True)
def _forget_what_was_compiled() -> Iterator[None]:
    """Programs for eight devices would add up to gigabytes over all modules."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def quickly_compiled() -> Iterator[None]:
    """Without LLVM's optimisations programs compile in half the time: for short tests of tolerances, not of bits."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared(part: str) -> Path:
    folder = SHARED / part
    if not folder.is_dir():
        pytest.skip(f"no {part} folder with real material beside this checkout")
    return folder


@pytest.fixture(scope="session")
def nld() -> Path:
    """Folder of real AutoAscend recordings: `train/` and `roles/`."""
    return _shared("nld")


@pytest.fixture(scope="session")
def cases() -> Path:
    """Folder of files that people have."""
    return _shared("cases")


@pytest.fixture(scope="session")
def paper() -> Path:
    """Folder of the paper's published measurements."""
    return _shared("paper")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store of real games, played by the embedded expert; some of them held out."""
    folder = tmp_path_factory.mktemp("games")
    collect(folder / "games", episodes=12, max_steps=150, workers=2)
    import_nld(folder / "games", folder / "store", expert="embedded", dev_fraction=0.4, workers=2)
    return folder / "store"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a file system of a size, for example 400k, and returns its folder."""
    folder = tmp_path / "disk"

    def mount(size: str) -> Path:
        folder.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=False).returncode:
            pytest.skip("mounting a small file system needs root")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)
