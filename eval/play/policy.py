"""Action sampling, for any game."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agents.spec import Agent, Carry, Params
from eval.play.sampling import Sampling

Sampler = Callable[[dict[str, Any], np.ndarray, np.ndarray], np.ndarray]
"""From observations, arrays [L, 1, ...], seeds and timesteps of the games, uint32 [L], to actions, int32 [L]."""


@partial(jax.jit, static_argnames=("agent", "sampling"), donate_argnames="carry")
def act(
    agent: Agent,
    sampling: Sampling,
    params: Params,
    key: jax.Array,
    observation: dict[str, jax.Array],
    first_Lx1: jax.Array,
    seed_L: jax.Array,
    timestep_L: jax.Array,
    carry: Carry,
) -> tuple[jax.Array, Carry]:
    """Sample an action for each lane.

    The random key of an action is derived from `key`, the game's seed and the timestep, so that an action does not
    depend on the lane or the number of lanes. Donates `carry`.

    Args:
        agent: The agent.
        sampling: How actions are chosen.
        params: The agent's parameters.
        key: JAX random key.
        observation: Arrays [L, 1, ...].
        first_Lx1: bool, whether this is the first timestep of a game; resets the carry.
        seed_L: uint32, seeds of the games.
        timestep_L: uint32, timesteps of the games.
        carry: The agent's carry.

    Returns:
        Actions int32 [L] and the next carry.
    """
    logits_Lx1xA, carry = agent.apply(params, observation, first_Lx1, carry)
    logits_LxA = logits_Lx1xA[:, 0]
    return choose(sampling, key, seed_L, timestep_L, logits_LxA), carry


def sampler(agent: Agent, sampling: Sampling, params: Params, seed: int, lanes: int) -> Sampler:
    """Sample actions of so many lanes with `act`, step by step; keeps the agent's carry. `seed` seeds the sampling."""
    key, carry = jax.random.key(seed), fresh_carry(agent, lanes)

    def sample(observation: dict[str, jax.Array], seed_L: np.ndarray, timestep_L: np.ndarray) -> np.ndarray:
        nonlocal carry
        first = (timestep_L == 0)[:, None]
        actions, carry = act(agent, sampling, params, key, observation, first, seed_L.copy(), timestep_L.copy(), carry)
        return np.asarray(actions)

    return sample


def fresh_carry(agent: Agent, lanes: int) -> Carry:
    """The agent's initial carry, copied: donation requires that no two leaves share a buffer."""
    return jax.tree.map(jnp.copy, agent.initial_carry(lanes))


def choose(
    sampling: Sampling, key: jax.Array, seed_L: jax.Array, timestep_L: jax.Array, logits_LxA: jax.Array
) -> jax.Array:
    """Actions int32 [L], by the logits of each lane; other arguments as of `act`."""
    if sampling.temperature == 0:
        return jnp.argmax(logits_LxA, axis=-1).astype(jnp.int32)
    logits_LxA = among(sampling, logits_LxA / sampling.temperature)

    def sample(seed: jax.Array, timestep: jax.Array, logits_A: jax.Array) -> jax.Array:
        step_key = jax.random.fold_in(jax.random.fold_in(key, seed), timestep)
        return jax.random.categorical(step_key, logits_A)

    return jax.vmap(sample)(seed_L, timestep_L, logits_LxA).astype(jnp.int32)


def among(sampling: Sampling, logits: jax.Array) -> jax.Array:
    """The logits [..., A] of the actions that may be sampled, minus infinity for the others.

    Of equally probable actions at the edge, all may.
    """
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, sampling.top_k)[0][..., -1:]
        logits = jnp.where(logits < least, -jnp.inf, logits)
    if sampling.top_p is not None:
        falling = -jnp.sort(-logits, axis=-1)
        before = jnp.cumsum(jax.nn.softmax(falling, axis=-1), axis=-1) - jax.nn.softmax(falling, axis=-1)
        least = jnp.where(before < sampling.top_p, falling, jnp.inf).min(axis=-1, keepdims=True)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return logits
