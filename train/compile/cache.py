"""JAX's persistent compilation cache, on by default."""

import hashlib
import os
import platform
import sys
from pathlib import Path


def keep_programs() -> None:
    """Let JAX keep what it compiles in `~/.cache/isoplay/jax`, at most 2 GiB, unless JAX_COMPILATION_CACHE_DIR is set.

    A program that took a second or more is then compiled once for all runs. Programs for a CPU are of its instructions,
    so that each kind of CPU has a folder of its own, which hosts may share.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cpu = hashlib.sha256(_instructions().encode()).hexdigest()[:12]
    chosen = {"dir": str(caches / "isoplay" / "jax" / cpu), "max_size": 2 * 2**30}
    os.environ |= {f"JAX_COMPILATION_CACHE_{name.upper()}": str(value) for name, value in chosen.items()}
    # JAX reads the environment as it is imported, and imports take seconds.
    if "jax" in sys.modules:
        for name, value in chosen.items():
            sys.modules["jax"].config.update(f"jax_compilation_cache_{name}", value)


def _instructions() -> str:
    """The kind of CPU and, where Linux tells, its sets of instructions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {flags}"
