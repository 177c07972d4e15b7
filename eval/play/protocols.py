"""Protocols of evaluation by name: options that belong together, so that returns compare."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.common.cli import UserError


@dataclass(frozen=True)
class Named:
    """What a name stands for, by the names of options."""

    about: str
    options: Mapping[str, Any]


PROTOCOLS: dict[str, dict[str, Named]] = {
    "nethack": {
        "paper": Named(
            "Tuyls et al.: human monks, actions sampled from the policy, at most 100,000 steps.",
            {"character": "mon-hum-neu-mal", "max_steps": 100_000, "temperature": 1.0},
        ),
        "paper-roles": Named(
            "The same with random roles.",
            {"character": "@", "max_steps": 100_000, "temperature": 1.0},
        ),
        "nle-challenge": Named(
            "The NeurIPS 2021 NetHack Challenge: random roles, at most 1,000,000 steps, NLE's limit without a turn.",
            {"character": "@", "max_steps": 1_000_000, "temperature": 1.0},
        ),
        "greedy": Named(
            "Human monks, always the most probable action, at most 100,000 steps.",
            {"character": "mon-hum-neu-mal", "max_steps": 100_000, "temperature": 0.0},
        ),
    },
    "atari": {
        "paper": Named(
            "The paper's settings: full games, actions sampled from the policy.",
            {"setting": "paper", "temperature": 1.0},
        ),
        "sb3": Named(
            "Stable-Baselines3's wrappers, no sticky actions; actions sampled, as RL Baselines3 Zoo evaluates Atari.",
            {"setting": "sb3", "temperature": 1.0},
        ),
        "machado": Named(
            "Machado et al. (2018): frame skip 5, at most five minutes, no random start; actions sampled.",
            {"setting": "machado", "temperature": 1.0},
        ),
        "greedy": Named(
            "The paper's settings, always the most probable action.",
            {"setting": "paper", "temperature": 0.0},
        ),
    },
}
"""By the family of a game."""


def resolved(family: str, name: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The options of a named protocol with those that are given, and its name: a name of its own if they differ.

    Args:
        family: The game's family.
        name: The protocol's name.
        given: Options by name; None where nothing is given.

    Raises:
        UserError: There is no such protocol.
    """
    known = PROTOCOLS.get(family, {})
    if name not in known:
        raise UserError(f"no protocol {name!r} of {family}: choose from {', '.join(known) or 'none'}")
    named = known[name].options
    changed = {key: value for key, value in given.items() if value is not None and value != named.get(key)}
    words = [f"{key.replace('_', ' ')} {value}" for key, value in sorted(changed.items())]
    return {**named, **changed}, ", ".join([name, *words])
