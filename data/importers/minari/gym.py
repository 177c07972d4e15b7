"""Episodes of Gymnasium environments in Minari datasets."""

from typing import Any

import numpy as np

from data.codec.generic import GenericCodec, GenericSteps, packed
from data.common.cli import UserError
from data.games.base import Content, Game
from data.games.gym import MAX_ACTIONS, by_field, fields_of, whole
from data.importers.base import DAMAGED, Unusable
from data.importers.minari.environment import environment_of


def content(game: Game, storage: Any) -> Content:
    """The fields and the actions of the dataset's own spaces, so that its environment need not be installed.

    Raises:
        UserError: The dataset is of another environment, or its spaces can't be stored.
    """
    env_id = environment_of(storage.metadata).id
    if env_id not in (None, game.title):
        raise UserError(f"the dataset is of {env_id}, not {game.title}: give --game gym/{env_id}")
    space = storage.action_space
    if space.n > MAX_ACTIONS:
        raise UserError(f"{game.name} has {space.n} actions: at most {MAX_ACTIONS} can be stored")
    codec = GenericCodec(fields_of(storage.observation_space, game.name))
    return Content(game.name, codec, tuple(range(int(space.start), int(space.start + space.n))))


def facts_of(storage: Any) -> tuple[dict[str, Any], list[str]]:
    """The environment, for the manifest, and its wrappers, which the environment that agents play has not."""
    environment = environment_of(storage.metadata)
    wrappers = [name for name, _ in environment.wrappers]
    facts = {"environment": environment.id or "unknown"} | ({"wrappers": wrappers} if wrappers else {})
    return facts, [f"wrapper {name} (ours: none)" for name in wrappers]


def steps_of(storage: Any, observations: Any, action_S: np.ndarray, rewards: np.ndarray) -> GenericSteps:
    """Convert an episode.

    Raises:
        Unusable: Its observations are not of the dataset's observation space.
    """
    fields = fields_of(storage.observation_space, "the dataset")
    try:
        columns = {name: np.asarray(array)[: len(action_S)] for name, array in by_field(observations).items()}
        bytes_SxW = packed(fields, columns)
    except (KeyError, ValueError, TypeError) as error:
        raise Unusable(DAMAGED, f"observations that are not of its observation space ({error})") from error
    scores = np.array([whole(score) for score in np.cumsum(rewards) - rewards], np.int32)
    return GenericSteps(bytes_SxW, action_S, scores)
