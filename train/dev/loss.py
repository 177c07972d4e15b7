"""Dev loss: cross-entropy of the agent's policy against the expert's actions on held-out episodes.

Dimensions in names: B lanes, T timesteps of a window, A actions, S unmasked timesteps of a batch, E episodes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from agents.spec import Agent, Carry, Params
from data.spec import Batch
from train.mesh import over_lanes, replicated


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


class _Measured(NamedTuple):
    """Arrays [B, T], whole on every device, so that each process of several has all of them."""

    episode: jax.Array
    mask: jax.Array
    loss: jax.Array
    """float32, cross-entropy."""
    rank: jax.Array
    """int32, rank of the expert's action among the logits, 0 for the highest, and A where the loss is not finite."""


@dataclass
class _Sums:
    """Sums per episode, float64 [E], indexed by `Batch.episode`. The arrays grow when larger indices occur."""

    loss_E: np.ndarray = field(default_factory=lambda: np.zeros(0))
    top1_E: np.ndarray = field(default_factory=lambda: np.zeros(0))
    top3_E: np.ndarray = field(default_factory=lambda: np.zeros(0))
    steps_E: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, measured: "_Measured") -> None:
        episode_BxT, mask_BxT, loss_BxT, rank_BxT = jax.device_get(measured)
        episode_S = episode_BxT[mask_BxT]
        if not episode_S.size:
            return
        rank_S = rank_BxT[mask_BxT]
        episodes = max(self.steps_E.size, int(episode_S.max()) + 1)
        for name, value_S in (
            ("loss_E", loss_BxT[mask_BxT]),
            ("top1_E", rank_S < 1),
            ("top3_E", rank_S < 3),
            ("steps_E", None),
        ):
            total_E = np.bincount(episode_S, value_S, episodes).astype(np.float64)
            of_earlier = getattr(self, name)
            total_E[: of_earlier.size] += of_earlier
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


def dev_loss(agent: Agent, params: Params, batches: Iterable[Batch], lanes: int, mesh: Mesh) -> LossRow:
    """Compute the loss over consecutive windows of episodes, on all devices of a mesh.

    Args:
        agent: The agent.
        params: Its parameters, on the devices of the mesh.
        batches: Batches [B, T] on the mesh, with observations as of `Agent.on_host`, each of which continues the lanes
            of the one before; the carry is passed along. A process of several yields its own lanes
            (`train.mesh.lanes_of_host`).
        lanes: B, the number of lanes of all processes together, a multiple of the mesh's devices.
        mesh: The lanes are sharded over it.

    Returns:
        The loss, the same on every process.

    Raises:
        ValueError: No timestep of the batches is unmasked.
    """
    carry = _initial_carry(agent, mesh, lanes)
    sums = _Sums()
    pending: _Measured | None = None
    for batch in batches:
        measured, carry = _measure(agent, mesh, params, batch, carry)
        # Sum the previous batch on the host while the devices compute this one.
        if pending is not None:
            sums.add(pending)
        pending = measured
    if pending is not None:
        sums.add(pending)
    return sums.row()


@partial(jax.jit, static_argnames=("agent", "mesh", "lanes"))
def _initial_carry(agent: Agent, mesh: Mesh, lanes: int) -> Carry:
    """The initial carry, sharded over the mesh. Compiled once: that takes as long as 50,000 steps of a small agent."""
    return jax.lax.with_sharding_constraint(agent.initial_carry(lanes), over_lanes(mesh))


@partial(jax.jit, static_argnames=("agent", "mesh"), donate_argnames="carry")
def _measure(agent: Agent, mesh: Mesh, params: Params, batch: Batch, carry: Carry) -> tuple[_Measured, Carry]:
    """Compute the cross-entropy and the rank of the expert's action, and the next carry."""
    # In the mesh's context, as a step: devices keep to their samples (`agents.layers.over_shards`).
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        logits_BxTxA, carry = agent.apply(params, batch.observation, batch.first, carry)
    index_BxTx1 = batch.action[..., None].astype(jnp.int32)
    loss_BxT = -jnp.take_along_axis(jax.nn.log_softmax(logits_BxTxA), index_BxTx1, axis=-1)[..., 0]
    logit_BxTx1 = jnp.take_along_axis(logits_BxTxA, index_BxTx1, axis=-1)
    actions = logits_BxTxA.shape[-1]
    # Break ties by the lower index, like argmax. Otherwise constant logits would rank every action first.
    earlier_BxTxA = jnp.arange(actions, dtype=jnp.int32)[None, None] < index_BxTx1
    ahead_BxTxA = jnp.where(earlier_BxTxA, logits_BxTxA >= logit_BxTx1, logits_BxTxA > logit_BxTx1)
    rank_BxT = ahead_BxTxA.sum(axis=-1, dtype=jnp.int32)
    rank_BxT = jnp.where(jnp.isfinite(loss_BxT), rank_BxT, actions)
    measured = _Measured(batch.episode, batch.mask, loss_BxT, rank_BxT)
    constrain = jax.lax.with_sharding_constraint
    return constrain(measured, replicated(mesh)), constrain(carry, over_lanes(mesh))
