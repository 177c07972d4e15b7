import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.collect.base import episode_seed
from data.experts import registry as experts
from data.games import registry
from eval.play.gym import PLAY
from eval.play.options import PlayOptions
from eval.play.records import EpisodeRow
from laws.rows.runs import read
from laws.study.gym import PRESETS

GAME = "gym/CartPole-v1"


@pytest.mark.slow
def test_the_smoke_study_of_an_environment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "laws", "reproduce", "smoke", "--game", GAME, "--out", str(tmp_path / "study")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"XLA_FLAGS": ""})
    assert done.returncode == 0, done.stderr
    rows = read([tmp_path / "study" / "runs.jsonl"]).rows
    preset = PRESETS["smoke"]
    budgets, episodes = preset.sweep.budgets, preset.sweep.episodes
    assert [row.flops for row in rows] == sorted(budgets * len(preset.sweep.sizes))
    for row in rows:
        assert (row.game, row.core, row.episodes, row.context) == (GAME, "mlp", episodes, preset.shared.window)
        assert row.protocol == "Gymnasium CartPole-v1, sampled at 1, at most 100 steps, seeds from 0"
        assert row.loss is not None
        assert 0 < row.loss < 0.75
    first, last = (min(row.loss or 9.0 for row in rows if row.flops == flops) for flops in budgets[::2])
    assert last < first
    laws = json.loads((tmp_path / "study" / "laws.json").read_text())
    assert {law["game"] for law in laws["laws"]} == {GAME}
    report = (tmp_path / "study" / "report.html").read_text()
    assert "embedded expert, same seeds and limit" in report


@pytest.fixture(scope="module")
def rows() -> list[EpisodeRow]:
    return PLAY.play_expert(experts.find(registry.find(GAME), "random"), range(5), PlayOptions(lanes=2), progress=False)


@pytest.mark.parametrize(("seeds", "lanes"), [(range(5), 5), ([4, 1], 1), ([3, 0, 2], 2)])
def test_a_seeds_episode_depends_on_nothing_else(rows: list[EpisodeRow], seeds: list[int], lanes: int) -> None:
    heard: list[EpisodeRow] = []
    expert, options = experts.find(registry.find(GAME), "random"), PlayOptions(lanes=lanes)
    found = PLAY.play_expert(expert, seeds, options, progress=False, on_game=heard.append)
    assert found == [rows[seed] for seed in sorted(seeds)]
    assert sorted(heard, key=lambda row: row.seed) == found


def test_the_expert_outscores_random_play_and_is_cut_where_asked(rows: list[EpisodeRow]) -> None:
    expert = experts.find(registry.find(GAME), "embedded")
    played = PLAY.play_expert(expert, range(5), PlayOptions(lanes=5, max_steps=120), progress=False)
    assert sum(row.score for row in played) > 2 * sum(row.score for row in rows)
    assert all(row.steps <= 120 for row in played)
    assert any(row.truncated for row in played)


def test_seeds_of_collections_differ() -> None:
    assert len({episode_seed(seed, number) for seed in range(9) for number in range(99)}) == 9 * 99
