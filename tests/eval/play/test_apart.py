"""Workers that play alone: a lost one loses and doubles nothing."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.common.cli import UserError
from data.common.machine import cores
from data.experts.registry import find
from data.games.challenge import CHARACTER
from data.games.nethack import NetHackGame
from data.importers.nld import import_nld
from data.store.reader import TrajectoryStore
from eval.engine.game import ChallengeGame, GameRow, recorded
from eval.engine.vector import WorkerFailed
from eval.play.apart import Job, Solos, play_apart, play_experts
from eval.play.options import Task
from eval.play.players import AgentPolicy, ExpertPolicy
from eval.play.rollout import play_agents
from eval.play.sampling import Sampling
from eval.play.solo import TILE, Post
from tests.eval.walker import PARAMS, WALKER

SEEDS = [14, 3, 8, 11, 5]
TRIES = 200
"""A worker steps games for a good part of its time; a game takes many of such tries."""


@pytest.fixture(scope="module")
def rows() -> list[GameRow]:
    found: list[GameRow] = []
    task = Task(WALKER, lambda: PARAMS, SEEDS, found.append)
    play_apart([task], lanes=4, workers=2, key_seed=0, max_steps=120, progress=False)
    return sorted(found, key=lambda row: row.seed)


def strike(pid: int, how: signal.Signals) -> None:
    """Send a signal that stops or kills, and wait until it has."""
    os.kill(pid, how)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def killed(solos: Solos) -> bool:
    """Kill a worker, whatever it is doing. Its pipe has ended by then."""
    strike(solos.pids[0], signal.SIGKILL)
    return True


def frozen(solos: Solos) -> bool:
    """Stop a worker as it steps a game; whether it was caught at that, in many tries, before its game was over."""
    for _ in range(TRIES):
        strike(solos.pids[0], signal.SIGSTOP)
        if solos.stepping(0):
            return True
        os.kill(solos.pids[0], signal.SIGCONT)
        time.sleep(0.0003)
    return False


def play_until_lost(job: Job, post: Post, lose: Callable[[Solos], bool], patience: float) -> int:
    """Play a job with two workers, and try to lose one after each game until that is done; number of replaced ones."""
    with Solos([job], post, 2, 2, patience) as solos:
        lost = False
        for _ in solos.play():
            lost = lost or lose(solos)
        return solos.replaced


@pytest.mark.parametrize(("lose", "games", "patience"), [(killed, 5, 600.0), (frozen, 40, 2.0)])
def test_games_of_a_lost_worker_are_played_again(lose: Callable[[Solos], bool], games: int, patience: float) -> None:
    seeds = list(range(games))
    found: list[GameRow] = []
    job = Job(lambda: AgentPolicy(WALKER, PARAMS, 0, Sampling()), seeds, found.append)
    assert play_until_lost(job, Post(TILE, CHARACTER, 120), lose, patience) >= 1
    rows: list[GameRow] = []
    task = Task(WALKER, lambda: PARAMS, seeds, rows.append)
    play_apart([task], lanes=4, workers=2, key_seed=0, max_steps=120, progress=False)
    assert sorted(found, key=lambda row: row.seed) == sorted(rows, key=lambda row: row.seed)


def test_an_error_of_a_policy_arrives_with_its_traceback() -> None:
    broken = {**PARAMS, "table": PARAMS["table"][:, :5]}
    task = Task(WALKER, lambda: broken, SEEDS, lambda row: None)
    with pytest.raises(WorkerFailed, match="TypeError"):
        play_apart([task], lanes=2, workers=1, key_seed=0, max_steps=5, progress=False)


def test_a_lost_worker_of_an_expert_is_replaced() -> None:
    expert, found = find(NetHackGame(), "random"), []
    job = Job(lambda: ExpertPolicy(expert), SEEDS, found.append)
    assert play_until_lost(job, Post(1, CHARACTER, 300), killed, 600.0) == 1
    rows = play_experts(expert, SEEDS, workers=1, max_steps=300, progress=False)
    assert sorted(found, key=lambda row: row.seed) == rows


def absent(observation: dict[str, np.ndarray]) -> int:
    """A policy that answers with an action that there is not."""
    return 1000


def test_what_a_user_did_wrong_arrives_in_one_line() -> None:
    expert = find(NetHackGame(), f"{__name__}:absent")
    with pytest.raises(UserError, match=r"absent answers 1000: give an action from 0 to 120$"):
        play_experts(expert, SEEDS, workers=2, max_steps=10, progress=False)


@pytest.mark.parametrize("how", [play_apart, play_agents])
def test_recorded_games_import_again(how: Callable, rows: list[GameRow], tmp_path: Path) -> None:
    """Each with the agent's screens, actions and score; the rest of an interrupted recording is replaced."""
    folder = tmp_path / "games"
    rest = folder / "game-00003.part"
    rest.mkdir(parents=True)
    (rest / "nle.1.xlogfile").write_text("rest")
    found: list[GameRow] = []
    task = Task(WALKER, lambda: PARAMS, SEEDS, found.append, folder)
    how([task], lanes=4, workers=2, key_seed=0, max_steps=120, progress=False)
    assert sorted(found, key=lambda row: row.seed) == rows
    assert sorted(path.name for path in folder.iterdir()) == [f"game-{seed:05d}" for seed in sorted(SEEDS)]
    import_nld(folder, tmp_path / "store", expert="walker", workers=1)
    store = TrajectoryStore.open(tmp_path / "store")
    seeds = [int(episode.source[5:10]) for episode in store.episodes]
    assert sorted(seeds) == sorted(SEEDS)
    game = ChallengeGame(max_steps=120)
    for number, (seed, episode) in enumerate(zip(seeds, store.episodes, strict=True)):
        steps = store.read(number, 0, episode.length)
        game.start(seed)
        row = None
        for action, chars in zip(steps.action_S, steps.chars_Sx24x80, strict=True):
            np.testing.assert_array_equal(recorded(game.chars_24x80), chars)
            row = game.step(int(action))
            if row is not None:
                break
        [expected] = [row for row in rows if row.seed == seed]
        assert row == expected
        assert episode.score == expected.score
    game.close()


@pytest.mark.skipif(cores() < 2, reason="one core")
def test_workers_of_evaluations_at_the_same_time_play_on_different_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # Other tests may play at the same time.

    def job() -> Job:
        return Job(lambda: AgentPolicy(WALKER, PARAMS, 0, Sampling()), SEEDS, lambda row: None)

    post = Post(TILE, CHARACTER, 120)
    with Solos([job()], post, 1, 1) as one, Solos([job()], post, 1, 1) as other:
        for solos in (one, other):
            assert solos._workers[0].connection.poll(600), "it asks for games once it has its core"
        mine, theirs = (os.sched_getaffinity(solos.pids[0]) for solos in (one, other))
        assert (len(mine), len(theirs)) == (1, 1)
        assert mine != theirs
