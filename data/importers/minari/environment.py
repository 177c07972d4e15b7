"""What a Minari dataset says of the environment that it was recorded in: Gymnasium's spec, and the dataset's id."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from data.common.cli import UserError
from data.games import atari
from data.games.arcade import PAPER

_SKIPS = ("frame_skip", "frameskip", "skip")


@dataclass(frozen=True)
class Environment:
    """An environment's spec; empty where the dataset has none."""

    id: str | None
    arguments: Mapping[str, Any]
    wrappers: tuple[tuple[str, Mapping[str, Any]], ...]
    """Name and arguments of each, innermost first."""


def environment_of(metadata: Mapping[str, Any]) -> Environment:
    """The environment in a dataset's metadata.

    Raises:
        UserError: Its spec is damaged.
    """
    recorded = metadata.get("env_spec")
    if not recorded:
        return Environment(None, {}, ())
    try:
        spec = json.loads(recorded)
        wrappers = tuple((str(one["name"]), dict(one.get("kwargs") or {})) for one in spec["additional_wrappers"])
        return Environment(str(spec["id"]), dict(spec["kwargs"]), wrappers)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"the dataset's env_spec is damaged ({error!r}): copy the dataset again") from error


def atari_game(environment: Environment, dataset: str | None) -> str | None:
    """The Atari game of an environment or, without one, that the dataset's id names; None if neither tells."""
    names = {rom: name for name, rom in atari.games().items()}
    if rom := environment.arguments.get("game"):
        return names.get(str(rom), str(rom))
    if environment.id is not None:
        return atari.game_of(environment.id) or environment.id
    words = re.split(r"[/\-]", dataset.lower()) if dataset else []
    return next((names[word] for word in words if word in names), None)


def check_actions(environment: Environment, game: str, count: int) -> None:
    """Check that a dataset's actions are those of ALE.

    Raises:
        UserError: A wrapper changes them, or they are of another number than the environment's.
    """
    for name, _ in environment.wrappers:
        if "action" in name.lower() and "repeat" not in name.lower():
            raise UserError(f"the dataset's wrapper {name} changes what actions mean: give one without")
    if "full_action_space" in environment.arguments:
        full = bool(environment.arguments["full_action_space"])
        expected = len(atari.content(game, 18 if full else None).actions)
        if count != expected:
            kind = "full" if full else "minimal"
            raise UserError(f"the dataset has {count} actions, its environment's {kind} action set {expected}")


def setting_of(environment: Environment) -> dict[str, Any]:
    """How the environment differs from ours in what it says: facts for a manifest, by name."""
    if environment.id is None:
        return {"environment": "unknown"}
    facts: dict[str, Any] = {"environment": environment.id}
    skips = list(_skips(environment))
    facts["frame_skip"] = _product(skips)
    if "repeat_action_probability" in environment.arguments:
        facts["sticky"] = float(environment.arguments["repeat_action_probability"])
    facts["life_loss_ends"] = any(
        arguments.get("terminal_on_life_loss") or "life" in name.lower() for name, arguments in environment.wrappers
    )
    return facts


def differences(facts: Mapping[str, Any]) -> list[str]:
    """What of `setting_of` differs from the environment that agents play, in words."""
    ours = {"frame_skip": PAPER.frame_skip, "sticky": PAPER.sticky, "life_loss_ends": PAPER.life_by_life}
    words = {"frame_skip": "frame skip", "sticky": "sticky actions", "life_loss_ends": "an end at each loss of a life:"}
    return [
        f"{words[name]} {facts[name]} (ours: {own})"
        for name, own in ours.items()
        if name in facts and facts[name] != own
    ]


def _skips(environment: Environment) -> Iterator[Any]:
    for arguments in (environment.arguments, *(arguments for _, arguments in environment.wrappers)):
        yield from (arguments[name] for name in _SKIPS if name in arguments)


def _product(skips: list[Any]) -> int | str:
    """Frames of a step; text where it is random, as of Pong-v4, which skips 2 to 4."""
    total = 1
    for skip in skips:
        if not isinstance(skip, int):
            return f"{skip}"
        total *= skip
    return total
