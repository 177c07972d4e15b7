"""Action sampling, for any game."""

from functools import partial

import jax
import jax.numpy as jnp

from agents.spec import Agent, Carry, Params


@partial(jax.jit, static_argnames=("agent", "temperature"), donate_argnames="carry")
def act(
    agent: Agent,
    temperature: float,
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
        temperature: Softmax temperature; 0 selects the most probable action.
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
    if temperature == 0:
        return jnp.argmax(logits_LxA, axis=-1).astype(jnp.int32), carry

    def sample(seed: jax.Array, timestep: jax.Array, logits_A: jax.Array) -> jax.Array:
        step_key = jax.random.fold_in(jax.random.fold_in(key, seed), timestep)
        return jax.random.categorical(step_key, logits_A / temperature)

    return jax.vmap(sample)(seed_L, timestep_L, logits_LxA).astype(jnp.int32), carry
