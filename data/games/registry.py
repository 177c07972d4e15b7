"""The one registry of games.

A family of games has a module of its own name in each package that treats it apart: `data.games.NAME` (its entry
here), `data.collect.NAME`, `data.view.NAME`, `agents.NAME`, `eval.play.NAME` and `laws.study.NAME`. To add a family,
write these and add its name to `FAMILIES`.
"""

import importlib
from typing import Any

from data.common.cli import UserError
from data.games.base import Game

FAMILIES = ("nethack", "gym", "atari")
"""In the order in which they are asked whether a name is theirs; Atari's names have no prefix and come last."""


def module(package: str, family: str) -> Any:
    """The module of a family in a package, for example `eval.play` and `atari`; imported when asked for."""
    return importlib.import_module(f"{package}.{family}")


def find(name: str) -> Game:
    """The game of that name; whether it can be played is only found out by `Game.content`.

    Raises:
        UserError: No family has a game of that name.
    """
    for family in FAMILIES:
        game = module("data.games", family).find(name)
        if game is not None:
            return game
    raise UserError(f"unknown game {name!r}: give nethack, an Atari game such as Breakout, or gym/ENV")
