"""The embedded NetHack expert, on real games and on nonsense."""

import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from data.collect.base import episode_seed
from data.experts.nethack.path import AROUND, COMPASS, dilate, way_to, ways
from data.experts.nethack.player import NetHackExpert
from data.experts.nethack.screen import CLOSED, CORRIDOR, FLOOR, KINDS, MONSTER, WALL, Ask, look, read
from data.experts.random import RandomPlayer
from data.games.base import Player
from data.games.challenge import SCREEN, SeededChallenge, on_terminal, zone
from data.games.keys import KEYS
from data.spec import COLUMNS, ROWS

CELLS = ROWS * COLUMNS


@pytest.fixture(scope="module")
def env() -> Iterator[SeededChallenge]:
    game = SeededChallenge(character="mon-hum-neu-mal", observation_keys=(*SCREEN, "blstats"), max_episode_steps=1000)
    yield game
    game.close()


def play(env: SeededChallenge, player: Player, seed: int) -> tuple[float, list[int], bytes]:
    """The score, the actions and the last screen of a whole game."""
    seen, _ = env.reset_to(seed)
    score, actions, over, last = 0.0, [], False, b""
    while not over:
        last = seen["tty_chars"].tobytes()
        action = player.act(on_terminal(seen))
        assert 0 <= action < len(KEYS)
        seen, reward, over, _, _ = env.step(action)
        score += float(reward)
        actions.append(action)
    return score, actions, last


def test_the_expert_beats_random_keys(env: SeededChallenge) -> None:
    seeds = range(100, 105)
    expert = np.mean([play(env, NetHackExpert(seed), seed)[0] for seed in seeds])
    random = np.mean([play(env, RandomPlayer(seed, len(KEYS)), seed)[0] for seed in seeds])
    assert expert >= 100
    assert expert >= 5 * random


def test_a_game_is_a_function_of_its_seed(env: SeededChallenge) -> None:
    first, other = play(env, NetHackExpert(3), 3), play(env, NetHackExpert(4), 4)
    assert play(env, NetHackExpert(3), 3) == first
    assert other[1] != first[1]


def test_the_clock_does_not_change_a_game(env: SeededChallenge) -> None:
    """Shopkeepers are named after the second at which a game began, unless it is tied to the seed."""
    seed = episode_seed(0, 5)
    seen, _ = env.reset_to(seed)
    assert time.localtime().tm_hour == 12
    expert, top = NetHackExpert(seed), ""
    for _ in range(120):
        if top.startswith('"Hello, Agent!'):
            break
        seen, *_ = env.step(expert.act(on_terminal(seen)))
        top = seen["tty_chars"][0].tobytes().decode("latin-1")
    assert top.startswith('"Hello, Agent!  Welcome to Ouiatchouane\'s general store!"')


def test_a_game_can_be_quit_from_inside_nested_prompts() -> None:
    """These random keys end in a question in a menu in a question; NLE warns where it fails to quit."""
    env = SeededChallenge(character="mon-hum-neu-mal", observation_keys=SCREEN, max_episode_steps=5000)
    _, actions, last = play(env, RandomPlayer(episode_seed(0, 19), len(KEYS)), episode_seed(0, 19))
    assert len(actions) == 5000
    assert last.startswith(b"Search for:")
    env.close()


