"""Which processes train together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jax
import pytest

from data.common.cli import UserError
from train.hosts.options import Hosts
from train.hosts.start import cluster

RUN = Path("run")
STEP = {
    "SLURM_JOB_ID": "71",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_PROCID": "3",
}
"""A task of a job step, as `srun -N 2 -n 8` sets its variables."""
JAX = {"JAX_COORDINATOR_ADDRESS": "host:9000", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "1"}
TPU = {"JAX_PLATFORMS": "tpu,cpu"}


def test_alone_without_a_cluster() -> None:
    assert cluster(Hosts(), {}, RUN) is None


def test_by_hand_and_by_environment_are_the_same() -> None:
    chosen = cluster(Hosts(coordinator="host:9000", processes=4, process_id=1), STEP, RUN)
    assert chosen == cluster(Hosts(), JAX, RUN)
    assert chosen == {
        "coordinator_address": "host:9000",
        "num_processes": 4,
        "process_id": 1,
        "cluster_detection_method": "deactivate",
    }


@pytest.mark.parametrize(
    ("hosts", "environ", "named"),
    [
        (Hosts(coordinator="host:9000"), {}, "give all three"),
        (Hosts(processes=2), {}, "give all three"),
        (Hosts(process_id=0), {}, "give all three"),
        (Hosts(coordinator="host", processes=2, process_id=0), {}, "'host' is no HOST:PORT"),
        (Hosts(coordinator="host:99999", processes=2, process_id=0), {}, "no HOST:PORT"),
        (Hosts(coordinator="host:9000", processes=2, process_id=2), {}, "process 2 of 2"),
        (Hosts(coordinator="host:9000", processes=2, process_id=-1), {}, "process -1 of 2"),
        (Hosts(), {"JAX_COORDINATOR_ADDRESS": "host:9000"}, "JAX_NUM_PROCESSES and JAX_PROCESS_ID not set"),
        (Hosts(), JAX | {"JAX_PROCESS_ID": "one"}, "'one' must be numbers"),
    ],
)
def test_what_is_incomplete_or_wrong_is_named(hosts: Hosts, environ: dict[str, str], named: str) -> None:
    with pytest.raises(UserError, match=named):
        cluster(hosts, environ, RUN)


@pytest.mark.parametrize(
    "environ",
    [
        STEP | {"SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_JOB_ID": "71", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"},
        {"SLURM_JOB_ID": "71", "SLURM_ARRAY_TASK_ID": "5", "SLURM_PROCID": "0"},
    ],
    ids=["srun of one task", "batch script", "array task"],
)
def test_an_independent_process_under_slurm_trains_alone(environ: dict[str, str]) -> None:
    assert cluster(Hosts(), environ, RUN) is None


def test_one_process_trains_alone_whatever_the_cluster() -> None:
    assert cluster(Hosts(processes=1), STEP | JAX, RUN) is None


def test_the_tasks_of_a_job_step_train_together() -> None:
    chosen = cluster(Hosts(), STEP, RUN)
    assert chosen
    assert (chosen["num_processes"], chosen["process_id"], chosen["cluster_detection_method"]) == (8, 3, "slurm")
    assert "local_device_ids" not in chosen
    other = cluster(Hosts(), STEP | {"SLURM_STEP_ID": "1"}, RUN)
    assert other
    assert other["port"] != chosen["port"]


@pytest.mark.parametrize("change", [{"SLURM_STEP_NUM_NODES": "8"}, {"SLURM_GPUS_PER_TASK": "1"}])
def test_a_task_has_all_gpus_that_are_its_own(change: dict[str, str]) -> None:
    chosen = cluster(Hosts(), STEP | change, RUN)
    assert chosen
    assert chosen["local_device_ids"] == []


@contextmanager
def metadata_server(**attributes: str) -> Iterator[dict[str, str]]:
    """Answers as Google Cloud's metadata server does, and yields the environment of a machine that asks it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            base, _, name = self.path.rpartition("/")
            known = base == "/computeMetadata/v1/instance/attributes" and self.headers["Metadata-Flavor"] == "Google"
            text = attributes.get(name.replace("-", "_")) if known else None
            self.send_response(404 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("localhost", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield {**TPU, "GCE_METADATA_IP": f"localhost:{server.server_port}"}
        server.shutdown()
        thread.join()


@pytest.fixture
def _libtpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that can be found as libtpu, without which JAX knows no TPU."""
    (tmp_path / "libtpu.py").touch()
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("_libtpu")
def test_the_hosts_of_a_tpu_slice_train_together() -> None:
    old, new = "unknown:unknown:10.0.0.2,unknown:unknown:10.0.0.3", "t1v-0.internal,t1v-1.internal"
    for endpoints in (old, new):
        with metadata_server(worker_network_endpoints=endpoints, tpu_env="ZONE: 'a'") as environ:
            chosen = cluster(Hosts(), environ, RUN)
            second = cluster(Hosts(), environ, Path("another"))
        assert chosen
        assert second
        assert chosen["cluster_detection_method"] == "gcetpu"
        assert chosen["port"] != second["port"]


@pytest.mark.usefixtures("_libtpu")
def test_slices_of_one_host_train_together() -> None:
    with metadata_server(worker_network_endpoints="a", tpu_env="A: '1'\nMEGASCALE_NUM_SLICES: '2'") as environ:
        assert cluster(Hosts(), environ, RUN)


@pytest.mark.usefixtures("_libtpu")
def test_one_tpu_host_trains_alone() -> None:
    with metadata_server(worker_network_endpoints="unknown:unknown:10.0.0.2", tpu_env="") as environ:
        assert cluster(Hosts(), environ, RUN) is None
    with metadata_server() as environ:
        assert cluster(Hosts(), environ, RUN) is None


@pytest.mark.usefixtures("_libtpu")
def test_a_process_with_chips_of_its_own_or_on_the_cpu_trains_alone() -> None:
    with metadata_server(worker_network_endpoints="a,b", tpu_env="") as environ:
        assert cluster(Hosts(), environ | {"TPU_VISIBLE_CHIPS": "0"}, RUN) is None
        assert cluster(Hosts(), environ | {"JAX_PLATFORMS": "cpu"}, RUN) is None


@pytest.mark.usefixtures("_libtpu")
def test_a_metadata_server_that_does_not_answer_is_named() -> None:
    with metadata_server() as environ:
        pass
    with pytest.raises(UserError, match="does not answer"):
        cluster(Hosts(), environ, RUN)


@pytest.mark.usefixtures("_libtpu")
def test_the_pods_of_a_kubernetes_slice_train_together() -> None:
    chosen = cluster(Hosts(), TPU | {"TPU_WORKER_HOSTNAMES": "a,b"}, RUN)
    assert chosen
    assert chosen["cluster_detection_method"] == "gketpu"
    assert cluster(Hosts(), TPU | {"TPU_WORKER_HOSTNAMES": "a"}, RUN) is None


def test_jax_marks_machines_without_tpu_chips() -> None:
    """`cluster` asks the metadata server only where JAX has not set this variable."""
    import os

    assert jax.devices()
    assert "TPU_SKIP_MDS_QUERY" in os.environ
