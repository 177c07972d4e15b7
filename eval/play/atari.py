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

CELL_OF_ACCELERATORS = 8
"""Games of an environment where there are many cores, whose parent process would be short of time otherwise."""

NOOP, FIRE, OTHER = 0, 1, 2
"""Indices of the actions that SB3's wrappers take."""


class ArcadeCell:
    """ALE's vector environment. Implements `eval.play.lanes.VectorGame`."""

    def __init__(self, game: str, lanes: int, actions: int | None, options: PlayOptions) -> None:
        self._arcade = Arcade(game, lanes, 1, actions, SETTINGS[options.setting])
        self._started = False
        self.truncated, self.anew = np.zeros(lanes, bool), np.zeros(lanes, bool)

    def reset(self, seeds: np.ndarray, mask: np.ndarray, /) -> list[Any]:
        """See `eval.play.lanes.VectorGame`."""
        if self._started:
            return list(self._arcade.reset(seeds, mask))
        # ALE resets all lanes at first; those without a game play on, unheard.
        self._started, every = True, np.resize(seeds, len(mask))
        every[mask] = seeds
        return list(self._arcade.reset(every))

    def send(self, actions: np.ndarray, /) -> None:
        """See `eval.play.lanes.VectorGame`."""
        self._arcade.send(actions)

    def receive(self) -> tuple[list[Any], np.ndarray, np.ndarray]:
        """See `eval.play.lanes.VectorGame`."""
        stacks, rewards, ended = self._arcade.receive()
        self.truncated = self._arcade.truncated
        return list(stacks), rewards, ended


class LifeByLife:
    """A game in which each life begins as in Stable-Baselines3. Implements `eval.play.lanes.VectorGame` for one lane.

    Its `AtariWrapper` presses nothing for a step after a lost life, and after that, or the start of a game, FIRE and
    the action behind it, if the game has FIRE; the stack of frames begins anew with zeros. Their rewards count.
    """

    def __init__(self, game: str, lanes: int, actions: int | None, options: PlayOptions) -> None:
        self._arcade = Arcade(game, 1, 1, actions, SETTINGS[options.setting])
        self._firing = [FIRE, OTHER] if "FIRE" in self._arcade.actions else []
        self.truncated, self.anew = np.zeros(1, bool), np.zeros(1, bool)

    def reset(self, seeds: np.ndarray, mask: np.ndarray, /) -> list[Any]:
        """See `eval.play.lanes.VectorGame`."""
        found = self._pressed(self._firing, self._arcade.reset(seeds))
        self._before, self._lives = found[1], self._arcade.lives.copy()
        return [_first(found[0])]

    def send(self, actions: np.ndarray, /) -> None:
        """See `eval.play.lanes.VectorGame`."""
        self._arcade.send(actions)

    def receive(self) -> tuple[list[Any], np.ndarray, np.ndarray]:
        """See `eval.play.lanes.VectorGame`."""
        stacks, rewards, ended = self._arcade.receive()
        rewards, self._before = rewards + self._before, np.zeros(1)
        self.anew = (self._arcade.lives < self._lives) & ~ended
        if self.anew[0]:
            stacks, more, ended = self._pressed([NOOP, *self._firing], stacks)
            stacks, rewards = _first(stacks)[None], rewards + more
        self.truncated, self._lives = self._arcade.truncated, self._arcade.lives.copy()
        return list(stacks), rewards, ended

    def _pressed(self, actions: Sequence[int], stacks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take these actions while the game lasts: the last stacks, the sum of the rewards, and whether it ended."""
        total, ended = np.zeros(1), np.zeros(1, bool)
        for action in actions:
            if not ended[0]:
                stacks, rewards, ended = self._arcade.step(np.array([action]))
                total += rewards
        return stacks, total, ended


def _first(stacks: np.ndarray) -> np.ndarray:
    """The stack of the only lane, with zeros in place of all but the newest frame."""
    stack = np.zeros_like(stacks[0])
    stack[..., -1] = stacks[0, ..., -1]
    return stack


def _make(game: str, lanes: int, actions: int | None, options: PlayOptions) -> ArcadeCell | LifeByLife:
    return (LifeByLife if SETTINGS[options.setting].life_by_life else ArcadeCell)(game, lanes, actions, options)


def _cell(options: PlayOptions) -> int:
    alone = jax.default_backend() == "cpu" or SETTINGS[options.setting].life_by_life
    return 1 if alone else CELL_OF_ACCELERATORS


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


PLAY = LanePlay(
    Family(
        _make,
        cell=_cell,
        environment=lambda game, options: f"ALE {game}, {SETTINGS[options.setting]}",
        feed=Stacks,
        step=_step,
    )
)
