"""A process counts the cores and the memory that it may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.common import machine as module
from data.common.machine import available, memory_left, quotas

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.parametrize(
    "workers",
    [
        "from data.common.machine import cores; print(cores())",
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


MEMORY = {"memory__max": "4000000\n", "memory__current": "3000000\n"}


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ("0::/\n", [1_700_000]),
        ("0::/pod/container\n", [-100, 1_700_000]),
        ("4:memory:/docker\n1:cpu:/docker\n0::/\n", [300, 1_700_000]),
        ("1:cpu:/docker\n", []),
    ],
)
def test_the_limit_of_a_container_counts(tmp_path: Path, groups: str, found: list[int]) -> None:
    folder(tmp_path, "", **MEMORY, memory__stat="anon 100\ninactive_file 700000\nactive_file 5\n")
    folder(tmp_path, "pod", memory__max="max\n", memory__current="5\n", memory__stat="inactive_file 0\n")
    folder(tmp_path, "pod/container", memory__max="100\n", memory__current="200\n", memory__stat="inactive_file 0\n")
    mine = {"memory__limit_in_bytes": "1000\n", "memory__usage_in_bytes": "800\n"}
    folder(tmp_path, "memory/docker", **mine, memory__stat="inactive_file 9\ntotal_inactive_file 100\n")
    assert list(memory_left(groups, tmp_path)) == found


def test_available_memory_is_the_least_that_anything_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOUNT", tmp_path)
    monkeypatch.setattr(module, "_GROUPS", tmp_path / "groups")
    whole = available()
    assert 0 < whole < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    (tmp_path / "groups").write_text("0::/\n")
    folder(tmp_path, "", **MEMORY, memory__stat="inactive_file 700000\n")
    assert available() == 1_700_000
    folder(tmp_path, "", memory__current="9000000\n")
    assert available() == 0
