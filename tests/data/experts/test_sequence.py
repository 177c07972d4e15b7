"""A fixed sequence of actions is a policy of any game."""

import json
from pathlib import Path

import pytest

from data.common.cli import UserError
from data.experts.registry import find
from data.games import registry
from data.games.keys import KEYS


@pytest.mark.parametrize(
    ("game", "listed", "actions"),
    [
        ("nethack", ["j", "^D", "k (N)", 3], [ord("j"), 4, ord("k"), ord("h")]),
        ("Breakout", ["FIRE", 2], [1, 2]),
        ("gym/CartPole-v1", [0, 1, 1], [0, 1, 1]),
    ],
)
def test_a_sequence_is_repeated(tmp_path: Path, game: str, listed: list[str | int], actions: list[int]) -> None:
    path = tmp_path / "moves.json"
    path.write_text(json.dumps(listed))
    expert = find(registry.find(game), str(path))
    player = expert.player(5)
    chosen = [player.act(None) for _ in range(2 * len(listed))]
    assert [KEYS[action] for action in chosen] == 2 * actions if game == "nethack" else chosen == 2 * actions
    path.write_text(json.dumps([0]))
    other = find(registry.find(game), str(path))
    assert other != expert
    path.write_text(json.dumps([1]))
    with pytest.raises(UserError, match="changed while it played"):
        other.player(6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is no list of actions in JSON"),
        ("[]", r'give a list of actions, such as \["NOOP", 1\]'),
        ('{"a": 1}', "give a list of actions"),
        ('["JUMP"]', "no action 'JUMP': give one of NOOP, FIRE, RIGHT, LEFT, ... or an index below 4"),
        ("[4]", "no action 4"),
        ("[true]", "no action True"),
    ],
)
def test_what_is_no_sequence_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "moves.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        find(registry.find("Breakout"), str(path))
    with pytest.raises(UserError, match=r"absent.json is no list of actions"):
        find(registry.find("Breakout"), str(tmp_path / "absent.json"))
