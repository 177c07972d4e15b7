import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.common.cli import UserError
from eval.__main__ import evaluate_expert as evaluate_expert_command
from eval.config import ExpertConfig
from eval.experts import evaluate_expert


def evaluated(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eval", "expert", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"XLA_FLAGS": ""})


def test_an_expert_is_measured_in_the_games_of_these_seeds(tmp_path: Path) -> None:
    out = tmp_path / "games.jsonl"
    done = evaluated("--game", "gym/CartPole-v1", "--episodes", "5", "--seed", "3", "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["seed"] for row in rows] == [3, 4, 5, 6, 7]
    mean = sum(row["score"] for row in rows) / 5
    assert done.stdout.startswith(f"embedded: mean return {mean:.1f} ")
    assert "in 5 games of Gymnasium CartPole-v1, to the end, seeds from 3" in done.stdout


@pytest.mark.parametrize(("game", "environment"), [("nethack", "NetHackChallenge-v0"), ("Breakout", "ALE Breakout")])
def test_every_family_plays_with_experts(game: str, environment: str) -> None:
    config = ExpertConfig(game=game, expert="random", episodes=2, max_steps=40, workers=2, lanes=2)
    told = evaluate_expert(config, progress=False)
    assert str(told).startswith("random: mean return ")
    assert f"in 2 games of {environment}" in str(told)
    assert evaluate_expert(config, progress=False) == told


def test_the_return_is_also_json(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate_expert_command(ExpertConfig(game="gym/CartPole-v1", episodes=3, json=True))
    found = json.loads(capsys.readouterr().out)
    assert found["episodes"] == 3
    assert found["return_low"] <= found["return_mean"] <= found["return_high"]
    assert found["protocol"] == "Gymnasium CartPole-v1, to the end, seeds from 0"


def test_where_games_cannot_be_written_none_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "expert_of_test.py").write_text("def act(observation):\n    raise AssertionError('it plays')\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = ExpertConfig(game="gym/CartPole-v1", expert="expert_of_test:act", out=tmp_path / "none" / "games.jsonl")
    with pytest.raises(UserError, match=r"no folder .*none to write games.jsonl in"):
        evaluate_expert(config)


def test_what_cannot_be_played_is_named() -> None:
    with pytest.raises(UserError, match="unknown expert 'me' of Breakout"):
        evaluate_expert(ExpertConfig(game="Breakout", expert="me"))
    with pytest.raises(UserError, match="has no characters"):
        evaluate_expert(ExpertConfig(game="Breakout", expert="random", character="val-dwa-law-fem"))
    for character in ("mon-elf-neu-mal", "foo"):
        with pytest.raises(UserError, match=f"--character {character}: NetHack would play .* instead"):
            evaluate_expert(ExpertConfig(expert="random", character=character))
    done = evaluated("--episodes", "1")
    assert done.returncode == 2
    assert done.stderr == "error: episodes must be 2 or more for an interval, not 1\n"
