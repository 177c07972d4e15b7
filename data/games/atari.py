"""Registry entries of Atari games."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from data.codec.base import Codec
from data.codec.frames import FRAMES
from data.common.cli import UserError
from data.games.base import Content
from data.spec import Field

_ENV_ID = re.compile(r"(?:ALE/)?([A-Za-z0-9]+?)(?:-ram)?(?:NoFrameskip|Deterministic)?-v[0-9]+")
EMBEDDED = {"Breakout": "data.experts.breakout:BreakoutExpert"}
"""Scripted experts by game."""


@dataclass(frozen=True)
class AtariGame:
    """An Atari game. Implements `data.games.base.Game`."""

    name: str

    family = "atari"
    policies = "data.experts.trained.policies"

    @property
    def title(self) -> str:
        """The game's name."""
        return self.name

    @property
    def embedded(self) -> str | None:
        """The game's scripted expert; None for most games."""
        return EMBEDDED.get(self.name)

    def content(self, actions: int | None = None) -> Content:
        """Return frames with the game's minimal action set, or ALE's full one if `actions` is its size."""
        return content(self.name, actions)

    def codec(self, observation: Mapping[str, Field]) -> Codec:
        """Return the codec of frames, which stores the pixels that differ from the previous frame."""
        return FRAMES

    def action_names(self, actions: Sequence[int | str]) -> list[str]:
        """Return ALE's names of the actions."""
        return [str(action) for action in actions]


def find(name: str) -> AtariGame:
    """Return the game of this name. Whether ALE has it is checked only by `content`."""
    return AtariGame(name)


@cache
def games() -> dict[str, str]:
    """Return ALE's games: a dict from the name in result rows (`BankHeist`) to that of the ROM (`bank_heist`)."""
    from ale_py import roms

    return {"".join(word.capitalize() for word in rom.split("_")): rom for rom in roms.get_all_rom_ids()}


def game_of(env_id: str) -> str | None:
    """Return the game that Gym's or Gymnasium's name of an environment has in it; None if it has none."""
    found = _ENV_ID.fullmatch(env_id)
    return found[1] if found else None


@cache
def content(game: str, actions: int | None = None) -> Content:
    """Return the content of a store of this game.

    Args:
        game: Name of the game, a key of `games()`.
        actions: Size of the action set, the game's minimal one or ALE's full one; None selects the minimal one.

    Raises:
        UserError: ALE has no such game, or the game has no action set of that size.
    """
    from ale_py import ALEInterface, LoggerMode, roms

    if game not in games():
        near = difflib.get_close_matches(game, games(), 3, 0.3)
        raise UserError(f"unknown Atari game {game!r}: did you mean {', '.join(near) or 'Breakout'}?")
    ALEInterface.setLoggerMode(LoggerMode.Error)
    ale = ALEInterface()
    ale.loadROM(str(roms.get_rom_path(games()[game])))
    sets = [tuple(action.name for action in legal) for legal in (ale.getMinimalActionSet(), ale.getLegalActionSet())]
    for names in sets:
        if actions in (None, len(names)):
            return Content(game, FRAMES, names)
    raise UserError(f"{game} has {len(sets[0])} actions, or {len(sets[1])} in all, not {actions}: is it another game?")
