"""Registry entry of NetHack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from data.codec.base import Codec
from data.codec.screens import SCREENS
from data.common.cli import UserError
from data.games.base import Content
from data.spec import Field

NAME = "nethack"

SCREENS_ALONE = Content(NAME, SCREENS, ())
"""Content of a store of recordings without key presses."""


@dataclass(frozen=True)
class NetHackGame:
    """NetHack. Implements `data.games.base.Game`."""

    name = family = NAME
    title = "NetHack"
    embedded = "data.experts.nethack.player:NetHackExpert"
    policies = None

    def content(self, actions: int | None = None) -> Content:
        """Return terminal screens with NLE's full action list, or without actions if `actions` is 0."""
        known = SCREENS_ALONE if actions == 0 else content()
        if actions not in (None, len(known.actions)):
            raise UserError(f"NetHack has {len(content().actions)} actions, not {actions}")
        return known

    def codec(self, observation: Mapping[str, Field]) -> Codec:
        """Return the codec of screens, which stores the cells that differ from the previous screen."""
        return SCREENS

    def action_names(self, actions: Sequence[int | str]) -> list[str]:
        """Return the key press and NLE's name of each action: `^D (KICK)`."""
        from data.games.keys import names

        return names() if actions else []


def find(name: str) -> NetHackGame | None:
    """Return the game if this is its name."""
    return NetHackGame() if name == NAME else None


@cache
def content() -> Content:
    """Return the content of a NetHack store with key presses."""
    from data.games.keys import KEYS

    return Content(NAME, SCREENS, KEYS)