def test_processes_start_after_a_game_that_was_played_in_another_year(env: SeededChallenge) -> None:
    """They inherit the time zone, and Python refuses those that are years from UTC."""
    env.reset_to(0)
    shown = [sys.executable, "-c", "import time; print(time.strftime('%Y-%m-%d'))"]
    assert subprocess.run(shown, capture_output=True, text=True, check=True).stdout == "2026-07-01\n"
    year = (365 * 24 + 6) * 3600
    for now in (0, year - 1, year, 50 * year + year // 2, 100 * year + 5):
        content = zone(-(3 * year), now)
        assert content.startswith(b"TZif2")
        for years in (-19, 0, 19):
            assert struct.pack(">q", (now // year + years) * year) in content
        assert struct.pack(">q", now // year * year + year // 2) in content


def test_seeding_does_not_depend_on_earlier_games(env: SeededChallenge) -> None:
    fresh = SeededChallenge(character="mon-hum-neu-mal", observation_keys=(*SCREEN, "blstats"), max_episode_steps=1000)
    play(env, RandomPlayer(1, len(KEYS)), 1)
    assert play(env, NetHackExpert(5), 5) == play(fresh, NetHackExpert(5), 5)
    fresh.close()


@pytest.mark.parametrize("character", ["val-dwa-law-fem", "wiz-elf-cha-mal", "sam-hum-law-fem"])
def test_other_characters_get_somewhere(character: str) -> None:
    env = SeededChallenge(character=character, observation_keys=(*SCREEN, "blstats"), max_episode_steps=800)
    assert play(env, NetHackExpert(0), 0)[0] > 0
    env.close()


@pytest.mark.parametrize("seed", range(4))
def test_nonsense_on_the_screen_never_raises(seed: int) -> None:
    random = np.random.default_rng(seed)
    expert = NetHackExpert(seed)
    for _ in range(300):
        chars = random.integers(0, 256, (ROWS, COLUMNS), dtype=np.uint8)
        colors = random.integers(0, 256, (ROWS, COLUMNS), dtype=np.uint8)
        cursor = np.array([random.integers(ROWS), random.integers(COLUMNS)], np.uint8)
        assert 0 <= expert.act({"chars": chars, "colors": colors, "cursor": cursor}) < len(KEYS)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_game_screen_never_raises(env: SeededChallenge, seed: int) -> None:
    """Real status and prompts around a map of noise, so that the deciding code is reached."""
    random = np.random.default_rng(seed)
    expert = NetHackExpert(seed)
    seen, _ = env.reset_to(seed)
    symbols = np.frombuffer(b"   ....##||--+<>^`$%)d@fFe", np.uint8)
    tops = [
        b"",
        b"This door is locked.",
        b"Really attack?",
        b"You stop.",
        b"--More--",
        b"(end)",
        b"The fox bites!",
    ]
    for step in range(500):
        chars, colors = seen["tty_chars"].copy(), seen["tty_colors"].copy()
        chars[1:22] = random.choice(symbols, (21, COLUMNS))
        colors[1:22] = random.integers(0, 16, (21, COLUMNS))
        top = tops[step % len(tops)]
        chars[0, : len(top)] = np.frombuffer(top, np.uint8)
        row = int(random.integers(0, 22))
        cursor = np.array([row, min(len(top), 79) if row == 0 else random.integers(COLUMNS)], np.uint8)
        chars[23, 5] = ord("1") + step // 200  # the dungeon level changes too
        assert 0 <= expert.act({"chars": chars, "colors": colors, "cursor": cursor}) < len(KEYS)


def screen_of(*lines: str, status: str = "", cursor: tuple[int, int] = (5, 5)) -> list[np.ndarray]:
    """A grey terminal with these lines from the top and this bottom line."""
    chars = np.full((ROWS, COLUMNS), ord(" "), np.uint8)
    for row, line in [*enumerate(lines), (23, status)]:
        chars[row, : len(line)] = np.frombuffer(line.encode(), np.uint8)
    return [chars, np.full((ROWS, COLUMNS), 7, np.uint8), np.array(cursor, np.uint8)]


HEALTHY = "Dlvl:3 $:12 HP:19(21) Pw:4(4) AC:4 Xp:2/24 T:1234"
STATUS = "Dlvl:3 $:12 HP:9(21) Pw:4(4) AC:4 Xp:2/24 T:1234 Hungry"


def test_reading_the_status_line() -> None:
    status = read(*screen_of(status=STATUS)).status
    assert status is not None
    assert (status.depth, status.hp, status.max_hp, status.level, status.turn) == (3, 9, 21, 2, 1234)
    assert status.hunger == "Hungry"
    assert not status.dying
    assert status._replace(hp=5).dying
    assert status._replace(hp=10, max_hp=70).dying


@pytest.mark.parametrize(
    ("top", "cursor", "ask"),
    [
        ("You hit it.--More--", (0, 19), Ask.MORE),
        ("Really attack the dog? [yn] (n) ", (0, 32), Ask.QUESTION),
        ("In what direction? ", (0, 19), Ask.QUESTION),
        (" (end) ", (0, 7), Ask.MENU),
        ("(1 of 2) ", (0, 9), Ask.MENU),
        ("Hello.", (5, 5), Ask.COMMAND),
    ],
)
def test_telling_what_the_game_asks(top: str, cursor: tuple[int, int], ask: Ask) -> None:
    assert read(*screen_of(top, status=STATUS, cursor=cursor)).ask is ask


def test_telling_things_apart_by_colour() -> None:
    assert KINDS[look("+", 3)] == CLOSED
    assert KINDS[look("+", 4)] == FLOOR  # a spellbook
    assert KINDS[look("-", 7)] == WALL
    assert KINDS[look("#", 7)] == CORRIDOR
    assert KINDS[look("#", 2)] == WALL  # a tree
    assert KINDS[look("@", 15)] == MONSTER


def seen(screen: list[np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip(("chars", "colors", "cursor"), screen, strict=True))


def key_for(expert: NetHackExpert, screen: list[np.ndarray]) -> str:
    return chr(KEYS[expert.act(seen(screen))])


def test_answers() -> None:
    expert = NetHackExpert(0)
    assert key_for(expert, screen_of(status=STATUS)) == "i"
    inventory = ["Potions", "e - 3 uncursed potions of healing", "(end) "]
    assert key_for(expert, screen_of(*inventory, status=STATUS, cursor=(2, 6))) == "\x1b"
    drink = "What do you want to drink? [ac-f or ?*] "
    assert key_for(expert, screen_of(drink, status=STATUS, cursor=(0, len(drink)))) == "e"
    others = "What do you want to drink? [jk or ?*] "
    assert key_for(expert, screen_of(others, status=STATUS, cursor=(0, len(others)))) == "\x1b"
    eat = "What do you want to eat? [fgh or ?*] "
    assert key_for(expert, screen_of(eat, status=STATUS, cursor=(0, len(eat)))) == "f"
    pray = "Are you sure you want to pray? [yn] (n) "
    assert key_for(expert, screen_of(pray, status=STATUS, cursor=(0, len(pray)))) == "y"
    shop = "There is a bear trap here. Disarm it? [ynq] (q) "
    assert key_for(expert, screen_of(shop, status=STATUS, cursor=(0, len(shop)))) == "\x1b"


def test_prays_when_nearly_dead_and_not_twice() -> None:
    expert = NetHackExpert(0)
    dying = STATUS.replace("HP:9", "HP:3").replace(" Hungry", "")
    room = screen_of("", "", "", "", "    |...", "    |@..", "    |...", status=dying)
    assert key_for(expert, room) == "i"
    assert expert.act(seen(room)) == KEYS.index(0xF0)
    assert expert.act(seen(room)) != KEYS.index(0xF0)


def test_fights_next_to_it_but_not_the_floating_eye() -> None:
    room = screen_of("", "", "", "", "    |....", "    |@o..", "    |....", status=STATUS.replace("HP:9", "HP:19"))
    expert = NetHackExpert(0)
    assert [key_for(expert, room) for _ in range(2)] == ["i", "l"]
    eye = screen_of("", "", "", "", "    |....", "    |@e..", "    |....", status=STATUS.replace("HP:9", "HP:19"))
    eye[1][5, 6] = 4
    expert = NetHackExpert(0)
    assert key_for(expert, eye) == "i"
    assert "l" not in [key_for(expert, eye) for _ in range(10)]


def test_ways_go_round_walls_and_straight_through_doors() -> None:
    kinds = np.full((ROWS, COLUMNS), WALL, np.uint8)
    kinds[5, 5:10] = FLOOR
    kinds[6, 9] = CLOSED
    kinds[7, 5:10] = FLOOR
    start, goal = 5 * COLUMNS + 5, 7 * COLUMNS + 5
    flat = kinds.reshape(-1)
    enter = (flat != WALL).tobytes()
    before = ways(start, enter, flat.tobytes(), set(), COMPASS["l"])
    path = way_to(goal, before)
    assert path[0] == goal
    assert len(path) == 10
    assert 6 * COLUMNS + 9 in path
    shut = {(5 * COLUMNS + 9, 6 * COLUMNS + 9)}
    assert goal not in ways(start, enter, flat.tobytes(), shut, COMPASS["l"])


def test_ways_are_shortest() -> None:
    random = np.random.default_rng(0)
    kinds = np.where(random.random(CELLS) < 0.7, FLOOR, WALL).astype(np.uint8)
    start = 10 * COLUMNS + 40
    enter = kinds == FLOOR
    before = ways(start, enter.tobytes(), kinds.tobytes(), set(), COMPASS["j"])
    reached = np.zeros(CELLS, bool)
    reached[start] = True
    for distance in range(1, 40):
        grown = np.zeros(CELLS, bool)
        grown[[cell for one in np.flatnonzero(reached) for cell in AROUND[one]]] = True
        reached |= grown & enter
        assert set(np.flatnonzero(reached).tolist()) == {
            cell for cell in before if len(way_to(cell, before)) <= distance
        }


def test_dilate() -> None:
    mask = np.zeros(CELLS, bool)
    mask[[10 * COLUMNS + 20, 12 * COLUMNS]] = True
    expected = {*AROUND[10 * COLUMNS + 20], 10 * COLUMNS + 20, *AROUND[12 * COLUMNS], 12 * COLUMNS}
    assert set(np.flatnonzero(dilate(mask)).tolist()) == expected
