"""Who plays in a worker process: an agent, or an expert. Picklable, and the same for all games of a task.

Dimension in names: L lanes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from agents.spec import Agent
from data.games.base import Player
from eval.engine.game import ChallengeGame, recorded
from eval.play.sampling import Sampling


class Lanes(Protocol):
    """The games that a worker plays side by side, as a policy sees them."""

    observation: dict[str, np.ndarray]
    """Arrays [L, ...] of the observation spec, but that characters are as on NLE's terminal."""
    seed: np.ndarray
    """uint32 [L]: seed of each lane's game."""
    timestep: np.ndarray
    """uint32 [L]: its timestep."""
    active: np.ndarray
    """bool [L]: whether the lane has a game."""

    def game(self, lane: int) -> ChallengeGame:
        """The game of an active lane."""
        ...


Chooser = Callable[[], list[int]]
"""Chooses an action for each lane; those of lanes without a game are ignored."""


class Policy(Protocol):
    """Who plays the games of a task."""

    def chooser(self, games: Lanes) -> Chooser:
        """Begin to play these lanes."""
        ...


@dataclass(frozen=True)
class AgentPolicy:
    """An agent, compiled for as many lanes as there are. Implements `Policy`."""

    agent: Agent
    params: Any
    """Its parameters, NumPy arrays."""
    key_seed: int
    """Seed for sampling actions."""
    sampling: Sampling

    def chooser(self, games: Lanes) -> Chooser:
        """See `Policy`. The chooser keeps the agent's carry."""
        import jax

        from eval.play.policy import sampler

        params = jax.device_put(self.params)
        sample = sampler(self.agent, self.sampling, params, self.key_seed, len(games.seed))

        def choose() -> list[int]:
            observation = {name: array[:, None] for name, array in games.observation.items()}
            observation["chars"] = recorded(observation["chars"])
            return sample(observation, games.seed, games.timestep).tolist()

        return choose


class Experts(Protocol):
    """Creates a player for each game, as `data.experts.registry.Expert` does."""

    def player(self, seed: int) -> Player:
        """The player of the game of this seed."""
        ...


@dataclass(frozen=True)
class ExpertPolicy:
    """An expert: each game has a player, seeded with the game's seed. Implements `Policy`."""

    expert: Experts

    def chooser(self, games: Lanes) -> Chooser:
        """See `Policy`. On screens that NLE pages past by itself, the expert is not asked."""
        players: dict[int, Player] = {}

        def action(lane: int) -> int:
            game = games.game(lane)
            if games.timestep[lane] == 0:
                players[lane] = self.expert.player(int(games.seed[lane]))
            return 0 if game.opening else players[lane].act(game.observation)

        return lambda: [action(lane) if active else 0 for lane, active in enumerate(games.active.tolist())]
