"""Registry entries of Gymnasium environments with Discrete actions and Box or Dict-of-Box observations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from data.codec.generic import MAX_BYTES, GenericCodec, size_of
from data.common.cli import UserError
from data.games.base import Content
from data.spec import NO_SCORE, Field

PREFIX = "gym/"
MAX_ACTIONS = 255
"""Actions are stored as uint8, where 255 means no action."""
BOX = "observation"
"""Name of the field that holds a plain `Box` observation."""
EMBEDDED = {"CartPole-v1": "data.experts.cartpole:CartPoleExpert"}
"""Scripted experts by environment."""


@dataclass(frozen=True)
class GymGame:
    """A Gymnasium environment. Implements `data.games.base.Game`."""

    name: str

    family = "gym"
    policies = None

    @property
    def env_id(self) -> str:
        """Id in Gymnasium's registry: `CartPole-v1`, or `module:ENV` if importing a module registers it."""
        return self.name.removeprefix(PREFIX)

    @property
    def title(self) -> str:
        """The environment's id."""
        return self.env_id

    @property
    def embedded(self) -> str | None:
        """The environment's scripted expert; None for most environments."""
        return EMBEDDED.get(self.env_id)

    def content(self, actions: int | None = None) -> Content:
        """Return the fields of the observation space and the values of the action space."""
        found = content(self.name)
        if actions not in (None, len(found.actions)):
            raise UserError(
                f"{self.env_id} has {len(found.actions)} actions, not {actions}: is it another environment?"
            )
        return found

    def codec(self, observation: Mapping[str, Field]) -> GenericCodec:
        """Return the codec of these fields, which stores the bytes that differ from the previous timestep."""
        return GenericCodec(observation)

    def action_names(self, actions: Sequence[int | str]) -> list[str]:
        """Return the actions as strings."""
        return [str(action) for action in actions]


def find(name: str) -> GymGame | None:
    """Return the environment of a name with prefix `gym/`. Whether it exists is checked only by `content`."""
    return GymGame(name) if name.startswith(PREFIX) and name != PREFIX else None


def make(name: str) -> Any:
    """Create the Gymnasium environment of a game.

    Args:
        name: Name of the game, with or without the prefix `gym/`.

    Raises:
        UserError: Gymnasium has no such environment, or its dependencies are not installed.
    """
    import gymnasium

    env_id = name.removeprefix(PREFIX)
    try:
        return gymnasium.make(env_id)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise UserError(f"can't make the Gymnasium environment {env_id!r}: {' '.join(str(error).split())}") from error


@cache
def content(name: str) -> Content:
    """Return the content of a store of this environment.

    Raises:
        UserError: There is no such environment, or its spaces are not supported.
    """
    from gymnasium.spaces import Discrete

    env = make(name)
    fields, space = fields_of(env.observation_space, name), env.action_space
    env.close()
    if not isinstance(space, Discrete):
        raise UserError(f"{name} has actions in {space}: only Discrete action spaces can be imitated")
    if space.n > MAX_ACTIONS:
        raise UserError(f"{name} has {space.n} actions: at most {MAX_ACTIONS} can be stored")
    actions = range(int(space.start), int(space.start + space.n))
    return Content(name, GenericCodec(fields), tuple(actions))


def fields_of(space: Any, name: str) -> dict[str, Field]:
    """Return the fields of an observation space.

    Args:
        space: A `Box` space, or a `Dict` of `Box` spaces.
        name: Name of the game, for error messages.

    Raises:
        UserError: The space is not supported, or an observation is too large.
    """
    from gymnasium.spaces import Box, Dict

    spaces = dict(space.spaces) if isinstance(space, Dict) else {BOX: space}
    for key, each in spaces.items():
        if not isinstance(each, Box) or np.dtype(each.dtype).kind not in "biuf":
            raise UserError(f"{name} observes {key} in {each}: only Box, or a Dict of Box, can be stored")
    fields = {str(key): Field(tuple(each.shape or ()), np.dtype(each.dtype).name) for key, each in spaces.items()}
    if (size := sum(map(size_of, fields.values()))) > MAX_BYTES:
        raise UserError(f"{name} observes {size:,} bytes a timestep: at most {MAX_BYTES:,} can be stored")
    return fields


def by_field(observation: Any) -> dict[str, Any]:
    """Convert an observation of the environment to a dict from field name to value."""
    return observation if isinstance(observation, dict) else {BOX: observation}


def whole(score: float) -> int:
    """Convert a score to the int32 that a store keeps per timestep: NO_SCORE if it is fractional or out of range."""
    return int(score) if score == int(score) and abs(score) < -NO_SCORE else NO_SCORE
