"""Sweeps, collecting and evaluating on a real Ray cluster of three nodes on this machine, one of which dies."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data.collect.nethack import collect
from data.common.cli import UserError
from data.common.cluster import run_tasks
from eval.results import ResultRow
from laws.rows.runs import read
from tests.laws.sweep.sweeps import OPTIONS, ROOT, attempts, start

ray = pytest.importorskip("ray", reason="Ray is not installed (the extra cluster)")
RAY = ["--executor", "ray"]


def command(*words: str | Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    words = (sys.executable, "-m", *words)
    return subprocess.Popen(
        list(map(str, words)), env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_all_that_runs_on_a_cluster_outlives_a_node(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    folder, games, cluster = tmp_path / "sweep", tmp_path / "games", Cluster()

    def add_node() -> object:
        return cluster.add_node(num_cpus=1, num_gpus=0, include_dashboard=False)

    def whole(process: subprocess.Popen[str], begun: Callable[[], bool]) -> str:
        """What a command says, one of whose nodes dies once it has begun."""
        while process.poll() is None and not begun():
            time.sleep(0.05)
        assert process.poll() is None, process.communicate()
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
        said, errors = process.communicate(timeout=1200)
        assert process.returncode == 0, said + errors
        nodes.append(add_node())
        return said

    try:
        _, *nodes = [add_node() for _ in range(3)]
        monkeypatch.setenv("RAY_ADDRESS", str(cluster.address))
        sweep = start(folder, "--store", store, *OPTIONS, "--seeds", "2", *RAY)
        # All three nodes have a run, and one that waits is left.
        whole(sweep, lambda: len(attempts(folder)) >= 3)
        options = ["--episodes", "8", "--max-steps", "2000"]
        said = whole(
            command("data", "collect", "nethack", games, *options, *RAY), lambda: len(list(games.glob("*.part"))) >= 3
        )
        runs = sorted(folder.glob("runs/*"))
        options = ["--episodes", "120", "--max-steps", "60", "--no-film"]
        whole(command("eval", *runs, *options, *RAY), lambda: len(list(folder.glob("runs/*/budgets/*/games/*"))) >= 3)
    finally:
        cluster.shutdown()
    assert len(read([folder / "runs.jsonl"]).rows) == 8
    endings = [each["ended"] for each in attempts(folder)]
    assert endings.count("done") == 4
    assert endings.count(None) >= 1, "the node that died had a run"
    assert "8 games" in said
    alone = collect(tmp_path / "alone", episodes=8, max_steps=2000, workers=2)
    assert [path.read_text() for path in sorted(games.glob("game-*/game.json"))] == [
        path.read_text() for path in sorted((tmp_path / "alone").glob("game-*/game.json"))
    ]
    assert len(alone) == 8
    rows: list[ResultRow] = [row for run in runs for row in read([run / "runs.jsonl"]).rows]
    assert [row.episodes for row in rows] == [120] * 8


def test_without_a_cluster_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="no Ray cluster is running"):
        run_tasks([print], lambda: None, gpus=False)
