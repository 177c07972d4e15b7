"""Kernels that give the same bits each time they run. Those of a CPU do; on a GPU XLA has to be told."""

import os

from data.common.cli import UserError

FLAG = "--xla_gpu_deterministic_ops=true"
"""XLA: "Guarantees run-to-run determinism on GPU". Excludes kernels that are not deterministic, such as sums by atomic
operations, and the autotuning that chooses kernels by their measured speed (openxla/xla, `xla/xla.proto`)."""


def use_deterministic_kernels() -> None:
    """Add the flag to XLA_FLAGS, which XLA reads as JAX is initialised; call it before."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()


def require_deterministic_kernels() -> None:
    """Check the flag.

    Raises: UserError: XLA_FLAGS lacks it.
    """
    if FLAG not in os.environ.get("XLA_FLAGS", "").split():
        raise UserError(f"deterministic: set XLA_FLAGS={FLAG} in the environment before JAX is initialised")
