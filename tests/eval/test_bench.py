"""The benchmark measures what it says."""

import jax
import numpy as np
import pytest

from agents.ladder import find
from eval.bench.nethack import Moves, games_rate, gymnasium_rate, policy_lines, raw_rate, vector_rate
from eval.engine.game import ChallengeGame


@pytest.fixture(scope="module")
def moves() -> Moves:
    return Moves.recorded(2, 60)


def test_recorded_moves_play_the_game_again(moves: Moves) -> None:
    again = Moves.recorded(2, 60)
    np.testing.assert_array_equal(again.actions_SxT, moves.actions_SxT)
    game = ChallengeGame(max_steps=moves.max_steps)
    for seed in range(2):
        game.start(seed)
        row = next(row for action in moves.actions_SxT[seed] if (row := game.step(int(action))))
        assert row.steps == 60
        assert row.turns > 10
    game.close()


@pytest.mark.slow
def test_all_rates_are_measured(moves: Moves) -> None:
    rates = [
        raw_rate(moves, 0.05),
        games_rate(moves, 2, 1, 0.2),
        vector_rate(moves, 2, 1, 0.2),
        gymnasium_rate(moves, 1, 0.2),
    ]
    assert all(rate > 0 for rate in rates)
    agent = find("nethack/lstm/16").for_backend()
    lines = list(policy_lines(agent, jax.jit(agent.init)(jax.random.key(0)), 16, 0.3))
    assert len(lines) == 2
    assert all(line.ours > 0 and line.theirs > 0 for line in lines)
