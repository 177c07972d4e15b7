"""Proximal policy optimisation (PPO): one compiled update on a rollout.

Schulman et al. (2017, arXiv 1707.06347) with the details that Huang et al. (2022, "The 37 Implementation Details of
Proximal Policy Optimization") list for Atari: orthogonal initialisation, Adam with epsilon 1e-5, a learning rate that
decays linearly to 0, GAE, advantages normalised per minibatch, the clipped surrogate objective, an entropy bonus, and
clipping of gradients by their global norm. The value loss is not clipped.

B lanes, T steps, N = B x T samples, A actions.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from agents.atari.actor_critic import Network, Params
from agents.atari.convolutions import BLOCK, blocks_of
from data.spec import STACK, Array
from train.failure.skipping import all_finite, skip_nonfinite
from train.mesh import replicated
from train.optimizer import make_optimizer
from train.rl.config import Ppo, RlConfig
from train.state import TrainState


class Rollout(NamedTuple):
    """The steps between two updates, each frame once."""

    frames: Array
    """uint8 [B, 3 + T, 84, 84]: three frames before the first step (0 before a game began), then each step's newest."""
    first: Array
    """bool [B, T]: whether the step is the first of a game."""
    action: Array
    """int32 [B, T]."""
    log_prob: Array
    """float32 [B, T]: log-probability of the action by the policy that chose it."""
    value: Array
    """float32 [B, T + 1]: the critic's value at each step, and after the last."""
    reward: Array
    """float32 [B, T]: the reward, clipped to its sign."""
    terminated: Array
    """bool [B, T]: whether the value after the action is 0: the game ended or, optionally, a life was lost."""


class Samples(NamedTuple):
    """Steps in any order, leading axis N."""

    blocks: jax.Array
    """uint8 [N, 441, 64]: stacks of frames as `agents.atari.convolutions.blocks_of` cuts them."""
    action: jax.Array
    log_prob: jax.Array
    advantage: jax.Array
    """float32 [N]: generalised advantage estimate."""
    target: jax.Array
    """float32 [N]: target of the critic."""


class PpoMetrics(NamedTuple):
    """Float32 scalars of an update: means over its minibatches."""

    policy_loss: jax.Array
    """The clipped surrogate objective, negated."""
    value_loss: jax.Array
    """Half of the critic's mean squared error."""
    entropy: jax.Array
    """Entropy of the policy, nats."""
    approx_kl: jax.Array
    """KL divergence from the policy that played, nats, by Schulman's non-negative estimator."""
    clip_fraction: jax.Array
    """Fraction of samples whose probability ratio is further than `Ppo.clip` from 1."""
    grad_norm: jax.Array
    """Global norm of the gradient before clipping."""
    explained_variance: jax.Array
    """Fraction of the targets' variance that the critic explains; at most 1."""


Learned = tuple[Params, optax.OptState]
"""What an optimiser step updates."""

Losses = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]
"""The first five of `PpoMetrics`, for a minibatch."""


def ppo_optimizer(ppo: Ppo, updates: int) -> optax.GradientTransformation:
    """Clipping by global norm, then Adam with a learning rate that decays linearly to 0 after `updates` updates."""
    steps = updates * ppo.epochs * ppo.minibatches
    return make_optimizer(optax.linear_schedule(ppo.lr, 0.0, steps), clip=ppo.max_grad_norm, eps=1e-5)


