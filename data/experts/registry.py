"""Lookup of experts by name, for data collection and evaluation."""

import functools
import hashlib
import importlib
import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from data.common.cli import UserError
from data.experts import sequence
from data.experts.random import RandomPlayer
from data.games import registry
from data.games.base import Content, Game, Player

RANDOM, EMBEDDED = "random", "embedded"
_ALIASES = {"expert": EMBEDDED}
CHOICES = f"{EMBEDDED}, {RANDOM}, module:function, or the path of a trained policy or of a JSON list of actions"

Factory = Callable[[int], Player]
"""Creates the player of an episode from the episode's seed."""


@dataclass(frozen=True)
class Expert:
    """Specification of an expert. Picklable: worker processes load the policy themselves."""

    game: str
    name: str
    """As given on the command line: `embedded`, `random`, `module:function`, or a path."""
    identity: str
    """Identifies the expert's behavior: its name, or the hash of a trained policy or of a module's source."""
    title: str
    """Name in the manifest of a store."""
    actions: int | None = None
    """Length of the expert's action table; None for the game's default one."""

    @property
    def content(self) -> Content:
        """Content of a store of the expert's episodes."""
        return registry.find(self.game).content(self.actions)

    def player(self, seed: int) -> Player:
        """Create the player of the episode of this seed.

        Raises:
            UserError: The expert's policy or source changed since `find` returned it.
        """
        return _factory(self)(seed)


def find(game: Game, name: str) -> Expert:
    """Find an expert of a game by name.

    Args:
        game: The game.
        name: `embedded` (or `expert`), `random`, `module:function`, or the path of a trained policy or of a fixed
            sequence of actions (`data.experts.sequence`). A function or class whose first parameter is called `seed` is
            called once per episode and returns a `Player`. Any other function is the policy itself, from observation to
            action.

    Raises:
        UserError: The game has no expert of this name, or it cannot be loaded.
    """
    name = _ALIASES.get(name, name)
    game.content()  # raises for an environment that can't be recorded, whatever the expert
    if name == RANDOM:
        return Expert(game.name, name, name, name)
    if name == EMBEDDED:
        if game.embedded is None:
            raise UserError(f"{game.name} has no embedded expert: choose {CHOICES.removeprefix(f'{EMBEDDED}, ')}")
        return Expert(game.name, name, name, name)
    if name.endswith(sequence.SUFFIX):
        return Expert(game.name, name, _moves(game, name).digest, Path(name).stem)
    policy = _trained(game, name)
    if policy is not None:
        return _expert_of(game, name, policy)
    if ":" in name:
        return Expert(game.name, name, f"{name} {_source_hash(load(name))}", name)
    raise UserError(f"unknown expert {name!r} of {game.name}: choose {CHOICES}")


def load(name: str) -> Any:
    """Import the object that `module:name` refers to.

    Raises:
        UserError: There is no such module, or it has no such attribute.
    """
    place, _, attribute = name.partition(":")
    try:
        return functools.reduce(getattr, attribute.split("."), importlib.import_module(place))
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise
        raise UserError(f"no module {place!r} for {name}: run where it can be imported, or mend the name") from error
    except AttributeError as error:
        raise UserError(f"module {place!r} has no {attribute!r}: mend {name}") from error


@functools.lru_cache(maxsize=4)
def _factory(expert: Expert) -> Factory:
    """Load the factory of an expert's players. Cached per process."""
    game = registry.find(expert.game)
    if expert.name == RANDOM:
        return functools.partial(RandomPlayer, actions=len(expert.content.actions))
    if expert.name == EMBEDDED:
        assert game.embedded is not None, "checked when the expert was found"
        return load(game.embedded)
    policy = None if expert.name.endswith(sequence.SUFFIX) else _trained(game, expert.name)
    current = find(game, expert.name) if policy is None else _expert_of(game, expert.name, policy)
    if current != expert:
        raise UserError(f"{expert.name} changed while it played: start the same command again")
    if policy is not None:
        return importlib.import_module(cast(str, game.policies)).players(policy)
    if expert.name.endswith(sequence.SUFFIX):
        moves = _moves(game, expert.name)
        return lambda _: sequence.SequencePlayer(moves)
    make, actions = _factory_of(load(expert.name), expert.name), len(expert.content.actions)
    return lambda seed: _Checked(make(seed), expert.name, actions)


def _moves(game: Game, name: str) -> sequence.Moves:
    """The fixed sequence of actions in a file."""
    return sequence.load(Path(name), game.action_names(game.content().actions))


def _trained(game: Game, name: str) -> Any:
    """Load the trained policy at the path `name`; None if there is none, or the game has no trained policies."""
    if game.policies is None or not Path(name).exists():
        return None
    return importlib.import_module(game.policies).load(Path(name), game.name)


def _expert_of(game: Game, name: str, policy: Any) -> Expert:
    """Specification of a trained policy that is loaded."""
    actions, usual = len(policy.actions), len(game.content().actions)
    return Expert(game.name, name, policy.digest, policy.name, None if actions == usual else actions)


def _factory_of(made: Any, name: str) -> Factory:
    """Convert a user's function or class to a factory of players."""
    if not callable(made):
        raise UserError(f"{name} is no function: name one from observation to action, or from a seed to a player")
    try:
        parameters = list(inspect.signature(made).parameters)
    except ValueError:  # a builtin without a signature
        parameters = []
    if parameters[:1] == ["seed"]:
        return cast(Factory, made)
    if inspect.isclass(made):
        raise UserError(f"{name} is a class whose first parameter is not `seed`: name one from a seed to a player")
    return lambda _: _Policy(made)


class _Policy:
    """Player that calls a function from observation to action."""

    def __init__(self, policy: Callable[[Any], Any]) -> None:
        self._policy = policy

    def act(self, observation: Any, /) -> int:
        return self._policy(observation)


class _Checked:
    """Wrapper of a user's player that checks its actions against the action table."""

    def __init__(self, player: Player, name: str, actions: int) -> None:
        if not hasattr(player, "act"):
            raise UserError(f"{name} gives {player!r}, which has no method `act`: give a player, or name a policy")
        self._player, self._name, self._actions = player, name, actions

    def act(self, observation: Any, /) -> int:
        action = self._player.act(observation)
        try:
            index = operator.index(action)
        except TypeError:
            index = -1
        if not 0 <= index < self._actions:
            raise UserError(f"{self._name} answers {action!r}: give an action from 0 to {self._actions - 1}")
        return index


def _source_hash(made: Any) -> str:
    """Hash the source file of a function or class; empty if it has none."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(made))
    except TypeError:
        file = None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else ""
