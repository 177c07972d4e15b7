"""The whole study in one command: interrupted, continued, complete."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.common.cli import UserError
from data.games import registry
from laws.rows.runs import read
from laws.study import nethack
from laws.study.reproduce import claim

ROOT = Path(__file__).resolve().parents[2]
SMOKE = nethack.PRESETS["smoke"]


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "laws", "reproduce", "smoke", "--out", str(folder)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_smoke_goes_on_after_an_interruption_and_leaves_everything(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    process = start(folder)
    begun = folder / "attempts"
    deadline = time.monotonic() + 1200
    while not list(begun.glob("*.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=1200)
    assert process.returncode == 130, said.decode()
    assert not (folder / "report.html").exists()

    process = start(folder)
    said, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, said.decode()
    rows = read([folder / "runs.jsonl"]).rows
    assert {(row.size, row.flops) for row in rows} == {(s, b) for s in SMOKE.sweep.sizes for b in SMOKE.sweep.budgets}
    assert all(row.loss and row.return_mean is not None and row.episodes == SMOKE.sweep.episodes for row in rows)
    laws = json.loads((folder / "laws.json").read_text())
    assert {law["y"] for law in laws["laws"]} >= {"loss", "params", "samples"}
    pictures = sorted(path.name for path in folder.glob("nethack-*"))
    assert len(pictures) == 24
    assert all((folder / name).stat().st_size > 2000 for name in pictures)
    page = (folder / "report.html").read_text()
    assert all(word in page for word in ("random policy", "embedded expert", "best agent"))


def test_games_that_cannot_be_had_are_refused_before_anything_is_written(store: Path, tmp_path: Path) -> None:
    for game, given, said in (
        ("Brekout", None, "did you mean Breakout"),
        ("Pong", None, "Pong has no embedded expert"),
        ("Breakout", store, "holds games of nethack, not Breakout"),
    ):
        with pytest.raises(UserError, match=said):
            claim(tmp_path / "study", "smoke", registry.find(game), given)
    assert not (tmp_path / "study").exists()


def test_a_folder_of_another_study_is_refused(tmp_path: Path) -> None:
    claim(tmp_path / "study", "smoke", registry.find("nethack"), None)
    claim(tmp_path / "study", "smoke", registry.find("nethack"), None)
    with pytest.raises(UserError, match="another preset, game or store"):
        claim(tmp_path / "study", "quickstart", registry.find("nethack"), None)
    with pytest.raises(UserError, match="not empty"):
        claim(tmp_path, "smoke", registry.find("nethack"), None)


def test_a_missing_store_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no store"):
        claim(tmp_path / "study", "smoke", registry.find("nethack"), tmp_path / "nowhere")
    assert not (tmp_path / "study").exists()
