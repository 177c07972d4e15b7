"""Atari games: settings by protocol, and the stacks of frames on the device."""

import numpy as np
import pytest

from data.games.arcade import SETTINGS, Arcade
from eval.play.atari import OneArcade, Stacks
from eval.play.options import PlayOptions

NOOP = 0


def played(setting: str, actions: int, seed: int = 3) -> tuple[list[np.ndarray], list[bool], list[float]]:
    """Stacks before each step, whether they begin anew, and rewards of a game of Breakout, played at random."""
    game, random = OneArcade("Breakout", None, PlayOptions(setting=setting)), np.random.default_rng(seed)
    stack, stacks, anew, rewards, ended = game.reset(seed), [], [True], [], False
    while not ended and len(stacks) < 1000:
        stacks.append(stack)
        game.send(int(random.integers(actions)))
        stack, reward, ended = game.receive()
        rewards.append(reward)
        anew.append(game.anew)
    return stacks, anew[: len(stacks)], rewards


@pytest.mark.parametrize("setting", list(SETTINGS))
def test_the_stacks_on_the_device_are_those_of_the_games(setting: str) -> None:
    (one, first, _), (other, second, _) = played(setting, 4, 3), played(setting, 4, 4)
    feed, steps = Stacks(3), min(len(one), len(other))
    for step in range(steps):
        observation = feed([one[step], None, other[step]], np.array([first[step], True, second[step]]))
        frames = np.moveaxis(np.asarray(observation["frames"]), 1, -1)
        np.testing.assert_array_equal(frames[0], one[step])
        np.testing.assert_array_equal(frames[2], other[step])
    assert steps > 50


def test_each_life_begins_like_a_game_by_sb3() -> None:
    stacks, anew, rewards = played("sb3", 4)
    begun = np.flatnonzero(anew)
    assert len(begun) == 5, "Breakout has five lives"
    for step in begun:
        assert not stacks[step][..., :-1].any()
        assert stacks[step][..., -1].any()
    for step in np.flatnonzero(~np.array(anew))[:50]:
        np.testing.assert_array_equal(stacks[step][..., :-1], stacks[step - 1][..., 1:])
    # FIRE serves the ball: without a press of its own, an agent that never fires loses all lives.
    lives = played("sb3", 1)[1]
    assert sum(lives) == 5
    assert sum(rewards) > 0


def test_the_last_life_goes_on_where_a_game_counts_it_as_none() -> None:
    """Bank Heist shows 0 lives for a while before it ends, in which Stable-Baselines3 presses no keys."""
    game, random, counted = OneArcade("BankHeist", None, PlayOptions(setting="sb3")), np.random.default_rng(3), []
    game.reset(3)
    ended, anew = False, []
    while not ended:
        game.send(int(random.integers(18)))
        _, _, ended = game.receive()
        counted.append(int(game._arcade.lives[0]))
        anew.append(game.anew)
    assert counted.count(0) > 1, "this game has such a while"
    assert sum(anew) == counted[0] - 1
    assert not any(begun for lives, begun in zip(counted, anew, strict=True) if not lives)


def test_the_paper_and_machado_play_on_through_lost_lives() -> None:
    for setting in ("paper", "machado"):
        assert sum(played(setting, 4)[1]) == 1


def test_games_by_machado_end_after_five_minutes() -> None:
    game = OneArcade("Breakout", None, PlayOptions(setting="machado"))
    game.reset(1)
    steps, ended = 0, False
    while not ended:
        game.send(NOOP)  # Nobody serves the ball.
        _, _, ended = game.receive()
        steps += 1
    assert (steps, game.truncated) == (18_000 // 5, True)


def test_an_action_out_of_range_is_refused_where_ale_would_hang() -> None:
    arcade = Arcade("Breakout")
    arcade.reset(np.array([1]))
    for action in (4, -1):
        with pytest.raises(ValueError, match="there are 4"):
            arcade.step(np.array([action]))
    arcade.step(np.array([3]))
