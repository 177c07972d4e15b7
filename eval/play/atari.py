"""Evaluation in Atari games."""

from typing import Any

import numpy as np

from data.games.arcade import SETTING, Arcade
from eval.play.lanes import LanePlay


def _batch(stacks_Lx84x84x4: np.ndarray) -> dict[str, Any]:
    """Convert frame stacks to the agent's observation of one timestep.

    Returns:
        `frames` uint8 [L, 4, 84, 84], and `oldest` int32 [L, 1], the index of the oldest frame of each stack.
    """
    frames = np.ascontiguousarray(np.moveaxis(stacks_Lx84x84x4, -1, 1))
    return {"frames": frames, "oldest": np.zeros((len(frames), 1), np.int32)}


PLAY = LanePlay(Arcade, environment=lambda game: f"ALE {game}, {SETTING}", batch=_batch, each=list)
