"""The least agent with a carry, which a marked batch makes not finite in one of three places."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from agents.spec import Carry, Dropout, Params
from data.spec import Batch
from train.config import Optimizer
from train.mesh import make_mesh
from train.optimizer import bc_optimizer
from train.state import init_state
from train.step import make_train_step

LANES, WINDOW, ACTIONS = 2, 3, 4


@dataclass(frozen=True)
class Tiny:
    """Logits are linear in one feature; the carry is the sum of the lane's features."""

    fault: str
    microbatch: None = None
    name: str = "tiny"

    def init(self, key: jax.Array) -> Params:
        return {"head": jax.random.normal(key, (ACTIONS,))}

    def initial_carry(self, lanes: int) -> Carry:
        return jnp.zeros((lanes,), jnp.float32)

    def apply(
        self,
        params: Params,
        observation: Mapping[str, jax.Array],
        first: jax.Array,
        carry: Carry,
        dropout: Dropout | None = None,
    ) -> tuple[jax.Array, Carry]:
        feature_BxT = observation["feature"]
        bad = (feature_BxT < 0).any()
        logits = (feature_BxT + carry[:, None])[..., None] * params["head"][None, None]
        if self.fault == "loss":
            logits = jnp.where(bad, jnp.nan, logits)
        if self.fault == "gradient":
            # 0 in both cases, but the derivative of the square root at 0 is infinite.
            start = jnp.where(bad, 0.0, 1.0)
            logits += jnp.sqrt(start + 0 * params["head"].sum()) - start
        carry += feature_BxT.sum(axis=1)
        if self.fault == "carry":
            carry = jnp.where(bad, jnp.inf, carry)
        return logits, carry


def batch(*, bad: bool, seed: int = 0) -> Batch:
    random, shape = np.random.default_rng(seed), (LANES, WINDOW)
    feature = random.uniform(0.5, 1, shape).astype(np.float32)
    if bad:
        feature[1, 2] = -1
    return Batch(
        observation={"feature": feature},
        action=random.integers(ACTIONS, size=shape).astype(np.int32),
        first=np.zeros(shape, bool),
        mask=np.ones(shape, bool),
        episode=np.zeros(shape, np.int32),
    )


def step_and_state(fault: str, max_skipped: int = 3, block: int | None = None):
    """A compiled step of one device, or the steps of a block, and the state before it."""
    agent, optimizer = Tiny(fault), bc_optimizer(Optimizer(lr=3e-3, warmup_samples=0), LANES * WINDOW, 100)
    mesh = make_mesh(1)
    options = {"average": 0.1, "dropout": 0.0, "seed": 0, "mesh": mesh, "max_skipped": max_skipped, "block": block}
    step = make_train_step(agent, optimizer, **options)  # pyright: ignore[reportArgumentType]
    carry = agent.initial_carry(LANES)
    return step, init_state(agent.init(jax.random.key(0)), optimizer, averaged=True, carry=carry)
