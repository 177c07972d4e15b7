"""Registry of games and game families.

A game family is a set of modules named after it, one in each package with code specific to the family:
`data.games.NAME` (which defines its games), `data.collect.NAME`, `data.view.NAME`, `agents.NAME`, `eval.play.NAME` and
`laws.study.NAME`. To add a family, write these modules and add its name to `FAMILIES`.
"""

import importlib
from typing import Any

from data.common.cli import UserError
from data.games.base import Game

FAMILIES = ("nethack", "gym", "atari")
"""Game families in lookup order. Atari comes last because it accepts any name."""


def module(package: str, family: str) -> Any:
    """Import the module of a family in a package, for example `atari` in `eval.play`."""
    return importlib.import_module(f"{package}.{family}")


def find(name: str) -> Game:
    """Return the game of this name. Whether it can be played is checked only by `Game.content`.

    Raises:
        UserError: No family has a game of that name.
    """
    for family in FAMILIES:
        game = module("data.games", family).find(name)
        if game is not None:
            return game
    raise UserError(f"unknown game {name!r}: give nethack, an Atari game such as Breakout, or gym/ENV")
