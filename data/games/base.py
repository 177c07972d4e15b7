"""The protocol that games implement, and that of the policies which play them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from data.codec.base import Codec
from data.spec import Field


@dataclass(frozen=True)
class Content:
    """What the episodes of a store contain."""

    game: str
    """Name of the game, as in result rows: `nethack`, `Breakout`, `gym/CartPole-v1`."""
    codec: Codec
    actions: tuple[int | str, ...]
    """The action table: NetHack's key presses, or names of actions. Empty if actions were not recorded."""


class Player(Protocol):
    """A policy for one episode, determined by its seed and the observations. Every episode gets a new instance."""

    def act(self, observation: Any, /) -> int:
        """Select the action for the observation of one timestep.

        Args:
            observation: NetHack: dict of `chars` and `colors`, uint8 [24, 80], and `cursor`, uint8 [2]. Atari: frame
                stack, uint8 [84, 84, 4], newest frame last. Gymnasium: the environment's observation.

        Returns:
            Index into the action table.
        """
        ...


class Game(Protocol):
    """A game, looked up by name in `data.games.registry`. Other code does not depend on which game it is."""

    @property
    def name(self) -> str:
        """Name in result rows and manifests: `nethack`, `Breakout`, `gym/CartPole-v1`."""
        ...

    @property
    def family(self) -> str:
        """`nethack`, `atari` or `gym`: the name of the family's modules in `data.collect`, `eval.play` and so on."""
        ...

    @property
    def title(self) -> str:
        """Name in reports: NetHack, Breakout."""
        ...

    @property
    def embedded(self) -> str | None:
        """The built-in scripted expert, as `module:factory`, called with a seed; None if there is none."""
        ...

    @property
    def policies(self) -> str | None:
        """Module that loads trained policies, with `load(path, game)` and `players(policy)`; None if not supported."""
        ...

    def content(self, actions: int | None = None) -> Content:
        """Return the content of a store of this game.

        Args:
            actions: Length of the action table, for games with several; None selects the default one.

        Raises:
            UserError: There is no such game, or it has no action table of this length.
        """
        ...

    def codec(self, observation: Mapping[str, Field]) -> Codec:
        """Return the codec of a store whose manifest has this observation spec."""
        ...

    def action_names(self, actions: Sequence[int | str]) -> list[str]:
        """Return a readable name for each entry of an action table."""
        ...
