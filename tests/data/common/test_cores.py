"""A process counts the cores that it may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.common import cores as module
from data.common.cores import quotas

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.parametrize(
    "workers",
    [
        "from data.common.cores import cores; print(cores())",
        "from eval.config import EvalConfig; print(EvalConfig.workers)",
        "from laws.study.reproduce import WORKERS; print(WORKERS)",
    ],
)
def test_it_uses_no_more_cores_than_it_may(workers: str) -> None:
    one = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {workers}"
    done = subprocess.run([sys.executable, "-c", one], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def folder(mount: Path, path: str, **files: str) -> None:
    group = mount / path
    group.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (group / name.replace("__", ".")).write_text(content)


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ("0::/\n", [2.5]),
        ("0::/pod/container\n", [1.5, 2.5]),
        ("0::/elsewhere\n", [2.5]),
        ("0::/../other\n", [2.5]),
        ("4:memory:/\n1:cpu,cpuacct:/docker\n0::/\n", [0.5, 2.5]),
        ("3:cpuset:/\n2:cpuacct:/\n", []),
        ("", []),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, groups: str, found: list[float]) -> None:
    folder(tmp_path, "", cpu__max="250000 100000\n")
    folder(tmp_path, "pod", cpu__max="max 100000\n")
    folder(tmp_path, "pod/container", cpu__max="150000 100000\n")
    folder(tmp_path, "cpu,cpuacct", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    folder(tmp_path, "cpu,cpuacct/docker", cpu__cfs_quota_us="50000\n", cpu__cfs_period_us="100000\n")
    assert list(quotas(groups, tmp_path)) == found


def test_cores_are_at_least_one_and_no_more_than_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOUNT", tmp_path)
    monkeypatch.setattr(module, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8, 9})
    assert module.allowed() == [3, 5, 8, 9]
    (tmp_path / "groups").write_text("0::/\n")
    for quota, mine in (("max", [3, 5, 8, 9]), ("900000", [3, 5, 8, 9]), ("150000", [3, 5]), ("10000", [3])):
        folder(tmp_path, "", cpu__max=f"{quota} 100000\n")
        assert module.allowed() == mine
        assert module.cores() == len(mine)
