"""The device mesh, of the axes `data` and `fsdp`: lanes are sharded over both, the state over `fsdp`.

With `fsdp` = 1, the parameters are replicated (data parallelism). Else each array of the parameters, their average and
the optimiser's state is sharded over `fsdp` (fully sharded data parallelism): XLA gathers parameters where they are
used and reduces and scatters their gradients.
"""

import functools
import re
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

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


SHARDED = 2**14
"""Fewest numbers of an array that is worth sharding: to gather a smaller one takes longer than it saves."""


def make_mesh(parts: int | None = None, fsdp: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of `fsdp` × `data` devices: of all devices of all hosts, or of `devices`.

    Given `parts`, it is of the most local devices whose number divides it.

    Raises: UserError: `fsdp` does not divide the number of devices.
    """
    if parts is not None:
        local = jax.local_devices()
        devices = local[: max(n for n in range(1, len(local) + 1) if parts % n == 0)]
    # A host's devices stand side by side, for `lanes_of_host`, and so do those that share a copy of the parameters.
    ordered = sorted(devices or jax.devices(), key=lambda device: (device.process_index, device.id))
    if len(ordered) % fsdp:
        raise UserError(f"--fsdp {fsdp} does not divide {len(ordered)} devices: choose a divisor")
    return Mesh(np.array(ordered).reshape(-1, fsdp), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def over_lanes(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Sharding of an array's axis of lanes, by default the leading one, over the devices."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * axis, mesh.axis_names))


def over_fsdp(mesh: Mesh | AbstractMesh, tree: Any) -> Any:
    """Shardings of a tree of arrays over `fsdp`: each along its largest axis that can be divided evenly.

    Arrays of fewer than `SHARDED` numbers, and those that can't be divided, are replicated. Depends on shapes alone, so
    that an optimiser's moments are sharded like their parameters.
    """
    parts = mesh.shape["fsdp"]

    def of(x: Any) -> NamedSharding:
        axes = [axis for axis in range(x.ndim) if x.shape[axis] % parts == 0]
        if parts == 1 or x.size < SHARDED or not axes:
            return NamedSharding(mesh, PartitionSpec())
        axis = max(axes, key=lambda axis: x.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*(None,) * axis, "fsdp"))

    return jax.tree.map(of, tree)


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
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
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


@functools.cache
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
