"""XLA's count of a network's training FLOPs, which checks `agents.cost`.

Counted is the program as JAX differentiates it, the same on every backend: in an optimised one, elementwise work counts
again in every fusion that repeats it (up to 11 % more on a CPU). Nothing is computed or compiled.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from agents.gym.ladder import SHOWN
from agents.nethack.deep import SLOTS
from agents.spec import Agent, Params
from data.common.cli import UserError
from data.spec import FRAME_COLUMNS, FRAME_ROWS, NETHACK, STACK, Field

_FIELDS = {**NETHACK, "inventory": Field((SLOTS,), "int16"), **SHOWN}

Shapes = Mapping[str, jax.ShapeDtypeStruct]


def batch_of(agent: Agent, lanes: int, window: int) -> Shapes:
    """The shapes of a batch that an agent of the ladder reads (of a Gymnasium environment: `gym.ladder.SHOWN`)."""
    shapes = {name: ((lanes, window, *field.shape), field.dtype) for name, field in _FIELDS.items()}
    shapes["frames"] = (lanes, window + STACK - 1, FRAME_ROWS, FRAME_COLUMNS), "uint8"
    shapes["oldest"] = (lanes, window), "int32"
    if unknown := set(agent.inputs) - set(shapes):
        raise UserError(f"{agent.name} reads {', '.join(sorted(unknown))}, of unknown shape: choose another")
    return {name: jax.ShapeDtypeStruct(shapes[name][0], jnp.dtype(shapes[name][1])) for name in agent.inputs}


def train_flops(agent: Agent, observation: Shapes) -> float:
    """FLOPs per sample of the mean cross-entropy over a batch of these shapes [B, T, ...] and of its gradient.

    Scans are unrolled, since XLA counts the body of a loop once. T should be 8 at least: no gradient reaches the carry
    of a single step.
    """
    lanes, window = next(x.shape[:2] for name, x in observation.items() if name != "frames")

    def loss(params: Params, observation: Mapping[str, jax.Array], action: jax.Array) -> jax.Array:
        logits, _ = agent.apply(params, observation, jnp.zeros(action.shape, bool), agent.initial_carry(lanes))
        chances = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(chances, action[:, :, None], axis=-1).mean()

    params = jax.eval_shape(agent.init, jax.random.key(0))
    action = jax.ShapeDtypeStruct((lanes, window), jnp.int32)
    # Without jit a scan is a loop in Python.
    with jax.disable_jit():
        analysis = jax.jit(jax.value_and_grad(loss)).lower(params, observation, action).cost_analysis()
    assert analysis is not None, "XLA counts no FLOPs for this backend"
    return analysis["flops"] / (lanes * window)
