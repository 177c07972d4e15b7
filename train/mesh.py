"""The device mesh, of one axis `data`: lanes are sharded over it, parameters are replicated."""

import time

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
"""Peak dense bfloat16 FLOP/s of a chip, by the beginning of JAX's `device_kind`; from the vendors' data sheets."""


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
    """Peak FLOP/s of all devices together: from the data sheet, else as measured with a large matrix product."""
    device = jax.devices()[0]
    for kind, peak in PEAK_FLOPS.items():
        if device.device_kind.startswith(kind):
            return peak * jax.device_count()
    return _measured_peak(dtype)


def _measured_peak(dtype: str, side: int = 1536, repeats: int = 5) -> float:
    """FLOP/s of the fastest of several square matrix products."""
    x = jax.numpy.ones((side, side), dtype)
    product = jax.jit(lambda a: a @ a)
    product(x).block_until_ready()
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        product(x).block_until_ready()
        best = min(best, time.perf_counter() - begin)
    return 2 * side**3 / best
