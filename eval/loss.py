"""Dev loss: cross-entropy of the agent's policy against the expert's actions on held-out episodes.

Dimensions in names: B lanes, T timesteps of a window, A actions, S unmasked timesteps of a batch, E episodes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from agents.spec import Agent, Carry, Params
from data.spec import Batch


@dataclass(frozen=True)
class LossRow:
    """Loss and accuracy over held-out episodes; every timestep has the same weight."""

    loss: float
    """Mean cross-entropy, nats per timestep."""
    loss_se: float | None
    """Standard error of `loss` with episodes as the sampling unit; None for a single episode.

    Timesteps of an episode are correlated, so episodes are treated as the independent samples. Let y_i be the summed
    loss and m_i the number of timesteps of episode i of n. The loss is the ratio R = sum y_i / sum m_i, with the
    standard error of a ratio estimator: se^2 = n / (n - 1) * sum (y_i - R m_i)^2 / (sum m_i)^2.
    """
    top1: float
    """Fraction of timesteps at which the expert's action is the most probable one."""
    top3: float
    """Fraction of timesteps at which the expert's action is among the three most probable ones."""
    steps: int
    """Number of timesteps."""
    episodes: int
    """Number of episodes."""


@dataclass
class _Sums:
    """Sums per episode, float64 [E], indexed by `Batch.episode`. The arrays grow when larger indices occur."""

    loss_E: np.ndarray = field(default_factory=lambda: np.zeros(0))
    top1_E: np.ndarray = field(default_factory=lambda: np.zeros(0))
    top3_E: np.ndarray = field(default_factory=lambda: np.zeros(0))
    steps_E: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, batch: Batch, loss_BxT: np.ndarray, rank_BxT: np.ndarray) -> None:
        episode_S = batch.episode[batch.mask]
        if not episode_S.size:
            return
        rank_S = rank_BxT[batch.mask]
        missing = int(episode_S.max()) + 1 - self.steps_E.size
        for name, value_S in (
            ("loss_E", loss_BxT[batch.mask].astype(np.float64)),
            ("top1_E", rank_S < 1),
            ("top3_E", rank_S < 3),
            ("steps_E", np.ones(episode_S.shape)),
        ):
            total_E = np.pad(getattr(self, name), (0, max(0, missing)))
            np.add.at(total_E, episode_S, value_S)
            setattr(self, name, total_E)

    def row(self) -> LossRow:
        seen = self.steps_E > 0
        loss_E, steps_E = self.loss_E[seen], self.steps_E[seen]
        steps, episodes = steps_E.sum(), steps_E.size
        if not episodes:
            raise ValueError("no steps to measure the loss on")
        loss = loss_E.sum() / steps
        error = None
        if episodes > 1:
            spread = ((loss_E - loss * steps_E) ** 2).sum()
            error = float(np.sqrt(episodes / (episodes - 1) * spread) / steps)
        return LossRow(
            loss=float(loss),
            loss_se=error,
            top1=float(self.top1_E.sum() / steps),
            top3=float(self.top3_E.sum() / steps),
            steps=int(steps),
            episodes=episodes,
        )


def dev_loss(agent: Agent, params: Params, batches: Iterable[Batch], lanes: int) -> LossRow:
    """Compute the loss over consecutive windows of episodes.

    Args:
        agent: The agent.
        params: Its parameters.
        batches: Batches [B, T], each of which continues the lanes of the one before; the carry is passed along.
        lanes: B, the number of lanes.

    Raises:
        ValueError: No timestep of the batches is unmasked.
    """
    carry = jax.tree.map(jnp.copy, agent.initial_carry(lanes))
    sums = _Sums()
    pending: tuple[Batch, jax.Array, jax.Array] | None = None
    for batch in batches:
        loss_BxT, rank_BxT, carry = _loss_and_rank(agent, params, batch.observation, batch.action, batch.first, carry)
        # Sum the previous batch on the host while the device computes this one.
        if pending is not None:
            sums.add(pending[0], *jax.device_get(pending[1:]))
        pending = batch, loss_BxT, rank_BxT
    if pending is not None:
        sums.add(pending[0], *jax.device_get(pending[1:]))
    return sums.row()


@partial(jax.jit, static_argnames="agent", donate_argnames="carry")
def _loss_and_rank(
    agent: Agent,
    params: Params,
    observation: dict[str, jax.Array],
    action_BxT: jax.Array,
    first_BxT: jax.Array,
    carry: Carry,
) -> tuple[jax.Array, jax.Array, Carry]:
    """Compute the cross-entropy and the rank of the expert's action.

    Returns:
        Loss float32 [B, T]; rank int32 [B, T] of the expert's action among the logits, 0 for the highest, and A where
        the loss is not finite; and the next carry.
    """
    logits_BxTxA, carry = agent.apply(params, observation, first_BxT, carry)
    index_BxTx1 = action_BxT[..., None].astype(jnp.int32)
    loss_BxT = -jnp.take_along_axis(jax.nn.log_softmax(logits_BxTxA), index_BxTx1, axis=-1)[..., 0]
    logit_BxTx1 = jnp.take_along_axis(logits_BxTxA, index_BxTx1, axis=-1)
    actions = logits_BxTxA.shape[-1]
    # Break ties by the lower index, like argmax. Otherwise constant logits would rank every action first.
    earlier_BxTxA = jnp.arange(actions, dtype=jnp.int32)[None, None] < index_BxTx1
    ahead_BxTxA = (logits_BxTxA > logit_BxTx1) | ((logits_BxTxA == logit_BxTx1) & earlier_BxTxA)
    rank_BxT = ahead_BxTxA.sum(axis=-1, dtype=jnp.int32)
    return loss_BxT, jnp.where(jnp.isfinite(loss_BxT), rank_BxT, actions), carry
