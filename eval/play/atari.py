"""Evaluation in Atari games."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data.games.arcade import SETTINGS, Arcade
from data.spec import FRAME_COLUMNS, FRAME_ROWS, NO_SCORE, STACK, AtariSteps
from eval.play.lanes import Family, LanePlay
from eval.play.options import PlayOptions

NOOP, FIRE, OTHER = 0, 1, 2
"""Indices of the actions that Stable-Baselines3's wrappers take."""


class OneArcade:
    """ALE's vector environment with one game, which a thread of its own steps. Implements `eval.play.lanes.LaneGame`.

    By settings with `life_by_life`, each life begins as in Stable-Baselines3. Its `AtariWrapper` presses nothing for a
    step after a lost life, and after that, or the start of a game, FIRE and the action behind it, if the game has
    FIRE; the stack of frames begins anew with zeros. The rewards of these steps count.
    """

    def __init__(self, game: str, actions: int | None, options: PlayOptions) -> None:
        setting = SETTINGS[options.setting]
        self._arcade, self._life_by_life = Arcade(game, 1, 1, actions, setting), setting.life_by_life
        self._firing = [FIRE, OTHER] if "FIRE" in self._arcade.actions else []
        self.truncated = self.anew = False

    def reset(self, seed: int, /) -> np.ndarray:
        """See `eval.play.lanes.LaneGame`."""
        [stack] = self._arcade.reset(np.array([seed]))
        self._owed = 0.0
        if self._life_by_life:
            stack, self._owed, _ = self._pressed(self._firing, stack)
        self._stack, self._lives = stack, self._arcade.lives[0]
        return stack

    def send(self, action: int, /) -> None:
        """See `eval.play.lanes.LaneGame`."""
        self._arcade.send(np.array([action]))

    def receive(self) -> tuple[np.ndarray, float, bool]:
        """See `eval.play.lanes.LaneGame`."""
        [stack], [reward], [ended] = self._arcade.receive()
        reward, self._owed = float(reward) + self._owed, 0.0
        # As in Stable-Baselines3, the last life goes on for a while in games that count it as 0.
        self.anew = bool(self._life_by_life and 0 < self._arcade.lives[0] < self._lives and not ended)
        if self.anew:
            stack, more, ended = self._pressed([NOOP, *self._firing], stack)
            reward += more
        elif self._life_by_life:
            stack = np.concatenate([self._stack[..., 1:], stack[..., -1:]], axis=-1)
        self._stack = stack
        self.truncated, self._lives = bool(self._arcade.truncated[0]), self._arcade.lives[0]
        return stack, reward, bool(ended)

    def _pressed(self, actions: Sequence[int], stack: np.ndarray) -> tuple[np.ndarray, float, bool]:
        """Take these actions while the game lasts: the new stack, the rewards together, whether it ended."""
        total, ended = 0.0, False
        for action in actions:
            if not ended:
                [stack], [reward], [ended] = self._arcade.step(np.array([action]))
                total += float(reward)
        begun = np.zeros_like(stack)
        begun[..., -1] = stack[..., -1]
        return begun, total, bool(ended)


class Stacks:
    """The frame stacks of a tile, on the device, to which single frames are sent. Implements `eval.play.lanes.Feed`.

    A call gives `frames` uint8 [L, 4, 84, 84], and `oldest` int32 [L, 1], the index of the oldest frame of each stack.
    """

    def __init__(self, lanes: int) -> None:
        self._frames = jnp.zeros((lanes, STACK, FRAME_ROWS, FRAME_COLUMNS), jnp.uint8)
        self._oldest = np.zeros((lanes, 1), np.int32)

    def __call__(self, observations: Sequence[Any], first_L: np.ndarray, /) -> dict[str, Any]:
        """See `eval.play.lanes.Feed`."""
        lanes = [lane for lane, stack in enumerate(observations) if stack is not None]
        newest = np.zeros((len(observations), FRAME_ROWS, FRAME_COLUMNS), np.uint8)
        for lane in lanes:
            newest[lane] = observations[lane][..., -1]
        self._frames = _shifted(self._frames, newest)
        if first_L.any():
            stacks = np.zeros(self._frames.shape, np.uint8)
            for lane in lanes:
                stacks[lane] = np.moveaxis(observations[lane], -1, 0)
            self._frames = _begun(self._frames, stacks, first_L.copy())
        return {"frames": self._frames, "oldest": self._oldest}


@partial(jax.jit, donate_argnums=0)
def _shifted(frames_Lx4x84x84: jax.Array, newest_Lx84x84: jax.Array) -> jax.Array:
    """Stacks with a frame more, without the oldest."""
    return jnp.concatenate([frames_Lx4x84x84[:, 1:], newest_Lx84x84[:, None]], axis=1)


@partial(jax.jit, donate_argnums=0)
def _begun(frames_Lx4x84x84: jax.Array, stacks_Lx4x84x84: jax.Array, first_L: jax.Array) -> jax.Array:
    """Stacks, where `first_L` is true these."""
    return jnp.where(first_L[:, None, None, None], stacks_Lx4x84x84, frames_Lx4x84x84)


def _step(game: str, stack_84x84x4: np.ndarray, action: int) -> AtariSteps:
    return AtariSteps(stack_84x84x4, np.uint8(action), np.int32(NO_SCORE))  # pyright: ignore[reportArgumentType]


FAMILY = Family(
    OneArcade,
    environment=lambda game, options: f"ALE {game}, {SETTINGS[options.setting]}",
    feed=Stacks,
    step=_step,
)
PLAY = LanePlay(FAMILY)
