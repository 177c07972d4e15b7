"""Games played by a policy while it learns.

B lanes, T steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from agents.atari.im2col import blocks_of
from data.experts.trained.nature import Params
from data.games.arcade import Arcade
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK
from train.mesh import over_lanes, replicated
from train.rl.actorcritic import Network
from train.rl.ppo import Rollout

Act = Callable[[Params, np.ndarray, jax.Array, int], tuple[jax.Array, jax.Array, jax.Array]]
"""Of stacks uint8 [B, 4, 84, 84], a key and the step: actions int32 [B], their log-probabilities, values float32."""


@dataclass(frozen=True)
class Finished:
    """A game that came to its end."""

    score: float
    """Sum of its rewards as they were."""
    length: int
    """Steps, each of four frames."""


@cache
def make_act(network: Network, mesh: Mesh) -> Act:
    """Compile the policy's choice."""

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


class Table:
    """Games on some lanes, which go on from rollout to rollout."""

    def __init__(self, game: str, seeds: np.ndarray, act: Act, *, threads: int, life_loss: bool) -> None:
        """Begin the games of these seeds, int [B]."""
        self.lanes = len(seeds)
        self._arcade, self._act, self._life_loss = Arcade(game, self.lanes, threads), act, life_loss
        self._stacks = self._arcade.reset(seeds)
        self._first = np.ones(len(seeds), bool)
        self._score, self._length = np.zeros(len(seeds)), np.zeros(len(seeds), int)

    def begin(self, params: Params, key: jax.Array, rollout: Rollout) -> None:
        """Play on by these parameters, writing into the lanes of a rollout."""
        self._params, self._key, self._rollout = params, key, rollout
        rollout.frames[:, : STACK - 1] = np.moveaxis(self._stacks[..., :-1], -1, 1)
        self._look(0)

    def step(self, step: int) -> list[Finished]:
        """Play one step on every lane; the games that ended with it."""
        rollout = self._rollout
        action, rollout.log_prob[:, step], rollout.value[:, step] = map(np.asarray, self._chosen)
        rollout.frames[:, STACK - 1 + step] = self._stacks[..., -1]
        rollout.first[:, step], rollout.action[:, step] = self._first, action
        lives = self._arcade.lives
        self._stacks, rewards, self._first = self._arcade.step(action)
        lost = self._arcade.lives < lives if self._life_loss else False
        rollout.reward[:, step], rollout.over[:, step] = np.sign(rewards), self._first | lost
        self._look(step + 1)
        return self._account(rewards)

    def end(self) -> None:
        """Write what the critic makes of the step to come."""
        self._rollout.value[:, -1] = self._chosen[2]

    def _look(self, step: int) -> None:
        # Not waited for: the device computes while another table's games are played.
        self._chosen = self._act(self._params, np.moveaxis(self._stacks, -1, 1), self._key, step)

    def _account(self, rewards: np.ndarray) -> list[Finished]:
        self._score += rewards
        self._length += 1
        ended = np.flatnonzero(self._first)
        finished = [Finished(float(self._score[lane]), int(self._length[lane])) for lane in ended]
        self._score[ended] = self._length[ended] = 0
        return finished


def play(tables: Sequence[Table], params: Params, key: jax.Array, horizon: int) -> tuple[Rollout, list[Finished]]:
    """Play on at all tables by these parameters: `horizon` steps, and the games that ended meanwhile."""
    rollout = _blank(sum(table.lanes for table in tables), horizon)
    seat = 0
    for number, table in enumerate(tables):
        part = Rollout(*(column[seat : seat + table.lanes] for column in rollout))
        table.begin(params, jax.random.fold_in(key, number), part)
        seat += table.lanes
    finished = [game for step in range(horizon) for table in tables for game in table.step(step)]
    for table in tables:
        table.end()
    return rollout, finished


def _blank(lanes: int, horizon: int) -> Rollout:
    """Memory of its own for each rollout: a CPU's devices read it where it lies."""
    shape = lanes, horizon
    return Rollout(
        frames=np.empty((lanes, STACK - 1 + horizon, FRAME_ROWS, FRAME_COLUMNS), np.uint8),
        first=np.empty(shape, bool),
        action=np.empty(shape, np.int32),
        log_prob=np.empty(shape, np.float32),
        value=np.empty((lanes, horizon + 1), np.float32),
        reward=np.empty(shape, np.float32),
        over=np.empty(shape, bool),
    )
