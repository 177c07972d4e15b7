"""Small runs of reinforcement learning."""

from pathlib import Path
from typing import Any

import jax
from jax.sharding import AxisType, Mesh

from agents.atari.actor_critic import Params, init
from train.rl.config import Ppo, RlConfig

TINY = Ppo(horizon=16, epochs=2, minibatches=2, lr=2e-3)
LANES, UPDATES = 2, 8
BATCH = LANES * TINY.horizon


def config(run: Path, **changes: Any) -> RlConfig:
    defaults: dict[str, Any] = {"game": "Breakout", "lanes": LANES, "ppo": TINY, "log_every": 4, "threads": 1}
    return RlConfig(run=run, steps=UPDATES * BATCH, **(defaults | changes))


def mesh_of(devices: int) -> Mesh:
    return jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])


def random_params(actions: int = 4) -> Params:
    """Parameters whose logits differ."""
    params = init(jax.random.key(0), actions)
    return params | {"actor": {**params["actor"], "kernel": params["actor"]["kernel"] * 50}}
