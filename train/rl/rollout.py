"""Rollouts: steps of Atari games, played by the policy that learns from them. B lanes, T steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from agents.atari.actor_critic import Network, Params
from agents.atari.convolutions import blocks_of
from data.games.arcade import Arcade
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK
from train.mesh import over_lanes, replicated
from train.rl.ppo import Rollout

Act = Callable[[Params, np.ndarray, jax.Array, int], tuple[jax.Array, jax.Array, jax.Array]]
"""From parameters, stacks uint8 [B, 4, 84, 84], a key and the step to actions int32 [B], their log-probabilities and
values, both float32 [B]."""


@dataclass(frozen=True)
class FinishedGame:
    """A game that ended."""

    score: float
    """Its undiscounted, unclipped return."""
    length: int
    """Number of steps, each of four frames."""


@cache
def make_act(network: Network, mesh: Mesh) -> Act:
    """Compile sampling of actions from the policy, on the devices of `mesh`."""

    def act(
        params: Params, stacks_Bx4x84x84: jax.Array, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        oldest = jnp.zeros((len(stacks_Bx4x84x84), 1), jnp.int32)
        logits, value = network(params, blocks_of(stacks_Bx4x84x84, oldest))
        action = jax.random.categorical(jax.random.fold_in(key, step), logits).astype(jnp.int32)
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], axis=-1)[:, 0]
        return action, log_prob, value

    whole, lanes = replicated(mesh), over_lanes(mesh)
    compiled = jax.jit(act, in_shardings=(whole, lanes, whole, whole), out_shardings=whole)
    return lambda params, stacks, key, step: compiled(params, stacks, key, np.int32(step))


class VectorActor:
    """A vector of games, one per lane, and the policy that plays them; games go on from one rollout to the next."""

    def __init__(self, game: str, seeds: np.ndarray, act: Act, *, threads: int, life_loss: bool) -> None:
        """Start the games of these seeds, int [B]; `life_loss` ends the value estimate at a lost life."""
        self.lanes = len(seeds)
        self._arcade, self._act, self._life_loss = Arcade(game, self.lanes, threads), act, life_loss
        self._stacks = self._arcade.reset(seeds)
        self._first = np.ones(len(seeds), bool)
        self._score, self._length = np.zeros(len(seeds)), np.zeros(len(seeds), int)

    def begin(self, params: Params, key: jax.Array, rollout: Rollout) -> None:
        """Start to play by these parameters; steps are written into `rollout`, whose leading axis is these lanes."""
        self._params, self._key, self._rollout = params, key, rollout
        rollout.frames[:, : STACK - 1] = np.moveaxis(self._stacks[..., :-1], -1, 1)
        self._dispatch(0)

    def step(self, step: int) -> list[FinishedGame]:
        """Play one step on every lane; returns the games that ended with it."""
        rollout = self._rollout
        action, rollout.log_prob[:, step], rollout.value[:, step] = map(np.asarray, self._chosen)
        rollout.frames[:, STACK - 1 + step] = self._stacks[..., -1]
        rollout.first[:, step], rollout.action[:, step] = self._first, action
        lives = self._arcade.lives
        self._stacks, rewards, self._first = self._arcade.step(action)
        lost = self._arcade.lives < lives if self._life_loss else False
        rollout.reward[:, step], rollout.terminated[:, step] = np.sign(rewards), self._first | lost
        self._dispatch(step + 1)
        return self._account(rewards)

    def end(self) -> None:
        """Write the value of the state after the last step."""
        self._rollout.value[:, -1] = self._chosen[2]

    def _dispatch(self, step: int) -> None:
        # Only dispatched: the device computes while another actor's games step.
        self._chosen = self._act(self._params, np.moveaxis(self._stacks, -1, 1), self._key, step)

    def _account(self, rewards: np.ndarray) -> list[FinishedGame]:
        self._score += rewards
        self._length += 1
        ended = np.flatnonzero(self._first)
        finished = [FinishedGame(float(self._score[lane]), int(self._length[lane])) for lane in ended]
        self._score[ended] = self._length[ended] = 0
        return finished


def collect_rollout(
    actors: Sequence[VectorActor], params: Params, key: jax.Array, horizon: int
) -> tuple[Rollout, list[FinishedGame]]:
    """Play `horizon` steps on the lanes of all actors; returns them, and the games that ended meanwhile."""
    rollout = _blank(sum(actor.lanes for actor in actors), horizon)
    lane = 0
    for number, actor in enumerate(actors):
        part = Rollout(*(column[lane : lane + actor.lanes] for column in rollout))
        actor.begin(params, jax.random.fold_in(key, number), part)
        lane += actor.lanes
    finished = [game for step in range(horizon) for actor in actors for game in actor.step(step)]
    for actor in actors:
        actor.end()
    return rollout, finished


def _blank(lanes: int, horizon: int) -> Rollout:
    """An empty rollout, in memory of its own: JAX on a CPU reads NumPy arrays without copying them."""
    shape = lanes, horizon
    return Rollout(
        frames=np.empty((lanes, STACK - 1 + horizon, FRAME_ROWS, FRAME_COLUMNS), np.uint8),
        first=np.empty(shape, bool),
        action=np.empty(shape, np.int32),
        log_prob=np.empty(shape, np.float32),
        value=np.empty((lanes, horizon + 1), np.float32),
        reward=np.empty(shape, np.float32),
        terminated=np.empty(shape, bool),
    )
