"""Devices to a mesh with one axis, `data`: lanes are spread over it, parameters stand on every device."""

import os

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from data.common.cli import UserError

PEAK_FLOPS = {
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}
"""Dense bfloat16 FLOP/s of a chip, by the start of JAX's `device_kind`; from the makers' data sheets."""


def start_hosts() -> None:
    """Join the other hosts of a cluster that JAX can find, or that JAX_COORDINATOR_ADDRESS names."""
    if "JAX_COORDINATOR_ADDRESS" in os.environ or len(os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")) > 1:
        jax.distributed.initialize()


def spread_over_cores(lanes: int) -> None:
    """Let JAX take a CPU's cores for devices, as many as divide the lanes; to be called before JAX is used.

    For networks of small products, which do not fill several cores each: 1.3 to 1.5 times as fast on 2 of them. What
    the environment says of the number of devices stands, and so does a cluster's.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    told = {"JAX_NUM_CPU_DEVICES", "JAX_COORDINATOR_ADDRESS"} & os.environ.keys()
    if "xla_force_host_platform_device_count" not in flags and not told:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        jax.config.update("jax_num_cpu_devices", max(n for n in range(1, cores + 1) if lanes % n == 0))


def make_mesh() -> Mesh:
    """All devices of all hosts along `data`."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_lanes(mesh: Mesh) -> NamedSharding:
    """The leading axis, lanes, spread over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def lanes_of_host(lanes: int) -> range:
    """The block of the batch's lanes that this host reads."""
    devices = jax.device_count()
    if lanes % devices:
        raise UserError(f"{lanes} lanes cannot be spread over {devices} devices: choose a multiple")
    mine = lanes // jax.process_count()
    return range(jax.process_index() * mine, (jax.process_index() + 1) * mine)


def put(tree, sharding: NamedSharding):
    """Arrays of this host's lanes to global arrays on the devices."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree)


def peak_flops(dtype: str) -> float:
    """FLOP/s that all devices together can reach: from the data sheet, else what a large product reaches here."""
    device = jax.devices()[0]
    for kind, peak in PEAK_FLOPS.items():
        if device.device_kind.startswith(kind):
            return peak * jax.device_count()
    return _measured_peak(dtype)


def _measured_peak(dtype: str, side: int = 1536, repeats: int = 5) -> float:
    """FLOP/s of square matrix products on one device's compute, the best of several."""
    import time

    x = jax.numpy.ones((side, side), dtype)
    product = jax.jit(lambda a: a @ a)
    product(x).block_until_ready()
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        product(x).block_until_ready()
        best = min(best, time.perf_counter() - begin)
    return 2 * side**3 / best
