"""Proximal policy optimisation: one compiled update on what was played.

Schulman et al. (2017, arXiv 1707.06347) with the details of their Atari code as Huang et al. (2022, "The 37
Implementation Details of Proximal Policy Optimization") list them: orthogonal parameters, Adam with epsilon 1e-5 and
a learning rate that falls along a line, advantages by GAE and normalised in each minibatch, a clipped objective, an
entropy bonus, gradients clipped by their global norm. One is left out: the critic's error is not clipped.

B lanes, T steps, N = B x T samples, A actions.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from agents.atari.im2col import BLOCK, blocks_of
from data.experts.trained import nature
from data.experts.trained.nature import Params
from data.spec import STACK, Array
from train.mesh import replicated
from train.rl.actorcritic import Network
from train.rl.config import Ppo


class Rollout(NamedTuple):
    """What was played since the update before, each frame once."""

    frames: Array
    """uint8 [B, 3 + T, 84, 84]: the three before the first step (black, where no game was on), then each step's."""
    first: Array
    """bool [B, T]: whether the step is a game's first, before which all is black."""
    action: Array
    """int32 [B, T]."""
    log_prob: Array
    """float32 [B, T]: of the action, by the policy that chose it."""
    value: Array
    """float32 [B, T + 1]: what the critic made of each step and of the one to come."""
    reward: Array
    """float32 [B, T]: what the action earned, clipped to its sign."""
    over: Array
    """bool [B, T]: whether the critic looks no further: the game ended after the action, or a life was lost."""


class Samples(NamedTuple):
    """Steps in any order, leading axis N; what the objective is made of."""

    blocks: jax.Array
    """uint8 [N, 441, 64] as `agents.atari.im2col` cuts stacks."""
    action: jax.Array
    log_prob: jax.Array
    advantage: jax.Array
    """float32 [N]: how much better the action was than the critic thought."""
    target: jax.Array
    """float32 [N]: what the critic should have said."""


class RlState(NamedTuple):
    """State before update `update`."""

    update: jax.Array
    """int32 scalar: updates done."""
    params: Params
    opt_state: optax.OptState


class PpoMetrics(NamedTuple):
    """Float32 scalars of an update, means over its minibatches."""

    policy_loss: jax.Array
    """The clipped objective, negated."""
    value_loss: jax.Array
    """Half of the critic's mean squared error."""
    entropy: jax.Array
    """Of the policy, nats."""
    approx_kl: jax.Array
    """Divergence of the policy from the one that played, nats; Schulman's estimate, which is never negative."""
    clip_fraction: jax.Array
    """How often the probability moved further than `Ppo.clip`."""
    grad_norm: jax.Array
    """Global norm of the gradient before clipping."""
    explained_variance: jax.Array
    """Share of the targets' variance that the critic foresaw: 1 is all, 0 none."""


Learned = tuple[Params, optax.OptState]
"""What an optimiser step changes."""

Losses = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]
"""The first five of `PpoMetrics`, of a minibatch."""


def make_optimizer(ppo: Ppo, updates: int) -> optax.GradientTransformation:
    """Clipping by global norm, then Adam, whose learning rate falls along a line to 0 as the last update ends."""
    falling = optax.linear_schedule(ppo.lr, 0.0, updates * ppo.epochs * ppo.minibatches)
    return optax.chain(optax.clip_by_global_norm(ppo.max_grad_norm), optax.adam(falling, eps=1e-5))


def init_state(ppo: Ppo, updates: int, actions: int, key: jax.Array) -> RlState:
    """Fresh state of a run of so many updates."""
    params = nature.init(key, actions)
    return RlState(jnp.int32(0), params, make_optimizer(ppo, updates).init(params))


@cache
def make_update(
    ppo: Ppo, updates: int, network: Network, mesh: Mesh
) -> Callable[[RlState, Rollout, jax.Array], tuple[RlState, PpoMetrics]]:
    """Compile `(state, rollout, key) → (state, metrics)`; the key and the update's number decide the minibatches.

    Every device holds all that was played; the network spreads each minibatch over them. The old state's memory is
    reused.
    """
    optimizer = make_optimizer(ppo, updates)

    def minibatch(learned: Learned, samples: Samples) -> tuple[Learned, tuple[Losses, jax.Array]]:
        params, opt_state = learned
        grads, losses = jax.grad(objective, argnums=1, has_aux=True)(network, params, samples, ppo)
        changes, opt_state = optimizer.update(grads, opt_state, params)
        params = jax.tree.map(jnp.add, params, changes)
        return (params, opt_state), (losses, optax.tree.norm(grads))

    def step(state: RlState, rollout: Rollout, key: jax.Array) -> tuple[RlState, PpoMetrics]:
        played = samples_of(rollout, ppo)

        def epoch(learned: Learned, key: jax.Array) -> tuple[Learned, tuple[Losses, jax.Array]]:
            order = jax.random.permutation(key, len(played.action)).reshape(ppo.minibatches, -1)
            # Gathered as they are needed, or the blocks would lie in memory twice.
            return jax.lax.scan(lambda learned, index: minibatch(learned, _take(played, index)), learned, order)

        keys = jax.random.split(jax.random.fold_in(key, state.update), ppo.epochs)
        (params, opt_state), told = jax.lax.scan(epoch, (state.params, state.opt_state), keys)
        means: tuple[Losses, jax.Array] = jax.tree.map(jnp.mean, told)
        foreseen = 1 - jnp.var(played.advantage) / jnp.maximum(jnp.var(played.target), 1e-8)
        return RlState(state.update + 1, params, opt_state), PpoMetrics(*means[0], means[1], foreseen)

    whole = replicated(mesh)
    return jax.jit(step, in_shardings=whole, out_shardings=whole, donate_argnums=0)


