"""Atari games played here: the same from the same seed, by an expert worth imitating, into a store."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.collect.atari import collect_atari
from data.common.cli import UserError
from data.experts import breakout
from data.experts.breakout import BreakoutExpert, ball_of, key_towards, landing, paddle_of
from data.games.arcade import Arcade
from data.store.reader import TrajectoryStore


def played(seeds: list[int], steps: int) -> tuple[np.ndarray, ...]:
    """Stacks, keys, rewards and ends of the expert's first steps."""
    arcade, experts = Arcade("Breakout", len(seeds)), [BreakoutExpert(seed) for seed in seeds]
    stacks = arcade.reset(np.array(seeds))
    told = []
    for _ in range(steps):
        keys = np.array([expert.act(stack) for expert, stack in zip(experts, stacks, strict=True)])
        after, rewards, over = arcade.step(keys)
        told.append((stacks, keys, rewards, over))
        stacks = after
    return tuple(np.stack(column, axis=1) for column in zip(*told, strict=True))


def test_a_game_is_a_function_of_its_seed_and_not_of_its_lane() -> None:
    both, other = played([5, 6], 120), played([6, 5], 120)
    for column, duplicate in zip(both, other, strict=True):
        np.testing.assert_array_equal(column, duplicate[::-1])
    assert not np.array_equal(both[0][0], both[0][1])


def test_rewards_are_points_and_stacks_follow_one_another() -> None:
    """A brick of the upper rows is worth 4 or 7 points: clipped rewards would be 1."""
    stacks, _, rewards, _ = played([3], 900)
    assert set(rewards.ravel()) >= {0.0, 1.0, 4.0}
    np.testing.assert_array_equal(stacks[0, 1:, ..., :-1], stacks[0, :-1, ..., 1:])


def test_an_unknown_game_is_named_with_its_neighbours() -> None:
    with pytest.raises(UserError, match=r"unknown Atari game 'Breakot': did you mean Breakout"):
        Arcade("Breakot")


def frame(ball: tuple[int, int] | None, paddle: int) -> np.ndarray:
    """A field with walls, a ball of one pixel and a paddle around a column, cut off by the walls."""
    made = np.zeros((84, 84), np.uint8)
    made[75:78, max(paddle - 4, 5) : min(paddle + 5, 79)] = 110
    made[14:76, :5] = made[14:76, 79:] = 142
    if ball is not None:
        made[ball] = 110
    return made


@given(st.integers(40, 73), st.integers(5, 78), st.integers(5, 82))
def test_ball_and_paddle_are_found(row: int, column: int, paddle: int) -> None:
    seen = frame((row, column), paddle)
    assert ball_of(seen) == (row, column)
    assert paddle_of(seen) == paddle
    assert ball_of(frame(None, paddle)) is None


@given(st.floats(6, 78), st.floats(-6, 6), st.floats(1, 5))
def test_a_ball_lands_where_it_flies_off_the_walls(column: float, across: float, down: float) -> None:
    """Against a flight in a thousand small steps, turned at every wall."""
    at, way, row = column, across / 1000, 50.0
    for _ in range(math.floor((75 - row) / down * 1000)):
        at += way
        if not 5.5 <= at <= 78.5:
            at, way = (11 - at if at < 5.5 else 157 - at), -way
    before = (row - down, column - across)
    found, steps = landing((row, column), before)
    assert found == pytest.approx(at, abs=0.05)
    assert steps == round((75 - row) / down)


def test_the_paddle_goes_where_the_ball_lands() -> None:
    """With sticky actions off, by keys alone: from anywhere to anywhere within a paddle's half."""
    for start, aim in ((10, 60), (70, 20), (40, 46), (40, 44)):
        at, coast = float(start), 0.0
        for left in range(12, 0, -1):
            way = {0: 0, 2: 1, 3: -1}[key_towards(aim, at, round(coast / 5.5), left)]
            at, coast = at + coast + 5.5 * way, 5.5 * way
        assert abs(at - aim) <= 3


@pytest.mark.slow
def test_the_expert_is_worth_imitating() -> None:
    """Six games of it: never as bad as random play, which rarely has more than 3 points, and far better on average."""
    arcade, experts = Arcade("Breakout", 6, threads=2), [BreakoutExpert(seed) for seed in range(6)]
    stacks, score, over = arcade.reset(np.arange(6)), np.zeros(6), np.zeros(6, bool)
    for _ in range(1500):
        stacks, rewards, ended = arcade.step(
            np.array([expert.act(stack) for expert, stack in zip(experts, stacks, strict=True)])
        )
        score += np.where(over, 0, rewards)
        over |= ended
    assert score.min() >= 10
    assert score.mean() >= 60


def test_it_does_not_play_perfectly(monkeypatch: pytest.MonkeyPatch) -> None:
    with_errors = played([1], 200)[1]
    monkeypatch.setattr(breakout, "AIM_ERROR", 0.0)
    monkeypatch.setattr(breakout, "SLIP", 0.0)
    assert not np.array_equal(with_errors, played([1], 200)[1])


def test_games_go_into_a_store_once(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    collect_atari(together, game="Breakout", expert="random", episodes=3, workers=2)
    for episodes in (1, 3):
        report = collect_atari(alone, game="Breakout", expert="random", episodes=episodes, workers=1)
    assert (report.games, report.known) == (2, 1)
    one, other = TrajectoryStore.open(alone), TrajectoryStore.open(together)
    assert [episode.id for episode in one.episodes] == [episode.id for episode in other.episodes]
    assert one.manifest["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    assert one.manifest["expert"] == "random"
    for row, episode in enumerate(one.episodes):
        steps = one.read(row, 0, episode.length)
        assert steps.frames_Sx84x84x4.shape == (episode.length, 84, 84, 4)
        np.testing.assert_array_equal(steps.frames_Sx84x84x4[1:, ..., :-1], steps.frames_Sx84x84x4[:-1, ..., 1:])
        assert 0 <= steps.score_S[-1] <= episode.score
        assert np.all(np.diff(steps.score_S) >= 0)


def test_mistakes_are_one_line_and_leave_nothing(tmp_path: Path) -> None:
    for words, named in (
        (["--game", "Pong"], "Pong has no embedded expert"),
        (["--game", "Brekout"], "did you mean Breakout"),
        (["--game", "Breakout", "--expert", "nobody"], "nobody"),
        (["--game", "Breakout", "--episodes", "0"], "--episodes 0"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "data", "collect", "atari", str(tmp_path / "store"), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, words
        assert named in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "store").exists()
