"""A fixed sequence of actions, for any game: a JSON file with a list of actions by name or index, which is repeated."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.common.cli import UserError

SUFFIX = ".json"
"""End of such a file's name."""


@dataclass(frozen=True)
class Moves:
    """The sequence."""

    actions: tuple[int, ...]
    """Indices into the action table."""

    @property
    def digest(self) -> str:
        """Identifies the sequence."""
        return hashlib.sha256(json.dumps(self.actions).encode()).hexdigest()[:16]


class SequencePlayer:
    """Repeats a sequence of actions, whatever it observes. Implements `data.games.base.Player`."""

    def __init__(self, moves: Moves) -> None:
        self._actions, self._next = moves.actions, 0

    def act(self, observation: Any, /) -> int:
        """See `data.games.base.Player`."""
        action = self._actions[self._next % len(self._actions)]
        self._next += 1
        return action


def load(path: Path, names: Sequence[str]) -> Moves:
    """Read a sequence for a game whose actions have these names.

    Raises:
        UserError: The file has no list of actions, or one that the game does not have.
    """
    try:
        listed = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no list of actions in JSON: {error}") from None
    if not isinstance(listed, list) or not listed:
        raise UserError(f'{path}: give a list of actions, such as ["{names[0]}", 1]')
    index = {name: number for number, name in enumerate(names)}
    for number, name in enumerate(names):
        index.setdefault(name.split(" ")[0], number)  # NetHack's `^D (KICK)` is `^D`, too.
    for action in listed:
        known = action in index if isinstance(action, str) else type(action) is int and 0 <= action < len(names)
        if not known:
            raise UserError(
                f"{path}: no action {action!r}: give one of {', '.join(names[:6])}, ... or an index below {len(names)}"
            )
    return Moves(tuple(index[action] if isinstance(action, str) else action for action in listed))
