"""Maximal update parametrisation (µP) for Adam (Yang et al., arXiv 2203.03466, table 3).

Against the same agent at `BASE_WIDTH`, a matrix whose fan-in grew r times learns at 1 / r of the learning rate; if its
fan-out did not grow (a readout), its initial values are smaller by sqrt(r), too. So a layer's output moves as far per
step in wide networks as in the base, and one learning rate serves all widths. Attention heads have a fixed size, and
scores their scale. Biases, norms, tables and layers over data have the whole learning rate.
"""

from typing import Any

import jax
import optax

from agents.spec import Agent, Params
from data.common.cli import UserError

BASE_WIDTH = 64
"""Width at which µP and the standard parametrisation agree."""


def base_of(agent: Agent) -> Agent:
    """The agent at `BASE_WIDTH`, whose learning rate µP uses.

    Raises: UserError: the agent has no other widths.
    """
    base = agent.of_width(BASE_WIDTH)
    if base is None:
        raise UserError(f"{agent.name} has one width only: choose --scaling standard")
    return base


def init(agent: Agent, key: jax.Array) -> Params:
    """Fresh parameters, with smaller readouts."""
    return jax.tree.map(_init, agent.init(key), _shapes(base_of(agent)))


def scale_updates(agent: Agent) -> optax.GradientTransformation:
    """Scales the updates of Adam to each parameter's learning rate."""
    multipliers = jax.tree.map(_fan_in_ratio, _shapes(base_of(agent)), _shapes(agent))
    return optax.stateless(
        lambda updates, _: jax.tree.map(lambda update, multiplier: update * multiplier, updates, multipliers)
    )


def _init(value: jax.Array, base: jax.ShapeDtypeStruct) -> jax.Array:
    readout = value.ndim > 1 and value.shape[-1] == base.shape[-1]
    return value * _fan_in_ratio(base, value) ** 0.5 if readout else value


def _fan_in_ratio(base: Any, now: Any) -> float:
    """Fan-in at the base width over that of the agent; 1 for what is no matrix."""
    return base.shape[-2] / now.shape[-2] if len(now.shape) > 1 else 1.0


def _shapes(agent: Agent) -> Any:
    return jax.eval_shape(agent.init, jax.random.key(0))
