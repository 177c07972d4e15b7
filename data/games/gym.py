"""Any Gymnasium environment with discrete actions and observations of fixed shape: entries of the registry."""

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
"""A step's action is a byte, and 255 is none."""
BOX = "observation"
"""Name of the one field of a `Box` observation space."""
EMBEDDED = {"CartPole-v1": "data.experts.cartpole:CartPoleExpert"}
"""Scripted experts by environment."""


@dataclass(frozen=True)
class GymGame:
    """See `data.games.base.Game`."""

    name: str

    family = "gym"
    policies = None

    @property
    def env_id(self) -> str:
        """As Gymnasium registers it, `module:` in front where a module registers it: `CartPole-v1`."""
        return self.name.removeprefix(PREFIX)

    @property
    def title(self) -> str:
        """The environment's id."""
        return self.env_id

    @property
    def embedded(self) -> str | None:
        """The scripted expert, which few environments have."""
        return EMBEDDED.get(self.env_id)

    def content(self, actions: int | None = None) -> Content:
        """The fields of the observation space, and the numbers of the action space."""
        found = content(self.name)
        if actions not in (None, len(found.actions)):
            raise UserError(
                f"{self.env_id} has {len(found.actions)} actions, not {actions}: is it another environment?"
            )
        return found

    def codec(self, observation: Mapping[str, Field]) -> GenericCodec:
        """Bytes that changed."""
        return GenericCodec(observation)

    def action_names(self, actions: Sequence[int | str]) -> list[str]:
        """Their numbers."""
        return [str(action) for action in actions]


def find(name: str) -> GymGame | None:
    """The environment of that name, `gym/` in front; it is only looked for when its content is asked for."""
    return GymGame(name) if name.startswith(PREFIX) and name != PREFIX else None


def make(name: str) -> Any:
    """The environment of a game's name.

    Raises:
        UserError: Gymnasium has no such environment, or what it needs is not installed.
    """
    import gymnasium

    env_id = name.removeprefix(PREFIX)
    try:
        return gymnasium.make(env_id)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise UserError(f"can't make the Gymnasium environment {env_id!r}: {' '.join(str(error).split())}") from error


@cache
def content(name: str) -> Content:
    """What a store of this environment holds.

    Raises:
        UserError: There is no such environment, or its spaces are of other kinds.
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
    """The fields of a `Box` or a `Dict` of `Box` observation space; `name` is for messages.

    Raises:
        UserError: The space is of another kind, or too large.
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
    """An observation as the environment returns it, by field."""
    return observation if isinstance(observation, dict) else {BOX: observation}


def whole(score: float) -> int:
    """A score as the store keeps it for each timestep: itself if it is a whole number that fits, else NO_SCORE."""
    return int(score) if score == int(score) and abs(score) < -NO_SCORE else NO_SCORE
