import bz2
import os
import signal
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nle import nethack
from nle.dataset import Converter

from data.games.challenge import SeededChallenge
from data.games.keys import KEYS, action_of_key
from data.spec import NETHACK, NO_ACTION
from eval.play.nethack.game import RECORDED, GameRow, SeededGame
from eval.play.nethack.vector import NetHackVector, WorkerFailed

CALM = [action_of_key()[key] for key in b"hjklyubn.s"]
"""Moves and waiting: keys that keep a game going."""


def actions_of(seed: int, steps: int, calm: bool) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.choice(CALM, steps) if calm else random.integers(len(KEYS), size=steps)


def opening_of(seed: int) -> int:
    """Screens that NLE pages past before the player may act."""
    game = SeededGame(seed)
    count = 0
    while game.opening:
        game.step(0)
        count += 1
    game.close()
    return count


def play(games: NetHackVector, moves: dict[int, np.ndarray]) -> tuple[list[GameRow], dict[int, list]]:
    """Play to the end; the rows, and what each game showed step by step."""
    rows, seen = [], {seed: [] for seed in moves}
    while games.active.any():
        action = np.zeros(games.lanes, np.uint8)
        for lane in np.flatnonzero(games.active):
            seed, age = int(games.seed[lane]), int(games.timestep[lane])
            screen = {name: array[lane].copy() for name, array in games.observation.items()}
            assert bool(games.first[lane]) == (age == 0) == (len(seen[seed]) == 0)
            seen[seed].append(screen)
            action[lane] = moves[seed][age]
        rows += games.step(action)
    return rows, seen


