"""NetHack: the entry of the registry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from data.codec.base import Codec
from data.codec.screens import SCREENS
from data.common.cli import UserError
from data.games.base import Content
from data.spec import Field

NAME, CHARACTER = "nethack", "mon-hum-neu-mal"
"""The game, and the character that is played unless told otherwise."""

SCREENS_ALONE = Content(NAME, SCREENS, ())
"""What a store of recordings without key presses holds."""


@dataclass(frozen=True)
class NetHackGame:
    """See `data.games.base.Game`."""

    name = family = NAME
    title = "NetHack"
    embedded = "data.experts.nethack.player:NetHackExpert"
    policies = None

    def content(self, actions: int | None = None) -> Content:
        """Terminal screens, with NLE's full action list; with 0 actions, screens alone."""
        known = SCREENS_ALONE if actions == 0 else content()
        if actions not in (None, len(known.actions)):
            raise UserError(f"NetHack has {len(content().actions)} actions, not {actions}")
        return known

    def codec(self, observation: Mapping[str, Field]) -> Codec:
        """Cells that changed since the screen before."""
        return SCREENS

    def action_names(self, actions: Sequence[int | str]) -> list[str]:
        """The key press and NLE's name: `^D (KICK)`."""
        from data.games.keys import names

        return names() if actions else []


def find(name: str) -> NetHackGame | None:
    """The game, if the name is its."""
    return NetHackGame() if name == NAME else None


@cache
def content() -> Content:
    """What a store of NetHack holds."""
    from data.games.keys import KEYS

    return Content(NAME, SCREENS, KEYS)
