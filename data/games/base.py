"""What a game is to the rest of the program: the protocol that each family of games implements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from data.codec.base import Codec
from data.spec import Field


@dataclass(frozen=True)
class Content:
    """What the episodes of a store are of."""

    game: str
    """Name of the game, as in result rows: `nethack`, `Breakout`, `gym/CartPole-v1`."""
    codec: Codec
    actions: tuple[int | str, ...]
    """The action table: NetHack's key presses, or names of actions; empty if none were recorded."""


class Player(Protocol):
    """A policy that plays one episode: a new instance for every episode, a function of its seed and of what it sees."""

    def act(self, observation: Any, /) -> int:
        """The action, an index into the action table, for the observation of one timestep.

        NetHack: a dict of `chars` and `colors`, uint8 [24, 80], and `cursor`, uint8 [2]. Atari: the frame stack, uint8
        [84, 84, 4], the newest frame last. Gymnasium: what the environment returns.
        """
        ...


class Game(Protocol):
    """One game. Found by name in `data.games.registry`; nothing else asks which game it is."""

    @property
    def name(self) -> str:
        """As in result rows and manifests: `nethack`, `Breakout`, `gym/CartPole-v1`."""
        ...

    @property
    def family(self) -> str:
        """`nethack`, `atari` or `gym`: the module of this name in `data.collect`, `eval.play` and so on is its own."""
        ...

    @property
    def title(self) -> str:
        """As people write it: NetHack, Breakout."""
        ...

    @property
    def embedded(self) -> str | None:
        """The scripted expert that comes with the program, as `module:function` of a seed; None if there is none."""
        ...

    @property
    def policies(self) -> str | None:
        """Module that reads trained policies: `load(path, game)` and `players(policy)`; None if there is none."""
        ...

    def content(self, actions: int | None = None) -> Content:
        """What a store of this game holds.

        Args:
            actions: Length of the action table where a game has several; default its usual one.

        Raises:
            UserError: There is no such game, or it has no table of so many actions.
        """
        ...

    def codec(self, observation: Mapping[str, Field]) -> Codec:
        """The codec of a store whose manifest has this observation spec."""
        ...

    def action_names(self, actions: Sequence[int | str]) -> list[str]:
        """What a person reads for each entry of an action table."""
        ...
