"""A small agent whose carry counts."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from agents.cost import Cost
from agents.spec import Dropout
from data.games.keys import KEYS, action_of_key
from data.spec import NO_ACTION

CALM = tuple(int(action_of_key()[key]) for key in b"hjklyubn.s\x1b")
"""Keys that take a turn and one that takes none: a game's turns tell which were pressed."""


@dataclass(frozen=True)
class Walker:
    """Linear in the previous action, the screen's sum and a counter; walks, as its bias has it.

    The carry counts the steps since the episode's start, so a lost or leaking carry changes the game.
    """

    name: str = "test/walker"
    kind: str = "counter"
    inputs: tuple[str, ...] = ()
    recurrent: bool = True
    microbatch: int | None = None
    dtype: str = "float32"
    width: int = 1
    depth: int = 1
    actions: int = len(KEYS)
    calm: tuple[int, ...] = CALM

    def for_backend(self, dtype: str = "auto", backend: str | None = None) -> "Walker":
        return self

    def on_host(self, observation: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return observation

    def of_width(self, width: int) -> None:
        return

    def rematerialised(self) -> None:
        return None

    def init(self, key: jax.Array) -> dict[str, jax.Array]:
        table, screen = jax.random.split(key)
        bias = np.full(len(KEYS), -1e9, np.float32)
        bias[list(self.calm)] = 0
        return {
            "table": 3 * jax.random.normal(table, (NO_ACTION + 1, len(KEYS))),
            "screen": 3 * jax.random.normal(screen, (2, len(KEYS))),
            "bias": jnp.asarray(bias),
        }

    def initial_carry(self, lanes: int) -> tuple[jax.Array, jax.Array]:
        same = jnp.zeros(lanes)
        return same, same

    def apply(
        self,
        params: dict[str, jax.Array],
        observation: Mapping[str, jax.Array],
        first: jax.Array,
        carry: tuple[jax.Array, jax.Array],
        dropout: Dropout | None = None,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        def step(count_B: jax.Array, first_B: jax.Array) -> tuple[jax.Array, jax.Array]:
            count_B = jnp.where(first_B, 0.0, count_B + 1)
            return count_B, count_B

        count_B, count_TxB = jax.lax.scan(step, carry[0], first.T)
        total = observation["chars"].sum((2, 3), dtype=jnp.int32) % 7
        features = jnp.stack([jnp.sin(count_TxB.T), jnp.cos(total.astype(jnp.float32))], -1)
        logits = params["table"][observation["prev_action"]] + features @ params["screen"]
        return logits + params["bias"][None, None], (count_B, carry[1])

    def cost(self, window: int) -> Cost:
        return Cost(())


WALKER = Walker()
PARAMS = WALKER.init(jax.random.key(1))
