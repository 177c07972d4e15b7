"""Workers that play alone: a lost one loses and doubles nothing."""

import os
import signal

import pytest

from data.games.challenge import CHARACTER
from eval.engine.game import GameRow
from eval.engine.vector import WorkerFailed
from eval.play.apart import Job, Solos, play_apart
from eval.play.options import Task
from eval.play.players import AgentPolicy
from eval.play.sampling import Sampling
from eval.play.solo import TILE, Post
from tests.eval.walker import PARAMS, WALKER

SEEDS = [14, 3, 8, 11, 5]


@pytest.fixture(scope="module")
def rows() -> list[GameRow]:
    found: list[GameRow] = []
    task = Task(WALKER, lambda: PARAMS, SEEDS, found.append)
    play_apart([task], lanes=4, workers=2, key_seed=0, max_steps=120, progress=False)
    return sorted(found, key=lambda row: row.seed)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_games_of_a_lost_worker_are_played_again(rows: list[GameRow], how: signal.Signals) -> None:
    found: list[GameRow] = []
    patience = 600.0 if how == signal.SIGKILL else 2.0
    job = Job(lambda: AgentPolicy(WALKER, PARAMS, 0, Sampling()), SEEDS, found.append)
    with Solos([job], Post(TILE, CHARACTER, 120), 2, 2, patience) as solos:
        for number, _ in enumerate(solos.play()):
            if number != 1:
                continue
            os.kill(solos.pids[0], how)
            while how == signal.SIGSTOP and not solos.stepping(0):
                os.kill(solos.pids[0], signal.SIGCONT)
                os.kill(solos.pids[0], how)
    assert sorted(found, key=lambda row: row.seed) == rows
    assert solos.replaced >= 1


def test_an_error_of_a_policy_arrives_with_its_traceback() -> None:
    broken = {**PARAMS, "table": PARAMS["table"][:, :5]}
    task = Task(WALKER, lambda: broken, SEEDS, lambda row: None)
    with pytest.raises(WorkerFailed, match="TypeError"):
        play_apart([task], lanes=2, workers=1, key_seed=0, max_steps=5, progress=False)
