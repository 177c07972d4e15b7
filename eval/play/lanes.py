"""Many games at once on the lanes of a vector environment, played to their end: one row per game.

L lanes; a lane plays one game after another, the next of the seeds as it becomes free. A game is a function of its
seed and of who plays, not of its lane.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from agents.spec import Agent, Params
from data.experts.registry import Expert
from data.games.base import Player
from eval.play.options import OnGame
from eval.play.policy import Progress, act
from eval.play.records import EpisodeRow


class VectorGame(Protocol):
    """One game on every lane."""

    truncated: np.ndarray
    """bool [L], after a step: the game was ended by the environment's own limit."""

    def reset(self, seeds: np.ndarray, lane_L: np.ndarray | None = None) -> Any:
        """Begin games of these seeds, on all lanes or where `lane_L` is true; the observations of all lanes."""
        ...

    def step(self, actions: np.ndarray, /) -> tuple[Any, np.ndarray, np.ndarray]:
        """Take an action on each lane: observations, rewards float64 [L], and bool [L] whether the game ended."""
        ...


Chooser = Callable[[Any, np.ndarray, np.ndarray], np.ndarray]
"""Actions int [L] from the observations, the seeds of the lanes' games, and their timesteps."""


def lanes_for(lanes: int, seeds: Sequence[int]) -> int:
    """How many lanes to use: at least two, since XLA computes a batch of one otherwise than a row of a larger one."""
    return max(2, min(lanes, len(seeds)))


def play_lanes(
    env: VectorGame,
    lanes: int,
    seeds: Sequence[int],
    choose: Chooser,
    *,
    max_steps: int | None = None,
    progress: bool = True,
    on_game: OnGame | None = None,
) -> list[EpisodeRow]:
    """Play the games of `seeds`, distinct integers below 2^31, on an environment of so many lanes; rows in their order.

    Raises:
        ValueError: The seeds are not distinct, or out of range.
    """
    if len(set(seeds)) != len(seeds) or not all(0 <= seed < 2**31 for seed in seeds):
        raise ValueError("seeds must be distinct integers from 0 to 2**31 - 1")
    left = deque(seeds[lanes:])
    seed_L = np.resize(np.array(seeds[:lanes], np.uint32), lanes)
    timestep_L, score_L = np.zeros(lanes, np.uint32), np.zeros(lanes)
    active_L = np.arange(lanes) < len(seeds)
    rows: list[EpisodeRow] = []
    seen = env.reset(seed_L)
    with Progress(len(seeds), progress) as bar:
        while active_L.any():
            seen, rewards, ended_L = env.step(choose(seen, seed_L, timestep_L))
            score_L += rewards
            timestep_L += 1
            truncated_L = env.truncated | (~ended_L & (timestep_L == (max_steps or 0)))
            ended = np.flatnonzero(active_L & (ended_L | truncated_L))
            bar.add(int(active_L.sum()), len(ended))
            for lane in ended:
                told = float(score_L[lane]), int(timestep_L[lane]), bool(truncated_L[lane])
                row = EpisodeRow(int(seed_L[lane]), *told)
                rows.append(row)
                if on_game is not None:
                    on_game(row)
            fresh, active_L[ended] = ended[: len(left)], False
            if len(fresh):
                active_L[fresh] = True
                seed_L[fresh] = [left.popleft() for _ in fresh]
                timestep_L[fresh], score_L[fresh] = 0, 0
                seen = env.reset(seed_L[fresh], np.isin(np.arange(lanes), fresh))
    return sorted(rows, key=lambda row: row.seed)


def by_agent(
    agent: Agent, params: Params, lanes: int, seed: int, temperature: float, batch: Callable[[Any], dict[str, Any]]
) -> Chooser:
    """Actions of a policy, as `eval.play.policy.act` samples them.

    Args:
        agent: The agent; the core's carry is kept from call to call.
        params: Its parameters.
        lanes: Lanes of the environment.
        seed: Seed of the sampling.
        temperature: Softmax temperature.
        batch: From the environment's observations to the agent's, arrays [L, 1, ...].
    """
    key = jax.random.key(seed)
    carry = jax.tree.map(jax.numpy.copy, agent.initial_carry(lanes))

    def choose(seen: Any, seed_L: np.ndarray, timestep_L: np.ndarray) -> np.ndarray:
        nonlocal carry
        first_Lx1 = (timestep_L == 0)[:, None]
        actions, carry = act(agent, temperature, params, key, batch(seen), first_Lx1, seed_L, timestep_L, carry)
        return np.asarray(actions)

    return choose


def by_expert(expert: Expert, each: Callable[[Any], Sequence[Any]]) -> Chooser:
    """Actions of an expert, a player of its own for every game; `each` gives the observations lane by lane."""
    playing: dict[int, Player] = {}

    def choose(seen: Any, seed_L: np.ndarray, timestep_L: np.ndarray) -> np.ndarray:
        for lane in np.flatnonzero(timestep_L == 0).tolist():
            playing[lane] = expert.player(int(seed_L[lane]))
        return np.array([playing[lane].act(observation) for lane, observation in enumerate(each(seen))])

    return choose
