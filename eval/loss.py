"""Held-out loss: how well an agent predicts the expert on dev episodes.

B lanes, T steps of a window, A actions.
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
    """Prediction of the expert's actions over held-out episodes, every step weighing the same."""

    loss: float
    """Mean cross-entropy, nats per step."""
    loss_se: float | None
    """Standard error of `loss`, by episode; None for a single episode.

    The steps of an episode resemble each other, so episodes are what was sampled. With y_i the summed loss
    and m_i the steps of episode i of n, the loss is the ratio R = sum y_i / sum m_i, and its standard error
    that of a ratio estimator: se^2 = n / (n - 1) * sum (y_i - R m_i)^2 / (sum m_i)^2.
    """
    top1: float
    """Share of the steps where the expert's action is the most probable."""
    top3: float
    """Share of the steps where the expert's action is among the three most probable."""
    steps: int
    episodes: int


@dataclass
class _Sums:
    """Sums by row of the episode table, float64 [E], grown as rows turn up."""

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
    """Loss over `batches`, whose lanes' windows follow one another: the carry goes from each to the next."""
    carry = jax.tree.map(jnp.copy, agent.initial_carry(lanes))
    sums = _Sums()
    pending: tuple[Batch, jax.Array, jax.Array] | None = None
    for batch in batches:
        loss_BxT, rank_BxT, carry = _loss_and_rank(agent, params, batch.observation, batch.action, batch.first, carry)
        # The batch before is summed while the device works on this one.
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
    """Loss float32 [B, T], and rank int32 [B, T] of the expert's action among the logits, 0 the highest."""
    logits_BxTxA, carry = agent.apply(params, observation, first_BxT, carry)
    index_BxTx1 = action_BxT[..., None].astype(jnp.int32)
    loss_BxT = -jnp.take_along_axis(jax.nn.log_softmax(logits_BxTxA), index_BxTx1, axis=-1)[..., 0]
    logit_BxTx1 = jnp.take_along_axis(logits_BxTxA, index_BxTx1, axis=-1)
    actions = logits_BxTxA.shape[-1]
    # Equal logits rank by index, as argmax has it: a constant network predicts one action, not all of them.
    earlier_BxTxA = jnp.arange(actions, dtype=jnp.int32)[None, None] < index_BxTx1
    ahead_BxTxA = (logits_BxTxA > logit_BxTx1) | ((logits_BxTxA == logit_BxTx1) & earlier_BxTxA)
    rank_BxT = ahead_BxTxA.sum(axis=-1, dtype=jnp.int32)
    return loss_BxT, jnp.where(jnp.isfinite(loss_BxT), rank_BxT, actions), carry
