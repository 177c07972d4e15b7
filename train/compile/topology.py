"""Devices of a TPU slice or of a machine with GPUs that need not be here: JAX compiles for them, but can't run on them.

TPUs need libtpu (`jax[tpu]`), GPUs `jax-cuda12-plugin` and `jax-cuda12-pjrt` of JAX's version, without CUDA itself.
"""

import os
from dataclasses import dataclass
from typing import Any

from jax.experimental.topologies import get_topology_desc

from data.common.cli import UserError

GIB = 2**30

TPU_MEMORY = {"v4": 32 * GIB, "v5e": 16 * GIB, "v5p": 95 * GIB, "v6e": 32 * GIB}
"""High-bandwidth memory of a chip, from Google Cloud's pages on each version."""
TPU_RESERVED = GIB // 4
"""What the TPU compiler keeps for itself: it says of a v5e's 16 GiB that 15.75 can be used."""

GPU_FRACTION = 0.75
"""Fraction of a GPU's memory that JAX allocates, unless XLA_CLIENT_MEM_FRACTION says otherwise."""

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 3352320000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 84942979072 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
"""XLA's description of an H100 SXM (a text-format GpuTargetConfigProto)."""
H100_MEMORY = 84_942_979_072


@dataclass(frozen=True)
class Topology:
    """Devices to compile for."""

    devices: tuple[Any, ...]
    memory: int
    """Bytes of a device that a step may use."""


def topology_of(name: str) -> Topology:
    """The devices of a TPU slice, for example `v5e:2x4`, or of a machine with GPUs, `h100:8`.

    Raises: UserError: the name is neither.
    """
    kind, _, size = name.partition(":")
    if kind in TPU_MEMORY and size:
        # Without these, libtpu looks for the slice that this machine belongs to.
        for variable, value in (("TPU_SKIP_MDS_QUERY", "1"), ("TPU_WORKER_HOSTNAMES", "localhost")):
            os.environ.setdefault(variable, value)
        devices = get_topology_desc(platform="tpu", topology_name=name).devices
        return Topology(tuple(devices), TPU_MEMORY[kind] - TPU_RESERVED)
    if kind == "h100" and size.isdigit():
        devices = get_topology_desc("topology", "cuda", topology=f"1x1x{size}", target_config=H100).devices
        return Topology(tuple(devices), int(H100_MEMORY * GPU_FRACTION))
    raise UserError(f"no devices {name!r}: give a TPU slice, for example v5e:2x4, or h100:8")
