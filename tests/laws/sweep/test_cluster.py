"""A sweep on a real Ray cluster of three nodes on this machine, one of which dies."""

import time
from pathlib import Path

import pytest

from data.common.cli import UserError
from data.common.cluster import run_tasks
from laws.rows.runs import read
from tests.laws.sweep.sweeps import OPTIONS, attempts, start

ray = pytest.importorskip("ray", reason="Ray is not installed (the extra cluster)")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_sweep_outlives_a_node(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    folder, cluster = tmp_path / "sweep", Cluster()
    try:
        _, *nodes = [cluster.add_node(num_cpus=1, num_gpus=0, include_dashboard=False) for _ in range(3)]
        monkeypatch.setenv("RAY_ADDRESS", str(cluster.address))
        process = start(folder, "--store", store, *OPTIONS, "--seeds", "2", "--executor", "ray")
        # All three nodes have a run, and one that waits is left.
        while process.poll() is None and len(attempts(folder)) < 3:
            time.sleep(0.05)
        cluster.remove_node(nodes[0], allow_graceful=False)
        said, errors = process.communicate(timeout=500)
    finally:
        cluster.shutdown()
    assert process.returncode == 0, said + errors
    assert len(read([folder / "runs.jsonl"]).rows) == 8
    endings = [each["ended"] for each in attempts(folder)]
    assert endings.count("done") == 4
    assert endings.count(None) >= 1, "the node that died had a run"


def test_without_a_cluster_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="no Ray cluster is running"):
        run_tasks([print], lambda: None, gpus=False)
