import json
import math
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.ladder import find as find_agent
from data.experts.registry import find
from data.games.keys import KEYS
from data.games.nethack import NetHackGame
from eval.engine.game import ChallengeGame, GameRow
from eval.play.apart import play_apart, play_experts
from eval.play.options import Task
from eval.play.policy import act, among
from eval.play.records import read_games, write_games
from eval.play.rollout import play_agents
from eval.play.sampling import Sampling
from eval.statistics import mean_interval
from tests.eval.walker import PARAMS, WALKER

SEEDS = [14, 3, 8, 11, 5]


def walk(seeds: list[int] = SEEDS, lanes: int = 4, workers: int = 2, **options) -> list[GameRow]:
    rows: list[GameRow] = []
    options = {"key_seed": 0, "max_steps": 120, "progress": False} | options
    task = Task(WALKER, lambda: PARAMS, seeds, rows.append)
    options.pop("how", play_agents)([task], lanes=lanes, workers=workers, **options)
    return sorted(rows, key=lambda row: row.seed)


@pytest.fixture(scope="module")
def rows() -> list[GameRow]:
    return walk()


def test_every_seed_gets_one_row_in_order(rows: list[GameRow]) -> None:
    assert [row.seed for row in rows] == sorted(SEEDS)
    assert all(0 < row.steps <= 120 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("how", [play_agents, play_apart])
@pytest.mark.parametrize(("lanes", "workers"), [(1, 1), (2, 2), (3, 5), (128, 2)])
def test_lanes_and_workers_do_not_change_the_games(
    rows: list[GameRow], how: Callable, lanes: int, workers: int
) -> None:
    assert walk(lanes=lanes, workers=workers, how=how) == rows


@pytest.mark.slow
def test_a_real_agents_games_depend_on_nothing_but_their_seeds() -> None:
    agent = find_agent("nethack/lstm/16").for_backend()
    params = jax.jit(agent.init)(jax.random.key(0))

    def played(how: Callable, seeds: list[int], lanes: int, workers: int) -> dict[int, GameRow]:
        found: list[GameRow] = []
        task = Task(agent, lambda: params, seeds, found.append)
        how([task], lanes=lanes, workers=workers, key_seed=0, max_steps=150, progress=False)
        return {row.seed: row for row in found}

    seeds = list(range(24))
    rows = played(play_apart, seeds, 32, 2)
    assert rows.keys() == set(seeds)
    assert played(play_apart, seeds[::-1], 5, 1) == rows
    assert played(play_apart, seeds[7:12], 16, 5) == {seed: rows[seed] for seed in seeds[7:12]}
    assert played(play_agents, seeds, 24, 2) == rows
    assert played(play_agents, seeds[::-1], 1, 1) == rows


def test_workers_that_play_alone_play_the_same(rows: list[GameRow]) -> None:
    assert walk(how=play_apart) == rows


def test_a_seeds_game_does_not_depend_on_the_other_seeds(rows: list[GameRow]) -> None:
    assert walk([8, 5]) == [row for row in rows if row.seed in (5, 8)]


@pytest.mark.slow
def test_key_seed_and_temperature_change_the_games(rows: list[GameRow]) -> None:
    assert walk(key_seed=1) != rows
    assert walk(sampling=Sampling(100.0)) != rows
    assert walk(sampling=Sampling(0.0)) == walk(sampling=Sampling(0.0), key_seed=1) != rows


def test_a_batched_game_is_the_game_played_by_hand(rows: list[GameRow]) -> None:
    """The plain agent and no vector: the same actions, so the same rows."""
    assert len({row.turns for row in rows}) > 2, "the games are too much alike to tell them apart"
    apply = jax.jit(WALKER.apply)
    assert [_by_hand(apply, seed) for seed in sorted(SEEDS)] == rows


def _by_hand(apply: Callable, seed: int) -> GameRow:
    game, carry, age, row = ChallengeGame(max_steps=120), WALKER.initial_carry(1), 0, None
    game.start(seed)
    while row is None:
        observation = {
            "chars": game.chars_24x80[None, None],
            "prev_action": np.full((1, 1), game.prev_action, np.uint8),
        }
        logits, carry = apply(PARAMS, observation, np.full((1, 1), age == 0), carry)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), seed), age)
        row = game.step(int(jax.random.categorical(key, logits[0, 0])))
        age += 1
    game.close()
    return row


