"""Several processes evaluate the same checkpoints together, and one that is killed loses nothing."""

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eval.events
import eval.shared
from data.common.cli import UserError
from data.common.lease import Holder, holder_of
from eval.checkpoints import evaluate
from eval.config import EvalConfig
from eval.shared import evaluate_shared, parts_of
from train.checkpoint import budget_name, budgets

ROOT = Path(__file__).resolve().parents[2]


def config(run: Path) -> EvalConfig:
    return EvalConfig((run,), episodes=130, max_steps=40, film=False)


def start(run: Path) -> subprocess.Popen[str]:
    options = ["--episodes", "130", "--max-steps", "40", "--workers", "1", "--no-film", "--work"]
    command = [sys.executable, "-m", "eval", str(run), *options]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_two_share_the_games_of_a_run_and_one_is_killed(copy_of_run: Callable[[str], Path]) -> None:
    alone, shared = copy_of_run("alone"), copy_of_run("shared")
    expected = evaluate(config(alone), progress=False)
    first, other = start(shared), start(shared)
    while not list(shared.glob("budgets/*/games/*/*.jsonl")) and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    first.communicate()
    _, errors = other.communicate(timeout=1200)
    assert other.returncode == 0, errors
    assert "other shards" not in errors
    found = evaluate(config(shared), progress=False)
    assert [dataclasses.replace(row, checkpoint=None, run="") for row in found] == [
        dataclasses.replace(row, checkpoint=None, run="") for row in expected
    ]
    assert [row.episodes for row in found] == [130] * len(found)


def test_who_plays_other_games_does_not_measure_the_loss_too(copy_of_run: Callable[[str], Path]) -> None:
    run = copy_of_run("run")
    for path in run.glob("budgets/*/loss*.json"):
        path.unlink()
    asked = EvalConfig((run,), episodes=4, max_steps=20, workers=1, film=False, work=True)
    evaluate(dataclasses.replace(asked, shard="2/2"), progress=False)
    assert not list(run.glob("budgets/*/loss*.json"))
    evaluate(dataclasses.replace(asked, shard="1/2"), progress=False)
    assert len(list(run.glob("budgets/*/loss*.json"))) == 2
    rows = evaluate(asked, progress=False)
    assert [row.episodes for row in rows] == [4, 4]
    assert all(row.loss for row in rows)


def test_pictures_and_events_are_made_once_all_is_played(
    copy_of_run: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, leases = copy_of_run("run"), []
    write = eval.events._write

    def watched(folder: Path, *rest: Any) -> None:
        leases.append(holder_of(run / "claims" / "eval" / folder.name))
        write(folder, *rest)

    monkeypatch.setattr(eval.shared, "GAMES", 2)
    monkeypatch.setattr(eval.events, "_write", watched)
    asked = EvalConfig((run,), episodes=4, max_steps=20, workers=1, work=True)
    evaluate_shared(asked)
    largest = run / "budgets" / budget_name(budgets(run)[-1].flops)
    pictures = list(run.glob("budgets/*/games/*/*.gif"))
    assert 1 <= len(pictures) <= 3
    assert all(path.is_relative_to(largest) for path in pictures)
    assert [lease and lease[0] for lease in leases] == [Holder.me()], "no two processes write them at once, nor often"


def test_what_is_claimed_are_all_games_of_all_checkpoints_once(copy_of_run: Callable[[str], Path]) -> None:
    run = copy_of_run("run")
    asked = EvalConfig((run,), episodes=250, work=True)
    parts = parts_of(asked)
    assert len(parts) == 2 * 3
    for flops in [budget.flops for budget in budgets(run)]:
        seeds = [
            seed for part in parts if part.budgets == (flops,) for seed in part.seeds[part.part[0] :: part.part[1]]
        ]
        assert sorted(seeds) == list(range(250))
    assert [part.shard for part in parts[:2]] == ["1/3", "1/3"], "first one of each checkpoint"
    assert len(parts_of(dataclasses.replace(asked, episodes=0))) == 2
    with pytest.raises(UserError, match="leave it out"):
        evaluate_shared(dataclasses.replace(asked, shard="1/2"))
