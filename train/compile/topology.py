"""Devices of a TPU slice or of a machine with GPUs that need not be here: JAX compiles for them, but can't run on them.

TPUs need libtpu (`isoplay[tpu]`), GPUs JAX's CUDA plugin (`isoplay[cuda]`), without a driver or a device.
"""

import importlib.util
import os
from dataclasses import dataclass
from typing import Any

from jax.errors import JaxRuntimeError
from jax.experimental.topologies import get_topology_desc

from data.common.cli import UserError
from train.compile.devices import GPU_KINDS, GPUS, TPUS, Accelerator
from train.mesh import listed_peak


@dataclass(frozen=True)
class Topology:
    """Devices to compile for."""

    name: str
    devices: tuple[Any, ...]
    accelerator: Accelerator
    peak: float
    """Peak bfloat16 FLOP/s of one."""

    @property
    def memory(self) -> int:
        """Bytes of a device that a step may use."""
        return self.accelerator.usable

    @property
    def gpu(self) -> bool:
        """Whether these are GPUs."""
        return self.accelerator.description is not None


def topology_of(name: str) -> Topology:
    """The devices of a TPU slice, for example `v5e:2x4`, or of a machine with GPUs, `h100:8`.

    Raises: UserError: the name is neither, or the compiler is not installed.
    """
    kind, _, size = name.partition(":")
    if kind in TPUS and size:
        return _slice(name, kind)
    if kind in GPUS and size.isdecimal() and int(size) > 0:
        return _machine(name, kind, int(size))
    known = ", ".join([*(f"{tpu}:2x2" for tpu in TPUS), *(f"{gpu}:8" for gpu in GPUS)])
    raise UserError(f"no target {name!r}: give a kind and its topology, such as {known}")


def _slice(name: str, kind: str) -> Topology:
    if not installed("libtpu"):
        raise UserError(f"{name} needs the TPU compiler: pip install 'isoplay[tpu]'")
    # Without these, libtpu looks for the slice that this machine belongs to.
    for variable, value in (
        ("TPU_SKIP_MDS_QUERY", "1"),
        ("TPU_WORKER_HOSTNAMES", "localhost"),
        ("TPU_ACCELERATOR_TYPE", "v5litepod-16"),
        # Several processes may compile at once, as none takes a device.
        ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
    ):
        os.environ.setdefault(variable, value)
    # As on the real chip, its two cores are one device.
    options = {"chip_config_name": "megacore"} if kind in ("v4", "v5p") else {}
    try:
        devices = get_topology_desc(platform="tpu", topology_name=name, **options).devices
    except (JaxRuntimeError, ValueError) as error:
        if isinstance(error, JaxRuntimeError) and "INVALID_ARGUMENT" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise UserError(f"no TPU slice {name!r} ({reason}): choose a topology of {kind}, such as {kind}:2x2") from None
    return _topology(name, devices, TPUS[kind], devices[0].device_kind)


def _machine(name: str, kind: str, count: int) -> Topology:
    if not any(installed(f"jax_plugins.xla_cuda{version}") for version in (12, 13)):
        raise UserError(f"{name} needs the GPU compiler: pip install 'isoplay[cuda]'")
    # Autotuning would run kernels.
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_autotune_level" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_autotune_level=0".strip()
    text = f'{GPUS[kind].description}device_description_str: "{GPU_KINDS[kind]}"\n'
    devices = get_topology_desc("topology", "cuda", topology=f"1x1x{count}", target_config=text).devices
    return _topology(name, devices, GPUS[kind], GPU_KINDS[kind])


def _topology(name: str, devices: Any, accelerator: Accelerator, kind: str) -> Topology:
    peak = listed_peak(kind)
    assert peak is not None, f"no peak FLOP/s of {kind}"
    return Topology(name, tuple(devices), accelerator, peak)


def installed(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
