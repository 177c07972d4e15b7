"""What the accelerators that we compile for can do.

Peak FLOP/s are in `train.mesh.PEAK_FLOPS`. TPUs: memory, its bandwidth and the interchip interconnect (ICI) per chip
from Google Cloud's page of each version (cloud.google.com/tpu/docs/v4, v5e, v5p, v6e). GPUs: memory and bandwidth from
XLA's description of the card (xla/backends/gpu/target_config/specs), NVLink from NVIDIA's data sheets, which give the
sum of both directions.
"""

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Accelerator:
    """A TPU chip or a GPU."""

    memory: int
    """Bytes of its high-bandwidth memory."""
    usable: int
    """Bytes of them that a step may use."""
    bandwidth: float
    """Bytes per second of its memory."""
    interconnect: float
    """Bytes per second that it can send to others of its slice or machine, over all links."""
    description: str | None = None
    """XLA's description of a GPU (a text-format GpuTargetConfigProto)."""


def _tpu(gib: int, bandwidth: float, interconnect_gbit: float) -> Accelerator:
    # The TPU compiler keeps memory for itself: it says of a v5e's 16 GiB that 15.75 can be used.
    return Accelerator(gib * GIB, gib * GIB - GIB // 4, bandwidth, interconnect_gbit * 1e9 / 8)


def _gpu(memory: int, bandwidth: float, nvlink: float, description: str) -> Accelerator:
    described = f"{description} memory_bandwidth: {bandwidth:.0f} device_memory_size: {memory}"
    return Accelerator(memory, int(memory * GPU_FRACTION), bandwidth, nvlink / 2, _DESCRIPTION % described)


GPU_FRACTION = 0.75
"""Fraction of a GPU's memory that JAX allocates, unless XLA_CLIENT_MEM_FRACTION says otherwise."""

_DESCRIPTION = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  %s
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 8 }
"""
_AMPERE = """shared_memory_per_core: 167936 core_count: 108 fpus_per_core: 64 l2_cache_size: 41943040
  clock_rate_ghz: 1.41 shared_memory_per_block_optin: 166912 cuda_compute_capability { major: 8 }"""
_HOPPER = """shared_memory_per_core: 233472 core_count: 132 fpus_per_core: 128 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 }"""

TPUS = {
    "v4": _tpu(32, 1228e9, 2400),
    "v5e": _tpu(16, 819e9, 1600),
    "v5p": _tpu(95, 2765e9, 4800),
    "v6e": _tpu(32, 1640e9, 3584),
}
GPUS = {
    "a100": _gpu(85_100_068_864, 2.03904e12, 600e9, _AMPERE),
    "h100": _gpu(84_942_979_072, 3.35232e12, 900e9, _HOPPER),
    "h200": _gpu(151_397_597_184, 4.8e12, 900e9, _HOPPER),
}
"""A100 SXM 80 GB, H100 SXM and H200 SXM."""
GPU_KINDS = {"a100": "NVIDIA A100-SXM4-80GB", "h100": "NVIDIA H100 80GB HBM3", "h200": "NVIDIA H200"}
"""What JAX calls them."""
