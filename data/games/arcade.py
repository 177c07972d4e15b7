"""ALE's vector environment with the paper's settings, used by experts and agents alike.

Frame skip 4, sticky actions with probability 0.25, grayscale 84x84 frames max-pooled over the last two frames, a stack
of four frames, up to 30 no-ops and FIRE (if available) on reset, no termination on loss of life, unclipped rewards,
minimal action sets, truncation after 108,000 frames. ALE's own defaults differ: no sticky actions, clipped rewards.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from data.games import atari
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK


@dataclass(frozen=True)
class Setting:
    """How a game is emulated. The defaults are the paper's."""

    sticky: float = 0.25
    """Probability at every frame of repeating the previous action (Machado et al. 2018)."""
    frame_skip: int = 4
    """Frames of a step, with the same action; the observation is the pixelwise maximum of the last two."""
    no_ops: int = 30
    """Most frames without an action at the start of a game, whose number depends on its seed."""
    fire: bool = True
    """Whether FIRE is pressed after that, in games that have it."""
    max_frames: int = 108_000
    """Frames after which a game is truncated."""
    life_by_life: bool = False
    """Whether each life begins like a game, as by Stable-Baselines3 (`eval.play.atari.LifeByLife`)."""

    def __str__(self) -> str:
        lives = "a start for each life" if self.life_by_life else "full games"
        return f"sticky actions {self.sticky:g}, frame skip {self.frame_skip}, {lives}, rewards as they are"


SETTINGS = {
    "paper": Setting(),
    "sb3": Setting(sticky=0.0, fire=False, life_by_life=True),
    "machado": Setting(frame_skip=5, no_ops=0, fire=False, max_frames=18_000),
}
"""Settings by name: the paper's (Tuyls et al.); Stable-Baselines3's `NoFrameskip-v4` environments with its
`AtariWrapper`; and those that Machado et al. (2018) recommend, with games of at most five minutes."""

PAPER = SETTINGS["paper"]
_PREPROCESSING: dict[str, Any] = {
    "stack_num": STACK,
    "img_height": FRAME_ROWS,
    "img_width": FRAME_COLUMNS,
    "grayscale": True,
    "maxpool": True,
    "episodic_life": False,
    "reward_clipping": False,
    "autoreset_mode": "SameStep",
}


class Arcade:
    """A vector environment of one Atari game. An episode is determined by its seed and the actions."""

    def __init__(
        self, game: str, lanes: int = 1, threads: int = 1, actions: int | None = None, setting: Setting = PAPER
    ) -> None:
        """Create the environment.

        Args:
            game: Name of the game, a key of `data.games.atari.games`.
            lanes: L, number of games played in parallel.
            threads: Number of threads that step the games.
            actions: Size of the action set, the game's minimal one or ALE's full one; None selects the minimal one.
            setting: How the game is emulated.

        Raises:
            UserError: ALE has no such game, or the game has no action set of that size.
        """
        from ale_py.vector_env import AtariVectorEnv

        self.actions = atari.content(game, actions).actions
        self._env = AtariVectorEnv(
            atari.games()[game],
            lanes,
            num_threads=threads,
            frameskip=setting.frame_skip,
            noop_max=setting.no_ops,
            use_fire_reset=setting.fire,
            repeat_action_probability=setting.sticky,
            max_num_frames_per_episode=setting.max_frames,
            full_action_space=self.actions != atari.content(game).actions,
            **_PREPROCESSING,
        )
        self._strength = np.ones(lanes, np.float32)

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
        self.send(actions)
        return self.receive()

    def send(self, actions: np.ndarray) -> None:
        """Begin a step, without waiting for it; `receive` completes it. See `step`.

        Raises:
            ValueError: An action is out of range, for which ALE would wait without end.
        """
        actions = np.asarray(actions, np.int64)
        if (actions.view(np.uint64) >= len(self.actions)).any():
            raise ValueError(f"actions {actions.min()} to {actions.max()}: there are {len(self.actions)}")
        # Not by `AtariVectorEnv.send`, whose checks and array of strengths take as long as the rest.
        self._env.ale.send(actions, self._strength)

    def receive(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wait for the step that `send` began; results as of `step`."""
        stacks, rewards, ended, self.truncated, infos = self._env.recv()
        self.lives = infos["lives"]
        return stacks.transpose(0, 2, 3, 1), np.asarray(rewards, np.float64), ended | self.truncated
