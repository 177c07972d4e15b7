"""What a game is to the rest of the program."""

from dataclasses import dataclass

from data.codec.base import Codec


@dataclass(frozen=True)
class Content:
    """What the episodes of a store are of."""

    game: str
    """As in result rows: `nethack`, `Breakout`."""
    codec: Codec
    actions: tuple[int | str, ...]
    """The action table: NetHack's key presses, the names of an Atari game's actions; empty if none were recorded."""