@pytest.mark.parametrize("how", [play_agents, play_apart])
def test_tasks_share_the_lanes_and_play_what_they_play_alone(rows: list[GameRow], how: Callable) -> None:
    others = [WALKER.init(jax.random.key(number)) for number in (2, 3)]
    alone = []
    for params in others:
        found: list[GameRow] = []
        play_agents(
            [Task(WALKER, lambda params=params: params, SEEDS, found.append)],
            lanes=2,
            workers=1,
            key_seed=0,
            max_steps=120,
            progress=False,
        )
        alone.append(sorted(found, key=lambda row: row.seed))
    loaded: list[int] = []
    played: list[list[GameRow]] = [[], [], []]

    def load(number: int) -> Callable[[], dict]:
        def params() -> dict:
            loaded.append(number)
            return [PARAMS, *others][number]

        return params

    tasks = [Task(WALKER, load(number), SEEDS, played[number].append) for number in range(3)]
    shares = how(tasks, lanes=8, workers=2, key_seed=0, max_steps=120, progress=False)
    assert [sorted(found, key=lambda row: row.seed) for found in played] == [rows, *alone]
    assert sorted(set(loaded)) == [0, 1, 2]
    assert shares.steps >= sum(row.steps for found in played for row in found)
    assert 0 < shares.stepping < shares.wall


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_actions_are_sampled_in_proportion(temperature: float) -> None:
    """Two actions at odds of three to one, over many games and many steps of one game."""
    params = jax.tree.map(jnp.zeros_like, PARAMS)
    params["bias"] = jnp.full(len(KEYS), -1e9).at[7].set(math.log(3.0)).at[9].set(0.0)
    lanes = 4096
    observation = {
        "chars": np.zeros((lanes, 1, 24, 80), np.uint8),
        "prev_action": np.zeros((lanes, 1), np.uint8),
    }
    first, same, counting = np.ones((lanes, 1), bool), np.full(lanes, 5, np.uint32), np.arange(lanes)
    for seed, age in ((counting, same), (same, counting)):
        carry = jax.tree.map(jnp.copy, WALKER.initial_carry(lanes))
        key = jax.random.key(0)
        action, _ = act(WALKER, Sampling(temperature), params, key, observation, first, seed, age, carry)
        odds = 3 ** (1 / temperature)
        assert set(np.asarray(action).tolist()) == {7, 9}
        # Four standard deviations of a share over 4096 draws.
        assert np.mean(np.asarray(action) == 7) == pytest.approx(odds / (odds + 1), abs=0.03)


def test_the_progress_bar_counts_games_on_stderr(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    walk([1, 2], max_steps=5, progress=True)
    out, err = capfd.readouterr()
    assert not out
    assert "2/2" in err
    assert "steps/s" in err


@pytest.mark.parametrize("how", [play_agents, play_apart])
@pytest.mark.parametrize("seeds", [[1, 2, 1], [-1], [2**32]])
def test_seeds_that_are_no_seeds_are_refused(how: Callable, seeds: list[int]) -> None:
    with pytest.raises(ValueError, match="seeds must be distinct integers"):
        walk(seeds, how=how)


def test_no_seeds_no_games() -> None:
    assert walk([]) == []


def test_few_actions_are_sampled_among() -> None:
    logits = jnp.log(jnp.array([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25]]))

    def kept(sampling: Sampling) -> list[list[int]]:
        return [np.flatnonzero(np.isfinite(row)).tolist() for row in np.asarray(among(sampling, logits))]

    assert kept(Sampling()) == kept(Sampling(top_k=9)) == kept(Sampling(top_p=1.0)) == [[0, 1, 2, 3]] * 2
    assert kept(Sampling(top_k=1)) == [[1], [0, 1, 2, 3]]
    assert kept(Sampling(top_k=3)) == [[1, 2, 3], [0, 1, 2, 3]]
    assert kept(Sampling(top_p=0.65)) == [[1, 3], [0, 1, 2, 3]]
    assert kept(Sampling(top_p=0.75)) == [[1, 2, 3], [0, 1, 2, 3]]
    assert kept(Sampling(top_k=2, top_p=0.5)) == [[1], [0, 1, 2, 3]]


def test_games_are_written_and_read_back(tmp_path: Path, rows: list[GameRow]) -> None:
    path = tmp_path / "games.jsonl"
    write_games(path, rows[:1])
    write_games(path, rows)
    assert read_games(path, GameRow) == rows
    assert [json.loads(line) for line in path.read_text().splitlines()] == [asdict(row) for row in rows]
    assert [file.name for file in tmp_path.iterdir()] == ["games.jsonl"]


