"""ALE's vector environment with the paper's settings, used by experts and agents alike.

Frame skip 4, sticky actions with probability 0.25, grayscale 84x84 frames max-pooled over the last two frames, a stack
of four frames, up to 30 no-ops and FIRE (if available) on reset, no termination on loss of life, unclipped rewards,
minimal action sets, truncation after 108,000 frames. ALE's own defaults differ: no sticky actions, clipped rewards.
"""

from typing import Any

import numpy as np

from data.games import atari
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK

STICKY = 0.25
"""Probability at every frame of repeating the previous action (Machado et al. 2018)."""
FRAME_SKIP, NO_OPS, MAX_FRAMES = 4, 30, 108_000

SETTING = f"sticky actions {STICKY:g}, frame skip {FRAME_SKIP}, full games, rewards as they are"
"""Description of these settings, part of an evaluation's protocol."""

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
    "max_num_frames_per_episode": MAX_FRAMES,
    "autoreset_mode": "SameStep",
}


class Arcade:
    """A vector environment of one Atari game. An episode is determined by its seed and the actions."""

    def __init__(self, game: str, lanes: int = 1, threads: int = 1, actions: int | None = None) -> None:
        """Create the environment.

        Args:
            game: Name of the game, a key of `data.games.atari.games`.
            lanes: L, number of games played in parallel.
            threads: Number of threads that step the games.
            actions: Size of the action set, the game's minimal one or ALE's full one; None selects the minimal one.

        Raises:
            UserError: ALE has no such game, or the game has no action set of that size.
        """
        from ale_py.vector_env import AtariVectorEnv

        self.actions = atari.content(game, actions).actions
        protocol: dict[str, Any] = PROTOCOL | {"full_action_space": self.actions != atari.content(game).actions}
        self._env = AtariVectorEnv(atari.games()[game], lanes, num_threads=threads, **protocol)

    def reset(self, seeds: np.ndarray, lane_L: np.ndarray | None = None) -> np.ndarray:
        """Start new games.

        Args:
            seeds: Integers below 2^31, one for each lane to reset.
            lane_L: bool [L], the lanes to reset; None resets all.

        Returns:
            The frame stacks of all lanes, uint8 [L, 84, 84, 4], newest frame last.
        """
        options = None if lane_L is None else {"reset_mask": lane_L}
        stacks, infos = self._env.reset(seed=np.asarray(seeds, np.int64), options=options)
        self.lives = infos["lives"]
        return np.moveaxis(stacks, 1, -1)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step every lane.

        A lane whose game ended is reset automatically in the same step, and its stack is the first of the new game.
        Also sets `truncated`, bool [L], whether the frame limit ended the game, and `lives`, int32 [L].

        Args:
            actions: int [L], indices into the action set.

        Returns:
            Frame stacks uint8 [L, 84, 84, 4], rewards float64 [L], and bool [L] whether the game ended (terminated or
            truncated).
        """
        stacks, rewards, ended, self.truncated, infos = self._env.step(np.asarray(actions, np.int64))
        self.lives = infos["lives"]
        return np.moveaxis(stacks, 1, -1), np.asarray(rewards, np.float64), ended | self.truncated
