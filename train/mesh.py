"""The device mesh, of one axis `data`: lanes are sharded over it, parameters are replicated."""

import os
import re
import time

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from data.common.cli import UserError

PEAK_FLOPS = {
    "NVIDIA A100": 312e12,
    "NVIDIA B200": 2250e12,
    "NVIDIA GH200": 989e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989e12,
    "NVIDIA H200 NVL": 835e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40": 181e12,
    "NVIDIA L40S": 362e12,
    "TPU v2": 22.5e12,
    "TPU v3": 61.5e12,
    "TPU v4": 275e12,
    "TPU v4 lite": 138e12,
    "TPU v5": 459e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "TPU7x": 1153.5e12,
}
"""Peak dense bfloat16 FLOP/s of a JAX device, by the first words of its `device_kind`; from the vendors' data sheets.

"TPU v5" is v5p. The two cores of a chip are two devices of v2, v3 and 7x, and one of v4 and v5p.
"""


def start_hosts() -> None:
    """Initialise `jax.distributed` on a TPU pod, or where JAX_COORDINATOR_ADDRESS is set."""
    if "JAX_COORDINATOR_ADDRESS" in os.environ or len(os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")) > 1:
        jax.distributed.initialize()


def make_mesh(parts: int | None = None) -> Mesh:
    """A mesh of all devices of all hosts; given `parts`, of the most local devices whose number divides it."""
    if parts is None:
        count, devices = jax.device_count(), None
    else:
        local = jax.local_devices()
        count = max(n for n in range(1, len(local) + 1) if parts % n == 0)
        devices = local[:count]
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def over_lanes(mesh: Mesh) -> NamedSharding:
    """Sharding of an array's leading axis, lanes, over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def lanes_of_host(lanes: int) -> range:
    """The lanes of the batch that this host reads.

    Raises: UserError: the number of devices does not divide `lanes`.
    """
    devices = jax.device_count()
    if lanes % devices:
        raise UserError(f"{lanes} lanes cannot be spread over {devices} devices: choose a multiple")
    mine = lanes // jax.process_count()
    return range(jax.process_index() * mine, (jax.process_index() + 1) * mine)


def put(tree, sharding: NamedSharding):
    """Global arrays on the devices from this host's shards."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree)


def peak_flops(dtype: str) -> float:
    """Peak FLOP/s of all devices together: from the data sheets, else as measured with large matrix products."""
    peak = listed_peak(jax.devices()[0].device_kind)
    if peak is not None:
        return peak * jax.device_count()
    return _measured_peak(dtype) * jax.process_count()


def listed_peak(kind: str) -> float | None:
    """The entry of `PEAK_FLOPS` with the most words of a `device_kind`; None if there is none."""
    listed = [name for name in PEAK_FLOPS if re.match(rf"{re.escape(name)}\b", kind)]
    return PEAK_FLOPS[max(listed, key=len)] if listed else None


def _measured_peak(dtype: str, side: int = 1536, repeats: int = 5) -> float:
    """FLOP/s of the local devices together, which may share cores: the fastest of several matrix products on each."""
    devices = jax.local_devices()
    inputs = [jax.device_put(jax.numpy.ones((side, side), dtype), device) for device in devices]
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready([product(x) for x in inputs])
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready([product(x) for x in inputs])
        best = min(best, time.perf_counter() - begin)
    return len(devices) * 2 * side**3 / best
