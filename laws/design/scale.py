"""A design at a fraction S of its compute: N, D and the batch times S^0.5, as along the optimum."""

import dataclasses
import math
from typing import Any

from agents.ladder import find, ladder
from agents.overrides import parsed
from agents.spec import Agent
from laws.design.config import AUTO, SweepConfig
from laws.design.grid import Content
from train.config import TrainConfig

SMALLER = {"nethack/paper": "nethack/transformer", "nethack/paper-lstm": "nethack/lstm"}
"""Families without small sizes, and those with the same core that have them."""
INVENTORY = "inventory"
"""What only the paper's encoders read."""
LANES = 8
"""Scaled lanes are a multiple of it, so that windows of other lengths divide the batch, and devices the lanes."""
HEAD = 16
"""Width of an attention head of scaled cores, whose width is a multiple of it."""


def scaled(config: SweepConfig, shared: TrainConfig, content: Content) -> tuple[SweepConfig, TrainConfig]:
    """The design at `config.scale` of its compute, so that it is that of its own scale, 1.

    Sizes are those of the family nearest in N; one with changed fields keeps its depth, and its width times S^0.25.

    Raises: UserError: there is no such size.
    """
    scale, root = config.scale, math.sqrt(config.scale)
    if scale == 1:
        return config, shared
    family, sizes = SMALLER.get(config.family, config.family), config.sizes
    if sizes != AUTO:
        agents = [find(f"{config.family}/{size}", content.actions, content.observation) for size in sizes]
        if any(INVENTORY in agent.inputs for agent in agents):
            family = config.family
        names = [_smaller(agent, scale, family, shared.window, content) for agent in agents]
        sizes = tuple(dict.fromkeys(name.removeprefix(f"{family}/") for name in names))
    changed = dataclasses.replace(
        config,
        scale=1.0,
        family=family,
        sizes=sizes,
        budgets=tuple(budget * scale for budget in config.budgets),
        samples=tuple(samples * root for samples in config.samples),
        total=None if config.total is None else config.total * scale,
        seeds_budget=None if config.seeds_budget is None else config.seeds_budget * scale,
    )
    lanes = max(1, round(shared.lanes * root / LANES)) * LANES
    return changed, dataclasses.replace(shared, lanes=min(shared.lanes, lanes))


def _smaller(agent: Agent, scale: float, family: str, window: int, content: Content) -> str:
    """The agent of a family that stands for a larger one."""
    wanted = math.log(agent.cost(window).counted_params * math.sqrt(scale))
    found = {
        name: abs(math.log(other.cost(window).counted_params) - wanted)
        for name, other in ladder(content.actions, content.observation).items()
        if name.rpartition("/")[0] == family and (INVENTORY in other.inputs) == (INVENTORY in agent.inputs)
    }
    name = min(found, key=found.__getitem__)
    if "+" not in agent.name:
        return name
    core: Any = vars(agent)["core"]
    width = max(1, round(core.width * scale**0.25 / HEAD)) * HEAD
    _, changes = parsed(agent.name)
    changes |= {"core.layers": str(core.layers), "core.width": str(width)}
    changes |= {"core.head": str(HEAD)} if hasattr(core, "head") else {}
    return find("+".join([name, *(f"{path}={value}" for path, value in changes.items())])).name
