"""Who plays, whatever the game: actions sampled from a policy, a bar of finished games."""

import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
from tqdm import tqdm

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
    """Actions int32 [L] on seeing observations [L, 1, ...], and the carry after them."""
    logits_Lx1xA, carry = agent.apply(params, observation, first_Lx1, carry)
    logits_LxA = logits_Lx1xA[:, 0]
    if temperature == 0:
        return jnp.argmax(logits_LxA, axis=-1).astype(jnp.int32), carry

    def sample(seed: jax.Array, timestep: jax.Array, logits_A: jax.Array) -> jax.Array:
        mine = jax.random.fold_in(jax.random.fold_in(key, seed), timestep)
        return jax.random.categorical(mine, logits_A / temperature)

    return jax.vmap(sample)(seed_L, timestep_L, logits_LxA).astype(jnp.int32), carry


class Progress:
    """A bar of finished games on stderr, with steps per second and the time left."""

    def __init__(self, games: int, shown: bool) -> None:
        # A log gets a line every ten seconds.
        interval = 0.5 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(total=games, unit="game", miniters=0, mininterval=interval, disable=not shown)
        self._steps = 0
        self._start = time.perf_counter()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, steps: int, games: int) -> None:
        """Count steps, and games that ended."""
        self._steps += steps
        rate = self._steps / (time.perf_counter() - self._start)
        self._bar.set_postfix_str(f"{rate:.0f} steps/s", refresh=False)
        self._bar.update(games)