def _take(samples: Samples, index: jax.Array) -> Samples:
    return jax.tree.map(lambda x: jnp.take(x, index, axis=0), samples)


def samples_of(rollout: Rollout, ppo: Ppo) -> Samples:
    """All steps of a rollout, lane by lane."""
    advantage = advantages(rollout.reward, rollout.over, rollout.value, ppo.gamma, ppo.gae_lambda)
    target = advantage + rollout.value[:, :-1]
    per_step = (rollout.action, rollout.log_prob, advantage, target)
    return Samples(stacked(rollout.frames, rollout.first), *(x.reshape(-1) for x in per_step))


def stacked(frames_Bx3Tx84x84: jax.Array, first_BxT: jax.Array) -> jax.Array:
    """The stacks' blocks uint8 [N, 441, 64]; black, where a stack reaches back beyond its game's first step."""
    lanes, steps = first_BxT.shape
    oldest = jnp.broadcast_to(jnp.arange(steps, dtype=jnp.int32)[None], first_BxT.shape)
    blocks = blocks_of(frames_Bx3Tx84x84, oldest).reshape(lanes * steps, -1, STACK, BLOCK**2)
    seen = [jnp.ones_like(first_BxT)]
    for back in range(STACK - 1):
        # The frame before last is seen unless a game began `back` steps ago, and those after it are.
        began = jnp.pad(first_BxT, ((0, 0), (back, 0)))[:, :steps]
        seen.insert(0, seen[0] & ~began)
    seen_NxS = jnp.stack(seen, axis=-1).reshape(lanes * steps, STACK)
    return (blocks * seen_NxS[:, None, :, None].astype(jnp.uint8)).reshape(*blocks.shape[:2], -1)


def advantages(
    reward_BxT: jax.Array, over_BxT: jax.Array, value_BxT1: jax.Array, gamma: float, gae_lambda: float
) -> jax.Array:
    """Generalised advantage estimates, float32 [B, T] (Schulman et al. 2016, arXiv 1506.02438).

    A_t = d_t + gamma lambda A_{t+1} with d_t = r_t + gamma V_{t+1} - V_t, where what follows an end counts nothing.
    """
    goes_on_BxT = 1 - over_BxT.astype(jnp.float32)
    error_BxT = reward_BxT + gamma * goes_on_BxT * value_BxT1[:, 1:] - value_BxT1[:, :-1]

    def back(later_B: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        error_B, goes_on_B = step
        now_B = error_B + gamma * gae_lambda * goes_on_B * later_B
        return now_B, now_B

    _, advantage_TxB = jax.lax.scan(back, jnp.zeros_like(error_BxT[:, 0]), (error_BxT.T, goes_on_BxT.T), reverse=True)
    return advantage_TxB.T


def objective(network: Network, params: Params, samples: Samples, ppo: Ppo) -> tuple[jax.Array, Losses]:
    """What an optimiser step makes smaller, and what it is made of."""
    logits, value = network(params, samples.blocks)
    log_probs = jax.nn.log_softmax(logits)
    log_ratio = jnp.take_along_axis(log_probs, samples.action[:, None], axis=-1)[:, 0] - samples.log_prob
    ratio = jnp.exp(log_ratio)
    advantage = (samples.advantage - samples.advantage.mean()) / (samples.advantage.std() + 1e-8)
    clipped = jnp.clip(ratio, 1 - ppo.clip, 1 + ppo.clip)
    policy_loss = -jnp.minimum(ratio * advantage, clipped * advantage).mean()
    value_loss = 0.5 * jnp.square(value - samples.target).mean()
    entropy = -(jnp.exp(log_probs) * log_probs).sum(axis=-1).mean()
    approx_kl = (ratio - 1 - log_ratio).mean()
    clip_fraction = (jnp.abs(ratio - 1) > ppo.clip).astype(jnp.float32).mean()
    loss = policy_loss + ppo.value * value_loss - ppo.entropy * entropy
    return loss, (policy_loss, value_loss, entropy, approx_kl, clip_fraction)
