"""Atari games by name, with their action sets."""

import difflib
from functools import cache

from data.codec.frames import FRAMES
from data.common.cli import UserError
from data.games.base import Content


@cache
def games() -> dict[str, str]:
    """ALE's games: name as in result rows (`BankHeist`) to the name of its ROM (`bank_heist`)."""
    from ale_py import roms

    return {"".join(word.capitalize() for word in rom.split("_")): rom for rom in roms.get_all_rom_ids()}


@cache
def content(game: str, actions: int | None = None) -> Content:
    """What a store of this game holds: its minimal action set, or the full one if that has as many `actions`."""
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