def record(folder: Path, seed: int, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What NLE's converter reads from NLE's recording of the game: chars, colours, cursors, keys."""
    game = SeededChallenge(
        character="mon-hum-neu-mal",
        max_episode_steps=len(action),
        observation_keys=("tty_chars", "tty_colors", "tty_cursor", "blstats"),
        save_ttyrec_every=1,
        savedir=str(folder),
    )
    game.reset_to(seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning: smooth quitting of game failed")
        for index in action:
            done = game.step(int(index))[2]
            if done:
                break
    game.close()
    (path,) = folder.glob("*.ttyrec3.bz2")
    return convert(path, len(action) + 200)


def convert(path: Path, room: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Chars, colours, cursors and keys of a recording of at most `room` frames."""
    chars, colors = np.zeros((room, 24, 80), np.uint8), np.zeros((room, 24, 80), np.int8)
    cursor, times = np.zeros((room, 2), np.int16), np.zeros(room, np.int64)
    keys, scores = np.zeros(room, np.uint8), np.zeros(room, np.int32)
    converter = Converter(24, 80, nethack.TTYREC_VERSION)
    converter.load_ttyrec(str(path), 1, 0)
    frames = room - converter.convert(chars, colors, cursor, times, keys, scores)
    return chars[:frames], colors[:frames], cursor[:frames], keys[:frames]


@pytest.mark.parametrize("calm", [True, False])
def test_play_shows_what_a_recording_holds(tmp_path: Path, calm: bool) -> None:
    seeds, steps = [11, 12, 13], 2500
    opening = {seed: opening_of(seed) for seed in seeds}
    assert sum(opening.values()) > 0, "no game opens with a screen that NLE pages past"
    moves = {seed: actions_of(seed, steps + 5, calm) for seed in seeds}
    with NetHackVector(seeds, lanes=2, workers=2, max_steps=steps) as games:
        rows, seen = play(games, moves)
    assert sorted(row.seed for row in rows) == seeds
    for row in rows:
        chars, colors, cursor, keys = record(
            tmp_path / str(row.seed), row.seed, moves[row.seed][opening[row.seed] :][:steps]
        )
        screens = seen[row.seed]
        assert row.steps == len(screens) - opening[row.seed]
        assert len(screens) <= len(chars)
        for name, recorded in (("chars", chars), ("colors", colors), ("cursor", cursor)):
            shown = np.stack([screen[name] for screen in screens])
            assert shown.dtype == NETHACK[name].dtype
            np.testing.assert_array_equal(shown, recorded[: len(screens)])
        action = action_of_key()[keys]
        before = np.array([screen["prev_action"] for screen in screens])
        assert before[0] == NO_ACTION
        np.testing.assert_array_equal(before[1:], action[: len(screens) - 1])
    if not calm:
        typed = sum((screen["chars"] >= 0x80).sum() for screens in seen.values() for screen in screens)
        assert typed, "no byte beyond ASCII was typed: the table of recorded characters went unchecked"


def test_the_table_of_recorded_characters_is_the_converters(tmp_path: Path) -> None:
    """Every byte that a terminal shows, put through NLE's converter, which keeps the last frame to itself."""
    shown = [byte for byte in range(0x20, 0xFF) if byte != 0x7F]
    path = tmp_path / "all.ttyrec3.bz2"
    screen, key = 0, 1
    frames = b"".join(
        struct.pack("<iiiB", 0, 0, 4, screen) + b"\x1b[H" + bytes([byte]) + struct.pack("<iiiB", 0, 0, 1, key) + b"."
        for byte in [*shown, 0x20]
    )
    path.write_bytes(bz2.compress(frames))
    chars, *_ = convert(path, len(shown))
    np.testing.assert_array_equal(RECORDED[shown], chars[:, 0, 0])


def test_a_repeated_key_counts_as_its_first_action() -> None:
    twice = [index for index, key in enumerate(KEYS) if KEYS.index(key) != index]
    assert twice
    game = SeededGame(3)
    while game.opening:
        game.step(0)
    for index in twice:
        game.step(index)
        assert game.prev_action == KEYS.index(KEYS[index]) != index
    game.close()


def test_lanes_and_workers_do_not_change_the_games() -> None:
    seeds = [5, 3, 9, 2, 7]
    moves = {seed: actions_of(seed, 40 + 30 * seed, calm=True) for seed in seeds}
    results = []
    for lanes, workers, groups in ((1, 1, 1), (4, 3, 2), (5, 2, 1)):
        with NetHackVector(seeds, lanes, workers, max_steps=100, groups=groups) as games:
            rows, seen = play(games, moves)
        assert all(
            not array[lane].any()
            for lane in range(lanes)
            for name, array in games.observation.items()
            if name != "prev_action"
        )
        results.append((sorted(rows, key=lambda row: row.seed), seen))
    for rows, seen in results[1:]:
        assert rows == results[0][0]
        for seed in seeds:
            for screen, other in zip(seen[seed], results[0][1][seed], strict=True):
                assert all(np.array_equal(screen[name], other[name]) for name in NETHACK)


def test_the_next_seed_goes_to_the_lowest_free_lane() -> None:
    seeds = [seed for seed in range(20, 40) if not opening_of(seed)][:7]
    with NetHackVector(seeds, lanes=3, workers=2, max_steps=4) as games:
        order = []
        while games.active.any():
            order += [games.seed[games.active & games.first].tolist()]
            games.step(np.full(3, CALM[-1]))
    assert [started for started in order if started] == [seeds[:3], seeds[3:6], seeds[6:]]


def test_a_row_tells_how_the_game_went() -> None:
    steps = 30
    with NetHackVector([4], 1, 1, max_steps=steps) as games:
        rows, _ = play(games, {4: np.full(steps, action_of_key()[ord("s")])})
    (row,) = rows
    assert (row.steps, row.depth, row.role, row.death) == (steps, 1, "Mon", "quit")
    assert row.truncated
    assert not row.stalled
    assert row.turns > 1


def test_quitting_is_an_end_of_its_own() -> None:
    keys = [0x80 | ord("q"), ord("y")]
    rows, _ = _play_alone(6, [int(action_of_key()[key]) for key in keys])
    assert rows[0].death == "quit"
    assert not rows[0].truncated
    assert rows[0].steps == len(keys)


def test_death_and_score_come_from_the_games_own_records() -> None:
    """Praying again and again angers the gods."""
    pray = [int(action_of_key()[key]) for key in (0x80 | ord("p"), ord("y"), *b"\r\r\r\r\r\r")] * 100
    rows, _ = _play_alone(8, pray)
    (row,) = rows
    assert row.death not in ("quit", "unrecorded")
    assert row.steps < len(pray)
    assert not row.truncated
    assert not row.stalled


def test_a_clock_that_stands_still_ends_the_game() -> None:
    rows, _ = _play_alone(1, [int(action_of_key()[27])] * 11_000)
    assert rows[0].stalled
    assert not rows[0].truncated
    assert rows[0].death == "quit"


def _play_alone(seed: int, action: list[int]) -> tuple[list[GameRow], dict[int, list]]:
    with NetHackVector([seed], 1, 1) as games:
        return play(games, {seed: np.array(action)})


@pytest.mark.parametrize("keys", [b"#sss", b"_!x:^"])
def test_an_open_prompt_does_not_keep_a_truncated_game_from_ending(keys: bytes) -> None:
    """NLE's own way of quitting fails after the second row of keys."""
    game = SeededGame(2, max_steps=len(keys))
    assert not game.opening
    rows = [game.step(int(action_of_key()[key])) for key in keys]
    game.close()
    assert rows[:-1] == [None] * (len(keys) - 1)
    row = rows[-1]
    assert row is not None
    assert row.truncated
    assert row.death == "quit"


@pytest.fixture
def games() -> Iterator[NetHackVector]:
    with NetHackVector([1, 2, 3, 4], lanes=4, workers=2) as games:
        yield games


def test_a_dead_worker_is_named_with_its_games(games: NetHackVector) -> None:
    pid = games._processes[1].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed, match=r"worker 1 died with exit code -9 .* seeds \[2, 4\]"):
        games.step(np.full(4, CALM[-1]))
    folder = Path(games._folder.name)
    assert any(folder.iterdir())
    games.close()
    assert not folder.exists()


def test_an_error_in_a_worker_arrives_with_its_traceback(games: NetHackVector) -> None:
    with pytest.raises(WorkerFailed, match="IndexError"):
        games.step(np.full(4, len(KEYS)))


def test_closing_leaves_no_processes_and_no_files(games: NetHackVector) -> None:
    processes = list(games._processes)
    pids = [process.pid for process in processes]
    assert all(process.is_alive() for process in processes)
    folder = Path(games._folder.name)
    assert len(list(folder.iterdir())) == 4
    games.close()
    games.close()
    assert not folder.exists()
    for pid in pids:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("seeds", [[1, 1], [-1], [2**32]])
def test_seeds_that_cannot_be_told_apart_are_refused(seeds: list[int]) -> None:
    with pytest.raises(ValueError, match="distinct integers"):
        NetHackVector(seeds, 1, 1)
