"""Atari games played here: ALE's own vector environment, set as the paper plays, for experts and agents alike.

Frame skip 4, sticky actions 0.25, grey 84x84 with the last two frames' maximum, four frames stacked, up to 30 no-ops
and FIRE (where there is one) at a reset, full games without an end at a lost life, rewards as they are, minimal action
sets, at most 108,000 frames. ALE's constructor has other defaults: no sticky actions, rewards clipped to their sign.
"""

from typing import Any

import numpy as np

from data.games import atari
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK

STICKY = 0.25
"""Chance at every frame that the key before is pressed again (Machado et al. 2018)."""
FRAME_SKIP, NO_OPS, MOST_FRAMES = 4, 30, 108_000

SETTING = f"sticky actions {STICKY:g}, frame skip {FRAME_SKIP}, full games, rewards as they are"
"""The protocol in words."""

PROTOCOL: dict[str, Any] = {
    "frameskip": FRAME_SKIP,
    "stack_num": STACK,
    "img_height": FRAME_ROWS,
    "img_width": FRAME_COLUMNS,
    "grayscale": True,
    "maxpool": True,
    "noop_max": NO_OPS,
    "use_fire_reset": True,
    "episodic_life": False,
    "reward_clipping": False,
    "repeat_action_probability": STICKY,
    "full_action_space": False,
    "max_num_frames_per_episode": MOST_FRAMES,
    "autoreset_mode": "SameStep",
}


class Arcade:
    """One game on every lane. A game is a function of its seed and of the keys pressed."""

    def __init__(self, game: str, lanes: int = 1, threads: int = 1, actions: int | None = None) -> None:
        """`game` is a name of `data.games.atari.games`; `UserError` for one that ALE does not have.

        The action set is the game's minimal one, or the full one if that has as many `actions`.
        """
        from ale_py.vector_env import AtariVectorEnv

        self.actions = atari.content(game, actions).actions
        protocol: dict[str, Any] = PROTOCOL | {"full_action_space": self.actions != atari.content(game).actions}
        self._env = AtariVectorEnv(atari.games()[game], lanes, num_threads=threads, **protocol)

    def reset(self, seeds: np.ndarray, lane_L: np.ndarray | None = None) -> np.ndarray:
        """Begin games of these seeds, int below 2^31, one for each lane: the stacks of all, uint8 [lanes, 84, 84, 4].

        With `lane_L`, bool, only on the lanes where it is true.
        """
        options = None if lane_L is None else {"reset_mask": lane_L}
        stacks, told = self._env.reset(seed=np.asarray(seeds, np.int64), options=options)
        self.lives = told["lives"]
        return np.moveaxis(stacks, 1, -1)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take an action on each lane, indices into `actions`: the stacks then, the rewards, and which games ended.

        Where a game ended, its stack is that of a new game, of a seed that goes on from the old one. `truncated`,
        bool [lanes], then tells which were ended by the limit on frames, and `lives`, int32 [lanes], how many are left.
        """
        stacks, rewards, ended, self.truncated, told = self._env.step(np.asarray(actions, np.int64))
        self.lives = told["lives"]
        return np.moveaxis(stacks, 1, -1), np.asarray(rewards, np.float64), ended | self.truncated