@cache
def make_update(
    ppo: Ppo, updates: int, network: Network, mesh: Mesh, max_skipped: int = RlConfig.max_skipped
) -> Callable[[TrainState, Rollout, jax.Array], tuple[TrainState, PpoMetrics]]:
    """Compile `(state, rollout, key) → (state, metrics)`; key and `state.step` determine the minibatches.

    The rollout is replicated; the network shards each minibatch over the devices. The state is donated.
    An update is skipped as a whole if a loss or gradient in it is not finite.
    """
    optimizer = ppo_optimizer(ppo, updates)

    def minibatch(learned: Learned, samples: Samples) -> tuple[Learned, tuple[Losses, jax.Array]]:
        params, opt_state = learned
        grads, losses = jax.grad(objective, argnums=1, has_aux=True)(network, params, samples, ppo)
        changes, opt_state = optimizer.update(grads, opt_state, params)
        params = jax.tree.map(jnp.add, params, changes)
        return (params, opt_state), (losses, optax.tree.norm(grads))

    def update(state: TrainState, rollout: Rollout, key: jax.Array) -> tuple[TrainState, PpoMetrics]:
        samples = samples_of(rollout, ppo)

        def epoch(learned: Learned, key: jax.Array) -> tuple[Learned, tuple[Losses, jax.Array]]:
            order = jax.random.permutation(key, len(samples.action)).reshape(ppo.minibatches, -1)
            # Gathered a minibatch at a time, or the blocks would be in memory twice.
            return jax.lax.scan(lambda learned, index: minibatch(learned, _take(samples, index)), learned, order)

        keys = jax.random.split(jax.random.fold_in(key, state.step), ppo.epochs)
        (params, opt_state), metrics = jax.lax.scan(epoch, (state.params, state.opt_state), keys)
        means: tuple[Losses, jax.Array] = jax.tree.map(jnp.mean, metrics)
        explained = 1 - jnp.var(samples.advantage) / jnp.maximum(jnp.var(samples.target), 1e-8)
        after = state._replace(step=state.step + 1, params=params, opt_state=opt_state)
        finite = all_finite(means)
        return skip_nonfinite(state, after, finite, max_skipped), PpoMetrics(*means[0], means[1], explained)

    whole = replicated(mesh)
    return jax.jit(update, in_shardings=whole, out_shardings=whole, donate_argnums=0)


def _take(samples: Samples, index: jax.Array) -> Samples:
    return jax.tree.map(lambda x: jnp.take(x, index, axis=0), samples)


def samples_of(rollout: Rollout, ppo: Ppo) -> Samples:
    """All steps of a rollout as samples, lane by lane."""
    advantage = advantages(rollout.reward, rollout.terminated, rollout.value, ppo.gamma, ppo.gae_lambda)
    target = advantage + rollout.value[:, :-1]
    per_step = (rollout.action, rollout.log_prob, advantage, target)
    return Samples(stacked(rollout.frames, rollout.first), *(x.reshape(-1) for x in per_step))


def stacked(frames_Bx3Tx84x84: jax.Array, first_BxT: jax.Array) -> jax.Array:
    """Every step's stack in blocks, uint8 [N, 441, 64]; frames of an earlier game are 0."""
    lanes, steps = first_BxT.shape
    oldest = jnp.broadcast_to(jnp.arange(steps, dtype=jnp.int32)[None], first_BxT.shape)
    blocks = blocks_of(frames_Bx3Tx84x84, oldest).reshape(lanes * steps, -1, STACK, BLOCK**2)
    seen = [jnp.ones_like(first_BxT)]
    for back in range(STACK - 1):
        # An older frame belongs to the game if the next one does and the game didn't begin with that one.
        began = jnp.pad(first_BxT, ((0, 0), (back, 0)))[:, :steps]
        seen.insert(0, seen[0] & ~began)
    seen_NxS = jnp.stack(seen, axis=-1).reshape(lanes * steps, STACK)
    return (blocks * seen_NxS[:, None, :, None].astype(jnp.uint8)).reshape(*blocks.shape[:2], -1)


def advantages(
    reward_BxT: jax.Array, terminated_BxT: jax.Array, value_BxT1: jax.Array, gamma: float, gae_lambda: float
) -> jax.Array:
    """Generalised advantage estimates, float32 [B, T] (Schulman et al. 2016, arXiv 1506.02438).

    A_t = d_t + gamma lambda A_{t+1} with d_t = r_t + gamma V_{t+1} - V_t. Where an episode terminated,
    V_{t+1} and A_{t+1} are 0.
    """
    continues_BxT = 1 - terminated_BxT.astype(jnp.float32)
    error_BxT = reward_BxT + gamma * continues_BxT * value_BxT1[:, 1:] - value_BxT1[:, :-1]

    def back(later_B: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        error_B, continues_B = step
        now_B = error_B + gamma * gae_lambda * continues_B * later_B
        return now_B, now_B

    _, advantage_TxB = jax.lax.scan(back, jnp.zeros_like(error_BxT[:, 0]), (error_BxT.T, continues_BxT.T), reverse=True)
    return advantage_TxB.T


def objective(network: Network, params: Params, samples: Samples, ppo: Ppo) -> tuple[jax.Array, Losses]:
    """The loss of a minibatch, and its parts."""
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