def test_the_random_player_is_a_function_of_the_seed() -> None:
    rows = play_experts(find(NetHackGame(), "random"), [2, 1, 3], workers=2, max_steps=200, progress=False)
    assert [row.seed for row in rows] == [1, 2, 3]
    assert rows == play_experts(find(NetHackGame(), "random"), [3, 1, 2], workers=1, max_steps=200, progress=False)
    assert all(row.steps <= 200 for row in rows)


def test_an_interrupted_scripted_run_ends_its_games() -> None:
    def interrupt(row: GameRow) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play_experts(find(NetHackGame(), "random"), range(400), workers=2, progress=False, on_game=interrupt)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("played", ["vector", "scripted", "alone"])
def test_a_killed_run_leaves_no_workers_and_no_files(played: str) -> None:
    program = """
import multiprocessing, sys, tempfile, time
import numpy as np
from eval.engine.vector import NetHackVector
from data.experts.registry import find
from tests.eval.walker import CALM, PARAMS, WALKER
from data.games.nethack import NetHackGame
from eval.play.apart import play_experts
def wait(row=None):
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(600)
if sys.argv[1] == "vector":
    with NetHackVector(1, 4, 2) as games:
        for lane in range(4):
            games.begin(lane, lane)
        games.send(0, np.zeros(4, np.uint8))
        games.receive()
        print(games.crew.folder, flush=True)
        wait()
made = tempfile.TemporaryDirectory
def announced(**options):
    folder = made(**options)
    print(folder.name, flush=True)
    return folder
tempfile.TemporaryDirectory = announced
if sys.argv[1] == "alone":
    from tests.eval.walker import PARAMS, WALKER
    from eval.play.apart import play_apart
    from eval.play.options import Task
    task = Task(WALKER, lambda: PARAMS, range(1000), wait)
    play_apart([task], lanes=8, workers=2, key_seed=0, max_steps=30, progress=False)
play_experts(find(NetHackGame(), "random"), range(1000), workers=2, progress=False, on_game=wait)
"""
    run = subprocess.Popen([sys.executable, "-c", program, played], stdout=subprocess.PIPE, text=True)
    with run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        workers = [int(pid) for pid in run.stdout.readline().split()]
        assert folder.is_dir()
        run.kill()
    assert len(workers) == 2
    for _ in range(600):
        workers = [pid for pid in workers if _alive(pid)]
        if not workers:
            break
        time.sleep(0.1)
    assert not workers
    assert not folder.exists()


def _alive(pid: int) -> bool:
    """Not gone, and not a zombie that nobody has waited for."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")")[1].split()[0] != "Z"


def test_the_expert_outscores_the_random_player() -> None:
    seeds = [1, 2, 3]
    expert = play_experts(find(NetHackGame(), "expert"), seeds, workers=2, max_steps=800, progress=False)
    random = play_experts(find(NetHackGame(), "random"), seeds, workers=2, max_steps=800, progress=False)
    assert sum(row.score for row in expert) > sum(row.score for row in random)
    assert max(row.depth for row in expert) > 1


def test_bootstrap_interval_of_known_values() -> None:
    values = np.random.default_rng(3).normal(10.0, 2.0, 400)
    interval = mean_interval(values)
    assert interval == mean_interval(list(values))
    assert interval.mean == pytest.approx(values.mean(), rel=1e-12)
    assert interval.se == pytest.approx(values.std(ddof=1) / 20, rel=1e-12)
    # For normal data the percentile interval is the mean and 1.96 standard errors either way.
    assert interval.low == pytest.approx(interval.mean - 1.96 * interval.se, abs=0.02)
    assert interval.high == pytest.approx(interval.mean + 1.96 * interval.se, abs=0.02)
    narrow = mean_interval(values, level=0.5)
    assert interval.low < narrow.low < narrow.high < interval.high
    assert mean_interval(values, seed=1) != interval


def test_bootstrap_does_not_depend_on_how_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mean_interval(np.arange(10.0), resamples=1000)
    monkeypatch.setattr("eval.statistics.CHUNK", 70)
    assert mean_interval(np.arange(10.0), resamples=1000) == whole


@pytest.mark.parametrize(("values", "level"), [([], 0.95), ([1.0], 0.95), ([1.0, 2.0], 1.0)])
def test_bootstrap_refuses_what_has_no_interval(values: list[float], level: float) -> None:
    with pytest.raises(ValueError, match=r"two values|level"):
        mean_interval(values, level)
