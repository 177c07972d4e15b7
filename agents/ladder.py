"""The ladder: every agent by name, `FAMILY/CORE/SIZE`, for example `nethack/lstm/64`.

Each family of games has its table in `agents.FAMILY.ladder`, whose function `entries(actions, observation)` returns its
agents, smallest first.
"""

import dataclasses
import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from agents.overrides import overridden, parsed
from agents.spec import Agent
from data.common.cli import UserError
from data.experts.registry import load
from data.games.registry import FAMILIES, module
from data.spec import Field

MOST_ACTIONS = 18
"""Size of ALE's full action set."""
VERSION = 2
"""Version of the networks that names stand for. In version 1, thin NetHack encoders had no norms."""


def ladder(actions: int = MOST_ACTIONS, observation: Mapping[str, Field] | None = None) -> dict[str, Agent]:
    """Every agent by name; arguments as of `find`."""
    agents = [agent for family in FAMILIES for agent in _entries(family, actions, observation)]
    return {agent.name: agent for agent in agents}


def find(name: str, actions: int = MOST_ACTIONS, observation: Mapping[str, Field] | None = None) -> Agent:
    """The agent of that name: of the ladder, or what `module:function` returns; with changed fields, if it names any.

    `actions` is the number of actions, and `observation` the arrays that the agent reads; both matter only to families
    whose games differ in them. `function` is called with both. Its agent is a frozen dataclass with a field `name`.

    Raises: UserError: there is no such agent, or it has no such field (`agents.overrides`).
    """
    base, changes = parsed(name)
    agent = _of_module(base, actions, observation) if ":" in base else _of_ladder(base, actions, observation)
    return overridden(agent, changes)


def renamed(name: str, version: int) -> str:
    """The name now of the agent that `name` stood for in an earlier version of the ladder."""
    if version >= 2 or not name.startswith(("nethack/lstm/", "nethack/transformer/")):
        return name
    return find(f"{name}+encoders.norm=false").name


def _of_ladder(name: str, actions: int, observation: Mapping[str, Field] | None) -> Agent:
    family = name.split("/")[0]
    for agent in _entries(family, actions, observation) if family in FAMILIES else ():
        if agent.name == name:
            return agent
    names = list(ladder(actions, observation))
    near = ", ".join(difflib.get_close_matches(name, names, cutoff=0.4)) or ", ".join(names[:3])
    raise UserError(f"no agent {name!r} in the ladder; near it: {near} (`python -m agents` lists all)")


def _of_module(name: str, actions: int, observation: Mapping[str, Field] | None) -> Agent:
    function = load(name)
    try:
        inspect.signature(function).bind(actions, observation)
    except (TypeError, ValueError):
        raise UserError(f"{name} is no function of (actions, observation): name one that returns an agent") from None
    agent: Any = function(actions, observation)
    missing = [part for part in vars(Agent) if not part.startswith("_") and not hasattr(agent, part)]
    if missing or not dataclasses.is_dataclass(agent):
        lacks = f"lacks {', '.join(missing)}" if missing else "is no frozen dataclass"
        raise UserError(f"{name} gives {agent!r}, which {lacks}: give an agent as `agents.spec` describes it")
    return dataclasses.replace(agent, name=name)  # pyright: ignore[reportArgumentType, reportReturnType]


def _entries(family: str, actions: int, observation: Mapping[str, Field] | None) -> list[Agent]:
    return module("agents", f"{family}.ladder").entries(actions, observation)
