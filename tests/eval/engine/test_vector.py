"""The vector environment: its games are those played alone, and lost workers lose and double nothing."""

import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from data.games.keys import KEYS, action_of_key
from data.spec import NETHACK
from eval.engine.game import ChallengeGame, GameRow, recorded
from eval.engine.vector import ATTEMPTS, NetHackVector, WorkerFailed

CALM = [action_of_key()[key] for key in b"hjklyubn.s"]
STEPS = 60
SEEDS = [5, 3, 9, 2, 7, 11, 4]


def action_of(seed: int, timestep: int) -> int:
    """The action of a game at a timestep: a function of both, as a policy's is of the screens."""
    return int(np.random.default_rng((seed, timestep)).choice(CALM))


def play(
    games: NetHackVector, seeds: list[int], disturb: Callable[[int], None] = lambda step: None
) -> dict[int, tuple[GameRow, list[dict[str, np.ndarray]]]]:
    """Play to the end; the rows, and what each game showed step by step. `disturb` is called before each step."""
    queue, seen, played = deque(seeds), {seed: [] for seed in seeds}, {}

    def fill(lane: int) -> None:
        if queue:
            games.begin(lane, queue.popleft())

    for tile, lanes in enumerate(games.tiles):
        for lane in range(lanes.start, lanes.stop):
            fill(lane)
        games.send(tile, np.zeros(games.tile, np.uint8))
    step = 0
    while games.stepping:
        received = games.receive()
        assert received is not None
        tile, ended = received
        for game in ended:
            assert game.row.seed not in played
            played[game.row.seed] = (game.row, seen[game.row.seed])
            fill(game.lane)
        disturb(step)
        step += 1
        lanes = games.tiles[tile]
        action = np.zeros(games.tile, np.uint8)
        for index, lane in enumerate(range(lanes.start, lanes.stop)):
            if not games.active[lane] or lane in [game.lane for game in ended]:
                continue
            seed, timestep = int(games.seed[lane]), int(games.timestep[lane])
            screen = {name: array[lane].copy() for name, array in games.observation.items()}
            # A game that began again shows the same again.
            del seen[seed][timestep:]
            seen[seed].append({**screen, "chars": recorded(screen["chars"])})
            action[index] = action_of(seed, timestep)
        if games.active[lanes].any():
            games.send(tile, action)
    return played


@pytest.fixture(scope="module")
def alone() -> dict[int, tuple[GameRow, list[dict[str, np.ndarray]]]]:
    """The same games, each in an environment of its own."""
    played = {}
    for seed in SEEDS:
        game, seen, row = ChallengeGame(max_steps=STEPS), [], None
        game.start(seed)
        while row is None:
            seen.append({"prev_action": game.prev_action, **{k: v.copy() for k, v in game.observation.items()}})
            row = game.step(action_of(seed, len(seen) - 1))
        played[seed] = row, seen
        game.close()
    return played


def check_same(played: dict, alone: dict) -> None:
    assert played.keys() == alone.keys()
    for seed, (row, seen) in played.items():
        assert row == alone[seed][0]
        for screen, other in zip(seen, alone[seed][1], strict=True):
            assert all(np.array_equal(screen[name], other[name]) for name in NETHACK)


@pytest.mark.parametrize(("tiles", "tile", "workers"), [(1, 1, 1), (2, 3, 2), (1, 12, 2), (3, 2, 5)])
def test_games_are_those_played_alone(tiles: int, tile: int, workers: int, alone: dict) -> None:
    with NetHackVector(tiles, tile, workers, max_steps=STEPS) as games:
        check_same(play(games, SEEDS), alone)
        assert games.replaced == 0
        assert games.busy > 0


def test_tiles_that_share_a_worker_get_the_games_that_ended_there() -> None:
    """Worker 0 ends games of two tiles, of which the second is complete first: the other waits for worker 4.

    The games of these seeds have no opening screens: each ends with its first action.
    """
    with NetHackVector(3, 2, 5, max_steps=1) as games:
        assert [lane for of_tile in games._lanes[0].values() for lane in of_tile] == [0, 5]
        for lane, seed in enumerate([4, 5, 6, 7, 8, 9]):
            games.begin(lane, seed)
        for tile in (2, 0):
            games.send(tile, np.zeros(2, np.uint8))
        assert [games.receive(), games.receive()]
        os.kill(games.crew.pids[4], signal.SIGSTOP)
        for tile in (2, 0):
            games.send(tile, np.zeros(2, np.uint8))
        tile, ended = games.receive() or (None, [])
        assert (tile, [(game.lane, game.row.seed) for game in ended]) == (0, [(0, 4), (1, 5)])
        os.kill(games.crew.pids[4], signal.SIGCONT)
        tile, ended = games.receive() or (None, [])
        assert (tile, [(game.lane, game.row.seed) for game in ended]) == (2, [(4, 8), (5, 9)])
        assert games.replaced == 0


