"""Which processes train together: by options, by environment variables, or as Slurm or Cloud TPU says."""

import importlib.util
import os
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from data.common.cli import UserError
from data.common.lease import refuse_if_held
from train.hosts.options import Hosts

ALONE = "--processes 1 trains alone"
_BY_ENVIRONMENT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def start(hosts: Hosts, run: Path) -> bool:
    """Join the processes that train together, before anything initialises JAX's devices; False if there is but this.

    Raises: UserError: the options contradict each other, the run is being trained already, or the processes have
        unequal numbers of devices.
    """
    chosen = cluster(hosts, os.environ, run)
    if chosen is None:
        return False
    # Before joining: a process that joins the processes of a running one makes all of them fail.
    refuse_if_held(run)
    # JAX's preemption service would take SIGTERM from Python.
    jax.config.update("jax_enable_preemption_service", False)
    if port := chosen.pop("port", None):
        os.environ.setdefault("JAX_COORDINATOR_PORT", str(port))
    jax.distributed.initialize(
        **chosen,
        initialization_timeout=hosts.start_timeout,
        heartbeat_timeout_seconds=hosts.heartbeat_timeout,
        shutdown_timeout_seconds=hosts.heartbeat_timeout,
    )
    if jax.device_count() != jax.process_count() * jax.local_device_count():
        here, total = jax.local_device_count(), jax.device_count()
        raise UserError(f"{here} devices here, {total} in all: give each process equally many")
    return True


def cluster(hosts: Hosts, environ: Mapping[str, str], run: Path) -> dict[str, Any] | None:
    """The arguments of `jax.distributed.initialize`, and the `port` of a detected coordinator; None to train alone.

    Raises: UserError: the options or variables are incomplete or contradict each other.
    """
    given = hosts.coordinator, hosts.processes, hosts.process_id
    if given == (None, 1, None):
        return None
    if given != (None, None, None):
        if hosts.coordinator is None or hosts.processes is None or hosts.process_id is None:
            raise UserError(f"--coordinator, --processes and --process-id belong together: give all three ({ALONE})")
        return _by_hand(hosts.coordinator, hosts.processes, hosts.process_id)
    if any(name in environ for name in _BY_ENVIRONMENT):
        missing = [name for name in _BY_ENVIRONMENT if name not in environ]
        if missing:
            raise UserError(f"{' and '.join(missing)} not set beside the others: set all three ({ALONE})")
        address, *numbers = (environ[name] for name in _BY_ENVIRONMENT)
        if not all(number.isdecimal() for number in numbers):
            raise UserError(f"JAX_NUM_PROCESSES {numbers[0]!r} and JAX_PROCESS_ID {numbers[1]!r} must be numbers")
        return _by_hand(address, int(numbers[0]), int(numbers[1]))
    return _slurm(environ) or _tpu(environ, run)


def _by_hand(address: str, processes: int, process: int) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"coordinator {address!r} is no HOST:PORT, such as 10.0.0.1:9000")
    if not 0 <= process < processes:
        raise UserError(f"process {process} of {processes}: number the processes from 0 to {processes - 1}")
    return {
        "coordinator_address": address,
        "num_processes": processes,
        "process_id": process,
        "cluster_detection_method": "deactivate",
    }


def _slurm(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The tasks of a job step that `srun` started; a batch script, an array's task and a lone task train alone."""
    tasks = int(environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks == 1:
        return None
    chosen: dict[str, Any] = {
        "num_processes": tasks,
        "process_id": int(environ["SLURM_PROCID"]),
        "cluster_detection_method": "slurm",
        "port": _port(f"{environ['SLURM_JOB_ID']}.{environ['SLURM_STEP_ID']}"),
    }
    # JAX gives the i-th task of a node its i-th GPU, whatever number of tasks and GPUs there are.
    if tasks == int(environ["SLURM_STEP_NUM_NODES"]) or "SLURM_GPUS_PER_TASK" in environ:
        chosen["local_device_ids"] = []
    return chosen


def _tpu(environ: Mapping[str, str], run: Path) -> dict[str, Any] | None:
    """The hosts of a Cloud TPU slice, or of several, if they are more than one host."""
    if {"TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES"} & environ.keys():
        return None
    if "tpu" not in environ.get("JAX_PLATFORMS", "tpu") or importlib.util.find_spec("libtpu") is None:
        return None
    names = environ.get("TPU_PROCESS_ADDRESSES", environ.get("TPU_WORKER_HOSTNAMES"))
    if names is not None:
        method, hosts, slices = "gketpu", names, environ.get("MEGASCALE_NUM_SLICES", "1")
    # JAX sets this variable, as it is imported, on a machine without TPU chips.
    elif "TPU_SKIP_MDS_QUERY" in environ:
        return None
    else:
        method, hosts = "gcetpu", _metadata(environ, "worker-network-endpoints")
        settings = dict(line.split(":", 1) for line in _metadata(environ, "tpu-env").splitlines() if ":" in line)
        slices = settings.get("MEGASCALE_NUM_SLICES", "1").strip(" '")
    if "," not in hosts and int(slices) == 1:
        return None
    # A second run on these hosts has a port of its own, and doesn't join the first.
    return {"cluster_detection_method": method, "port": _port(str(run))}


def _metadata(environ: Mapping[str, str], key: str) -> str:
    """An attribute of this virtual machine, from Google Cloud's metadata server; empty if there is none.

    Raises: UserError: the server does not answer.
    """
    server = environ.get("GCE_METADATA_IP", "metadata.google.internal")
    address = f"http://{server}/computeMetadata/v1/instance/attributes/{key}"
    request = urllib.request.Request(address, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return ""
        raise UserError(f"{address} says {error.code}: can't tell the slice's hosts; {ALONE}") from error
    except OSError as error:
        raise UserError(f"{address} does not answer: can't tell the slice's hosts; {ALONE}") from error


def _port(key: str) -> int:
    """A port above Linux's ephemeral ones, 61440 to 65535, by a hash of `key`."""
    return 61440 + zlib.crc32(key.encode()) % 4096
