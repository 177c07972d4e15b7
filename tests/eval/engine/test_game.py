"""Games of one environment: what they show, how they end, and that earlier ones leave no trace."""

import bz2
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nle import nethack
from nle.dataset import Converter

from data.games.challenge import SCREEN, SeededChallenge
from data.games.keys import KEYS, action_of_key
from data.spec import NETHACK, NO_ACTION
from eval.engine.game import RECORDED, ChallengeGame, GameRow

CALM = [action_of_key()[key] for key in b"hjklyubn.s"]
"""Moves and waiting: keys that keep a game going."""


def actions_of(seed: int, steps: int, calm: bool) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.choice(CALM, steps) if calm else random.integers(len(KEYS), size=steps)


@pytest.fixture(scope="module")
def game() -> Iterator[ChallengeGame]:
    """One environment for the games of several tests, each of at most 2,500 steps."""
    game = ChallengeGame(max_steps=2500)
    yield game
    game.close()


def opening_of(game: ChallengeGame, seed: int) -> int:
    """Screens that NLE pages past before the player may act."""
    game.start(seed)
    count = 0
    while game.opening:
        game.step(0)
        count += 1
    return count


def play(game: ChallengeGame, seed: int, moves: np.ndarray) -> tuple[GameRow, list[dict[str, np.ndarray]]]:
    """Play to the end; the row, and what the game showed step by step."""
    game.start(seed)
    seen = []
    for action in moves:
        seen.append({"prev_action": game.prev_action, **{k: v.copy() for k, v in game.observation.items()}})
        row = game.step(int(action))
        if row is not None:
            return row, seen
    raise AssertionError("the game did not end")


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
def test_play_shows_what_a_recording_holds(game: ChallengeGame, tmp_path: Path, calm: bool) -> None:
    seeds, steps = [11, 12, 13], 2500
    opening = {seed: opening_of(game, seed) for seed in seeds}
    assert sum(opening.values()) > 0, "no game opens with a screen that NLE pages past"
    moves = {seed: actions_of(seed, steps + 5, calm) for seed in seeds}
    played = {seed: play(game, seed, moves[seed]) for seed in seeds}
    for row, screens in played.values():
        chars, colors, cursor, keys = record(
            tmp_path / str(row.seed), row.seed, moves[row.seed][opening[row.seed] :][:steps]
        )
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
        typed = sum((screen["chars"] >= 0x80).sum() for _, screens in played.values() for screen in screens)
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


def test_a_repeated_key_counts_as_its_first_action(game: ChallengeGame) -> None:
    twice = [index for index, key in enumerate(KEYS) if KEYS.index(key) != index]
    assert twice
    opening_of(game, 3)
    for index in twice:
        game.step(index)
        assert game.prev_action == KEYS.index(KEYS[index]) != index


@pytest.mark.parametrize("character", ["mon-hum-neu-mal", "@"])
def test_a_reused_environment_plays_what_a_new_one_plays(character: str) -> None:
    """In any order, whether the games before were played out or left in the middle of a prompt."""
    seeds = list(range(8))
    moves = {seed: actions_of(seed, 300, calm=seed % 2 == 0) for seed in seeds}
    alone = {}
    for seed in seeds:
        fresh = ChallengeGame(character, max_steps=200)
        alone[seed] = play(fresh, seed, moves[seed])
        fresh.close()
    assert (len({row.role for row, _ in alone.values()}) > 1) == (character == "@")
    game = ChallengeGame(character, max_steps=200)
    order = np.random.default_rng(0).permutation(seeds * 3).tolist()
    for turn, seed in enumerate(order):
        if turn % 3 == 0:
            game.start(100 + turn)
            for action in moves[1][: 10 * turn]:
                if game.step(int(action)) is not None:
                    break
        row, seen = play(game, seed, moves[seed])
        assert row == alone[seed][0]
        for screen, other in zip(seen, alone[seed][1], strict=True):
            assert all(np.array_equal(screen[name], other[name]) for name in NETHACK)
    game.close()


def test_a_row_tells_how_the_game_went() -> None:
    steps = 30
    game = ChallengeGame(max_steps=steps)
    row, _ = play(game, 4, np.full(steps + 5, action_of_key()[ord("s")]))
    game.close()
    assert (row.steps, row.depth, row.role, row.death) == (steps, 1, "Mon", "quit")
    assert row.truncated
    assert not row.stalled
    assert row.turns > 1


def test_quitting_is_an_end_of_its_own(game: ChallengeGame) -> None:
    keys = [0x80 | ord("q"), ord("y")]
    row, _ = play(game, 6, action_of_key()[keys])
    assert row.death == "quit"
    assert not row.truncated
    assert row.steps == len(keys)


def test_death_and_score_come_from_the_games_own_records(game: ChallengeGame) -> None:
    """Praying again and again angers the gods."""
    pray = [int(action_of_key()[key]) for key in (0x80 | ord("p"), ord("y"), *b"\r\r\r\r\r\r")] * 100
    row, _ = play(game, 8, np.array(pray))
    assert row.death not in ("quit", "unrecorded")
    assert row.steps < len(pray)
    assert not row.truncated
    assert not row.stalled


def test_a_clock_that_stands_still_ends_the_game() -> None:
    game = ChallengeGame()
    row, _ = play(game, 1, np.full(11_000, action_of_key()[27]))
    game.close()
    assert row.stalled
    assert not row.truncated
    assert row.death == "quit"


def test_steps_are_those_of_gymnasiums_environment(tmp_path: Path) -> None:
    """Screens, end and final score, under NLE's own `step`."""
    for seed, calm in ((3, True), (4, False), (5, False)):
        moves = actions_of(seed, 700, calm)
        env = SeededChallenge(character="@", max_episode_steps=500, observation_keys=(*SCREEN, "blstats"))
        seen, _ = env.reset_to(seed)
        theirs, ended, status = [], False, None
        for action in moves:
            theirs.append(tuple(seen[key].copy() for key in SCREEN))
            seen, _, ended, _, info = env.step(int(action))
            if ended:
                status = info["end_status"]
                break
        env.close()
        game = ChallengeGame("@", max_steps=500)
        opening = opening_of(game, seed)
        row, screens = play(game, seed, np.concatenate([np.zeros(opening, int), moves]))
        game.close()
        assert ended
        assert row.steps == len(theirs)
        assert row.truncated == (status == env.StepStatus.ABORTED)
        for screen, other in zip(screens[opening:], theirs, strict=True):
            assert np.array_equal(screen["chars"], RECORDED[other[0]])
            assert np.array_equal(screen["colors"], other[1])
            assert np.array_equal(screen["cursor"], other[2])


@pytest.mark.parametrize("keys", [b"#sss", b"_!x:^"])
def test_an_open_prompt_does_not_keep_a_truncated_game_from_ending(keys: bytes) -> None:
    """NLE's own way of quitting fails after the second row of keys."""
    game = ChallengeGame(max_steps=len(keys))
    game.start(2)
    assert not game.opening
    rows = [game.step(int(action_of_key()[key])) for key in keys]
    game.close()
    assert rows[:-1] == [None] * (len(keys) - 1)
    row = rows[-1]
    assert row is not None
    assert row.truncated
    assert row.death == "quit"
