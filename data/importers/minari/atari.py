"""Atari episodes of Minari datasets.

Observations may be stacks (84x84x4 or 4x84x84), single frames (84x84), or full screens (210x160x3, or 210x160), which
are converted to greyscale and downsampled.
"""

from typing import Any

import numpy as np

from data.common.cli import UserError
from data.games.atari import games
from data.games.base import Content, Game
from data.importers import stacks
from data.importers.base import DAMAGED, Unusable
from data.importers.minari.environment import atari_game, check_actions, differences, environment_of, setting_of
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK, AtariSteps


def content(game: Game, storage: Any) -> Content:
    """The game's action set that has as many actions as the dataset.

    Raises:
        UserError: It has none, the dataset is of another game, or its actions are not ALE's.
    """
    environment, count = environment_of(storage.metadata), int(storage.action_space.n)
    recorded = atari_game(environment, storage.metadata.get("dataset_id"))
    if recorded not in (None, game.name):
        named = recorded if recorded in games() else f"gym/{environment.id}"
        raise UserError(f"the dataset is of {recorded}, not {game.name}: give --game {named}")
    check_actions(environment, game.name, count)
    return game.content(count)


def facts_of(storage: Any) -> tuple[dict[str, Any], list[str]]:
    """How the game was emulated, for the manifest, and what of that differs from the environment that agents play."""
    facts = setting_of(environment_of(storage.metadata))
    return facts, differences(facts)


def steps_of(storage: Any, observations: Any, action_S: np.ndarray, rewards: np.ndarray) -> AtariSteps:
    """Convert an episode.

    Raises:
        Unusable: Its observations are of another shape, its rewards are not integers, or its stacks do not follow one
            another.
    """
    observations = np.asarray(observations)
    if not (rewards == np.rint(rewards)).all() or np.abs(rewards).sum() >= 2**31:
        raise Unusable(DAMAGED, "rewards that are not integers")
    if observations.ndim < 3:
        raise Unusable(DAMAGED, f"observations of {observations.shape}")
    scores = np.cumsum(rewards) - rewards
    steps = AtariSteps(as_stacks(observations[: len(action_S)]), action_S, scores.astype(np.int32))
    [checked] = stacks.check_consecutive([steps])
    return checked


def as_stacks(observations: np.ndarray) -> np.ndarray:
    """Convert observations of any supported shape to stacks, uint8 [S, 84, 84, 4]."""
    shape = observations.shape[1:]
    if observations.dtype != np.uint8:
        raise Unusable(DAMAGED, f"observations of {observations.dtype}")
    if shape == (FRAME_ROWS, FRAME_COLUMNS, STACK):
        return observations
    if shape == (STACK, FRAME_ROWS, FRAME_COLUMNS):
        return np.moveaxis(observations, 1, -1)
    if shape[:2] == (FRAME_ROWS, FRAME_COLUMNS) and shape[2:] in ((), (1,)):
        return stacks.stacked(observations.reshape(-1, FRAME_ROWS, FRAME_COLUMNS))
    if shape in ((210, 160, 3), (210, 160)):
        return stacks.stacked(stacks.downsampled(observations))
    raise Unusable(DAMAGED, f"observations of {shape}: neither 84x84 frames nor 210x160 screens")