@pytest.mark.parametrize(
    ("how", "when", "patience"),
    [(signal.SIGKILL, (0, 25, 90), 600.0), pytest.param(signal.SIGSTOP, (25,), 20.0, marks=pytest.mark.slow)],
)
def test_games_of_a_lost_worker_are_played_again(
    how: signal.Signals, when: tuple[int, ...], patience: float, alone: dict
) -> None:
    """Killed, or stopped so that it hangs, while its tiles step and while the policy computes their actions."""

    def disturb(step: int) -> None:
        if step in when:
            os.kill(games.crew.pids[step % 2], how)

    with NetHackVector(2, 2, 2, max_steps=STEPS, patience=patience) as games:
        check_same(play(games, SEEDS, disturb), alone)
        assert games.replaced >= len(when)


def test_a_lost_worker_may_have_played_the_same_seed_in_every_tile() -> None:
    """As every checkpoint plays the same seeds."""
    with NetHackVector(2 * ATTEMPTS, 1, 1, max_steps=STEPS) as games:
        for lane in range(2 * ATTEMPTS):
            games.begin(lane, 0)
            games.send(lane, np.zeros(1, np.uint8))
        os.kill(games.crew.pids[0], signal.SIGKILL)
        for _ in range(2 * ATTEMPTS):
            assert games.receive()
        assert games.replaced == 1


def test_a_lost_worker_is_replaced_while_another_goes_on() -> None:
    with NetHackVector(2, 1, 2) as games:
        for tile in (0, 1):
            games.begin(tile, tile)
            games.send(tile, np.zeros(1, np.uint8))
        assert [games.receive(), games.receive()]
        os.kill(games.crew.pids[1], signal.SIGKILL)
        for tile in (0, 1):
            games.send(tile, np.full(1, CALM[-1]))
        for _ in range(300_000):
            tile, ended = games.receive() or (None, [])
            if tile == 1 or games.replaced:
                break
            for game in ended:
                games.begin(game.lane, 0)
            games.send(0, np.full(1, CALM[-1]))
        assert games.replaced == 1


def test_a_worker_that_died_after_a_step_does_it_again() -> None:
    with NetHackVector(1, 1, 1) as games:
        games.begin(0, 3)
        games.send(0, np.zeros(1, np.uint8))
        games.receive()
        first = {name: array.copy() for name, array in games.observation.items()}
        games.send(0, np.full(1, CALM[0]))
        while games._views.done[0, 0] != games._views.sent[0]:
            time.sleep(0.001)
        os.kill(games.crew.pids[0], signal.SIGKILL)
        os.waitid(os.P_PID, games.crew.pids[0], os.WEXITED | os.WNOWAIT)
        games._looked = -math.inf
        assert games.receive() == (0, [])
        assert games.replaced == 1
        assert not games._views.begin.any(), "the game has begun again"
        assert all(np.array_equal(games.observation[name], first[name]) for name in NETHACK)
        assert games.timestep.tolist() == [0]


def test_games_that_are_lost_again_and_again_are_given_up() -> None:
    with (
        pytest.raises(WorkerFailed, match=r"lost again and again, .* exit code -9, while it played seeds \[1, 2\]"),
        NetHackVector(1, 2, 1) as games,
    ):
        play(games, [1, 2], lambda step: os.kill(games.crew.pids[0], signal.SIGKILL))
    assert games.replaced == ATTEMPTS


@pytest.fixture
def games() -> Iterator[NetHackVector]:
    with NetHackVector(1, 4, 2) as games:
        for lane in range(4):
            games.begin(lane, lane)
        games.send(0, np.zeros(4, np.uint8))
        games.receive()
        yield games


def test_an_error_in_a_worker_arrives_with_its_traceback(games: NetHackVector) -> None:
    games.send(0, np.full(4, len(KEYS)))
    with pytest.raises(WorkerFailed, match="IndexError"):
        games.receive()


def test_a_worker_out_of_file_descriptors_is_replaced(alone: dict) -> None:
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)

    def disturb(step: int) -> None:
        pid = games.crew.pids[0]
        if step == 3:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limit[1]))

    with NetHackVector(2, 1, 1, max_steps=STEPS) as games:
        check_same(play(games, SEEDS, disturb), alone)
        assert games.replaced == 1


def test_a_tile_steps_once_at_a_time(games: NetHackVector) -> None:
    games.send(0, np.zeros(4, np.uint8))
    with pytest.raises(RuntimeError, match="already stepping"):
        games.send(0, np.zeros(4, np.uint8))
    games.receive()
    with pytest.raises(RuntimeError, match="no tile is stepping"):
        games.receive()


def test_closing_leaves_no_processes_and_no_files(games: NetHackVector) -> None:
    pids, folder = games.crew.pids, games.crew.folder
    assert len(list(folder.rglob("nhdat"))) == 4
    games.close()
    games.close()
    assert not folder.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
