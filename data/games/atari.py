"""Atari games: the entries of the registry."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from data.codec.base import Codec
from data.codec.frames import FRAMES
from data.common.cli import UserError
from data.games.base import Content
from data.spec import Field

EMBEDDED = {"Breakout": "data.experts.breakout:BreakoutExpert"}
"""Scripted experts by game."""


@dataclass(frozen=True)
class AtariGame:
    """See `data.games.base.Game`."""

    name: str

    family = "atari"
    policies = "data.experts.trained.policies"

    @property
    def title(self) -> str:
        """Its name."""
        return self.name

    @property
    def embedded(self) -> str | None:
        """The scripted expert, which few games have."""
        return EMBEDDED.get(self.name)

    def content(self, actions: int | None = None) -> Content:
        """Frames, with the game's minimal action set, or ALE's full one if that has as many `actions`."""
        return content(self.name, actions)

    def codec(self, observation: Mapping[str, Field]) -> Codec:
        """Pixels that changed since the frame before."""
        return FRAMES

    def action_names(self, actions: Sequence[int | str]) -> list[str]:
        """ALE's names."""
        return [str(action) for action in actions]


def find(name: str) -> AtariGame:
    """The game of that name, which is only looked for when its content is asked for."""
    return AtariGame(name)


@cache
def games() -> dict[str, str]:
    """ALE's games: name as in result rows (`BankHeist`) to the name of its ROM (`bank_heist`)."""
    from ale_py import roms

    return {"".join(word.capitalize() for word in rom.split("_")): rom for rom in roms.get_all_rom_ids()}


@cache
def content(game: str, actions: int | None = None) -> Content:
    """What a store of this game holds: its minimal action set, or the full one if that has as many `actions`.

    Raises:
        UserError: ALE has no such game, or the game no action set of that size.
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
