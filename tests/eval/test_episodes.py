"""Table, summary and comparison of games."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from scipy.stats import trim_mean

from data.common.cli import UserError
from eval.checkpoints import evaluate
from eval.config import CompareConfig, EpisodesConfig, EvalConfig
from eval.episodes import compare, played, summary
from eval.statistics import bootstrap, interquartile_mean, mean, ratio_interval, resampled
from train.checkpoint import budget_name, budgets


@pytest.fixture(scope="module")
def runs(copy_of_run: Callable[[str], Path]) -> tuple[Path, Path]:
    """Checkpoints of two budgets in two runs, of which the second played one seed more, and random roles, too."""
    pair = copy_of_run("a"), copy_of_run("b")
    for run, kept in zip(pair, budgets(pair[0]), strict=True):
        for folder in (run / "budgets").iterdir():
            if folder.name != budget_name(kept.flops):
                shutil.rmtree(folder)
    options = {"max_steps": 60, "workers": 2, "film": False}
    evaluate(EvalConfig(pair, episodes=6, **options), progress=False)
    evaluate(EvalConfig(pair[1:], episodes=7, **options), progress=False)
    evaluate(EvalConfig(pair[1:], episodes=5, character="@", **options), progress=False)
    return pair


def test_every_game_is_in_the_table(runs: tuple[Path, Path], tmp_path: Path) -> None:
    expected = [record for run in runs for group in played(run) for record in group.records]
    assert len(expected) == 6 + 7 + 5
    for name in ("games.parquet", "games.csv", "games.jsonl"):
        lines = list(summary(EpisodesConfig(runs, out=tmp_path / name)))
        assert lines[0] == f"wrote 18 games to {tmp_path / name}"
    assert pyarrow.parquet.read_table(tmp_path / "games.parquet").to_pylist() == expected
    assert [json.loads(line) for line in (tmp_path / "games.jsonl").read_text().splitlines()] == expected
    with (tmp_path / "games.csv").open() as file:
        assert [row["seed"] for row in csv.DictReader(file)] == [str(record["seed"]) for record in expected]
    for record in expected:
        assert record["end"] in ("truncated", "died", "quit", "escaped", "stalled")
        assert (record["end"] == "truncated") == record["truncated"]
        assert record["level"] >= 1
        assert record["gold"] >= 0


def test_a_summary_tells_means_roles_and_ends(runs: tuple[Path, Path]) -> None:
    groups = played(runs[1])
    text = "\n".join(summary(EpisodesConfig(runs[1:], expert_return=50.0)))
    for group in groups:
        scores = np.array([game.score for game in group.games])
        assert f"{group.protocol}: {len(scores)} games" in text
        assert f"mean {scores.mean():,.1f} (95 % " in text
        assert f"{scores.mean() / 50:.1%} of the expert's 50.0" in text
    assert text.count("by role:") == 1
    assert text.count("ends:") == 2


def test_a_share_of_the_experts_games_has_an_interval(runs: tuple[Path, Path], tmp_path: Path) -> None:
    expert = tmp_path / "expert.jsonl"
    expert.write_text("".join(json.dumps({"score": score}) + "\n" for score in (10, 30)))
    [group] = played(runs[0])
    scores = np.array([game.score for game in group.games])
    low, high = ratio_interval(scores, np.array([10.0, 30.0]))
    # The mean of two games is 10, 20 or 30 in a quarter, a half and a quarter of the resamples.
    assert low <= np.quantile(resampled(scores, mean), 0.1) / 30
    assert high >= np.quantile(resampled(scores, mean), 0.9) / 10
    share = f"{scores.mean() / 20:.1%} of the expert's 20.0 (95 % {low:.1%} to {high:.1%})"
    assert share in "\n".join(summary(EpisodesConfig(runs[:1], expert=expert)))
    expert.write_text('{"score": 0}\n')
    for path, message in ((expert, "return is 0, of which there is no share"), (tmp_path / "no", "has no games")):
        with pytest.raises(UserError, match=message):
            list(summary(EpisodesConfig(runs[:1], expert=path)))


def test_runs_are_compared_on_shared_seeds(runs: tuple[Path, Path]) -> None:
    shared = played(runs[0])[0].protocol
    lines = list(compare(CompareConfig(*runs)))
    assert lines[0] == f"{shared}, 6 shared seeds"
    by_seed = [{g.seed: g.score for g in played(run, protocol=shared)[0].games} for run in runs]
    expected = np.mean([by_seed[1][seed] - by_seed[0][seed] for seed in range(6)])
    assert f"difference {expected:+,.1f} " in lines[3]
    same = list(compare(CompareConfig(runs[0], runs[0])))
    assert "difference +0.0 ± 0.0 (95 % +0.0 to +0.0): not told apart" in same[3]
    with pytest.raises(UserError, match="has no games by the protocol 'paper'"):
        list(compare(CompareConfig(*runs, protocol="paper")))


def test_summary_and_comparison_are_also_json(runs: tuple[Path, Path]) -> None:
    groups = played(runs[1])
    found = json.loads("".join(summary(EpisodesConfig(runs[1:], expert_return=50.0, json=True))))
    assert [each["games"] for each in found] == [len(group.games) for group in groups]
    for each, group in zip(found, groups, strict=True):
        scores = [game.score for game in group.games]
        assert each["mean"][0] == pytest.approx(np.mean(scores))
        assert each["share"][0] == pytest.approx(np.mean(scores) / 50)
        assert sum(each["ends"].values()) == sum(role["games"] for role in each["roles"].values()) == len(scores)
    compared = json.loads("".join(compare(CompareConfig(*runs, json=True))))
    assert compared["seeds"] == 6
    means = [run["mean"][0] for run in compared["runs"]]
    assert compared["difference"]["mean"] == pytest.approx(means[1] - means[0], abs=60)


def test_the_command_line(runs: tuple[Path, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eval", "compare", *map(str, runs)], capture_output=True, text=True, check=True
    )
    assert "6 shared seeds" in done.stdout
    wrong = subprocess.run(
        [sys.executable, "-m", "eval", "summary", str(runs[0]), "--out", "games.xls"], capture_output=True, text=True
    )
    assert wrong.returncode == 2
    assert "name a .parquet, .csv or .jsonl file" in wrong.stderr


@pytest.mark.parametrize("count", [2, 3, 4, 7, 100])
def test_the_interquartile_mean_is_scipys(count: int) -> None:
    values = np.random.default_rng(count).normal(size=(5, count))
    np.testing.assert_allclose(interquartile_mean(values), trim_mean(values, 0.25, axis=-1))
    low, high = bootstrap(values[0], interquartile_mean)
    assert low <= interquartile_mean(values[0]) <= high
