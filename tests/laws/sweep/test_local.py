"""Places for workers on a machine."""

import importlib.util
import os
from pathlib import Path

import pytest

from laws.sweep import local
from laws.sweep.local import CHIP, GOOGLE, slots, tpus


def test_a_worker_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert [slot.environment for slot in slots(None)] == [{"CUDA_VISIBLE_DEVICES": name} for name in "25"]
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots(3)] == ["2", "5", "2"]


def test_a_worker_for_each_chip_of_a_tpu_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("TPU_VISIBLE_CHIPS", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    for name in ("dev/vfio/0", "dev/vfio/1", "dev/vfio/vfio", "sys/bus/pci/devices/a/vendor"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("0x10de")
    assert tpus(tmp_path) == [], "other devices may be in /dev/vfio"
    (tmp_path / "sys/bus/pci/devices/a/vendor").write_text(f"{GOOGLE}\n")
    assert tpus(tmp_path) == ["0", "1"]
    monkeypatch.setattr(local, "tpus", lambda root: ["0", "1"])
    assert [slot.environment for slot in slots(None)] == [CHIP | {"TPU_VISIBLE_CHIPS": name} for name in "01"]
    monkeypatch.setenv("TPU_VISIBLE_CHIPS", "3")
    assert tpus(tmp_path) == ["3"]


def test_a_worker_for_each_core_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    mine = os.sched_getaffinity(0)
    found = slots(None)
    assert 1 <= len(found) <= len(mine)
    assert frozenset().union(*(slot.cores for slot in found)) == mine
    assert [slot.environment for slot in found] == [{}] * len(found)
    assert len(slots(1)) == 1
