"""The ladder: every agent by name, `FAMILY/CORE/SIZE`, for example `nethack/lstm/64`.

Each family of games has its table in `agents.FAMILY.ladder`, whose function `entries(actions, observation)` returns its
agents, smallest first.
"""

import difflib
from collections.abc import Mapping

from agents.spec import Agent
from data.common.cli import UserError
from data.games.registry import FAMILIES, module
from data.spec import Field

MOST_ACTIONS = 18
"""Size of ALE's full action set."""


def ladder(actions: int = MOST_ACTIONS, observation: Mapping[str, Field] | None = None) -> dict[str, Agent]:
    """Every agent by name; arguments as of `find`."""
    agents = [agent for family in FAMILIES for agent in _entries(family, actions, observation)]
    return {agent.name: agent for agent in agents}


def find(name: str, actions: int = MOST_ACTIONS, observation: Mapping[str, Field] | None = None) -> Agent:
    """The agent of that name.

    `actions` is the number of actions, and `observation` the arrays that the agent reads; both matter only to families
    whose games differ in them.

    Raises: UserError: the ladder has no such agent.
    """
    family = name.split("/")[0]
    for agent in _entries(family, actions, observation) if family in FAMILIES else ():
        if agent.name == name:
            return agent
    names = list(ladder(actions, observation))
    near = ", ".join(difflib.get_close_matches(name, names, cutoff=0.4)) or ", ".join(names[:3])
    raise UserError(f"no agent {name!r} in the ladder; near it: {near} (`python -m agents` lists all)")


def _entries(family: str, actions: int, observation: Mapping[str, Field] | None) -> list[Agent]:
    return module("agents", f"{family}.ladder").entries(actions, observation)
