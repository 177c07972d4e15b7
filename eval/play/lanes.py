"""Parallel play on a vector environment: one row per finished game.

Dimension in names: L lanes, the environments of the vector environment. A lane whose game has ended starts the game of
the next seed. A game depends on its seed and the policy, not on its lane.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from agents.spec import Agent, Params
from data.common.cli import UserError
from data.experts.registry import Expert
from data.games.base import Player
from eval.play.options import OnGame, PlayOptions, Task
from eval.play.policy import act, fresh_carry
from eval.play.records import EpisodeRow
from eval.play.sampling import Sampling
from eval.progress import Progress

LANES = 64
"""Number of games in parallel by default."""


class VectorGame(Protocol):
    """A vector environment with one game per lane."""

    truncated: np.ndarray
    """bool [L]: the last step truncated the game (the environment's own limit)."""

    def reset(self, seeds: np.ndarray, lane_L: np.ndarray | None = None) -> Any:
        """Start new games and return the observations of all lanes.

        Args:
            seeds: One seed for each lane to reset.
            lane_L: bool [L], the lanes to reset; None resets all.
        """
        ...

    def step(self, actions: np.ndarray, /) -> tuple[Any, np.ndarray, np.ndarray]:
        """Step every lane.

        Args:
            actions: int [L], indices into the action table.

        Returns:
            Observations, rewards float64 [L], and bool [L] whether the game ended (terminated or truncated).
        """
        ...


Chooser = Callable[[Any, np.ndarray, np.ndarray], np.ndarray]
"""Maps observations, game seeds uint32 [L] and timesteps uint32 [L] to actions int [L]."""


def lanes_for(lanes: int | None, seeds: Sequence[int]) -> int:
    """Return the number of lanes to use: at most one per seed, and at least two; by default at most `LANES`.

    XLA may compute a batch of one with other rounding than a row of a larger batch, which would make results depend on
    the number of lanes.
    """
    return max(2, min(lanes or LANES, len(seeds)))


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
    """Play one game per seed to its end.

    Args:
        env: The vector environment.
        lanes: L, its number of lanes.
        seeds: Seeds of the games, distinct integers below 2^31.
        choose: Selects the actions.
        max_steps: Truncate games after this many timesteps; None sets no limit.
        progress: Whether to show a progress bar on stderr.
        on_game: Called with each row as soon as its game has ended.

    Returns:
        One row per game, ordered by seed.

    Raises:
        ValueError: The seeds are not distinct, or out of range.
    """
    if len(set(seeds)) != len(seeds) or not all(0 <= seed < 2**31 for seed in seeds):
        raise ValueError("seeds must be distinct integers from 0 to 2**31 - 1")
    queue = deque(seeds[lanes:])
    seed_L = np.resize(np.array(seeds[:lanes], np.uint32), lanes)
    timestep_L, score_L = np.zeros(lanes, np.uint32), np.zeros(lanes)
    active_L = np.arange(lanes) < len(seeds)
    rows: list[EpisodeRow] = []
    observation = env.reset(seed_L)
    with Progress(len(seeds), progress) as bar:
        while active_L.any():
            observation, rewards, ended_L = env.step(choose(observation, seed_L, timestep_L))
            score_L += rewards
            timestep_L += 1
            truncated_L = env.truncated | (~ended_L & (timestep_L == (max_steps or 0)))
            ended = np.flatnonzero(active_L & (ended_L | truncated_L))
            bar.add(int(active_L.sum()), len(ended))
            for lane in ended:
                row = EpisodeRow(
                    seed=int(seed_L[lane]),
                    score=float(score_L[lane]),
                    steps=int(timestep_L[lane]),
                    truncated=bool(truncated_L[lane]),
                )
                rows.append(row)
                if on_game is not None:
                    on_game(row)
            fresh, active_L[ended] = ended[: len(queue)], False
            if len(fresh):
                active_L[fresh] = True
                seed_L[fresh] = [queue.popleft() for _ in fresh]
                timestep_L[fresh], score_L[fresh] = 0, 0
                observation = env.reset(seed_L[fresh], np.isin(np.arange(lanes), fresh))
    return sorted(rows, key=lambda row: row.seed)


def by_agent(
    agent: Agent, params: Params, lanes: int, seed: int, sampling: Sampling, batch: Callable[[Any], dict[str, Any]]
) -> Chooser:
    """Return a chooser that samples actions from an agent's policy; see `eval.play.policy.act`.

    Args:
        agent: The agent. The chooser keeps its carry between calls.
        params: Its parameters.
        lanes: L, the number of lanes.
        seed: Seed of the sampling of actions.
        sampling: How actions are chosen.
        batch: Converts the environment's observations to the agent's, arrays [L, 1, ...].
    """
    key = jax.random.key(seed)
    carry = fresh_carry(agent, lanes)

    def choose(observation: Any, seed_L: np.ndarray, timestep_L: np.ndarray) -> np.ndarray:
        nonlocal carry
        first_Lx1 = (timestep_L == 0)[:, None]
        actions, carry = act(agent, sampling, params, key, batch(observation), first_Lx1, seed_L, timestep_L, carry)
        return np.asarray(actions)

    return choose


def by_expert(expert: Expert, each: Callable[[Any], Sequence[Any]]) -> Chooser:
    """Return a chooser that plays with an expert.

    Args:
        expert: The expert. Every game gets a new player, seeded with the game's seed.
        each: Splits the environment's observations into one per lane.
    """
    players: dict[int, Player] = {}

    def choose(observation: Any, seed_L: np.ndarray, timestep_L: np.ndarray) -> np.ndarray:
        for lane in np.flatnonzero(timestep_L == 0).tolist():
            players[lane] = expert.player(int(seed_L[lane]))
        return np.array([players[lane].act(one) for lane, one in enumerate(each(observation))])

    return choose


class LanePlay:
    """Evaluation on the lanes of a vector environment. Implements `eval.play.options.Play`."""

    Row = EpisodeRow
    records = False

    def __init__(
        self,
        make: Callable[[str, int, int, int | None], VectorGame],
        *,
        environment: Callable[[str], str],
        batch: Callable[[Any], dict[str, Any]],
        each: Callable[[Any], Sequence[Any]],
    ) -> None:
        """Describe a family of games.

        Args:
            make: From the name of the game, lanes, threads, and the length of the action table (None: the usual one)
                to an environment.
            environment: From the name of the game to a description of the environment and its settings.
            batch: From the environment's observations to the agent's, arrays [L, 1, ...].
            each: From the environment's observations to one observation per lane, as players see it.
        """
        self._make, self._environment, self._batch, self._each = make, environment, batch, each

    def check(self, game: str, options: PlayOptions, seeds: Sequence[int]) -> None:
        """Check that no character is set and that all seeds are below 2^31.

        Raises:
            UserError: An option is not supported or a seed is out of range.
        """
        if options.character is not None:
            raise UserError(f"{game} has no characters: leave --character out")
        if any(seed >= 2**31 for seed in seeds):
            raise UserError(f"seed must lie below 2^31 - episodes for {game}, not be {min(seeds)}")

    def environment(self, game: str, options: PlayOptions) -> str:
        """Return a description of the environment and its settings."""
        return self._environment(game)

    def play_agents(self, tasks: Sequence[Task], game: str, options: PlayOptions, *, progress: bool = True) -> None:
        """Play games with agents. See `eval.play.options.Play`."""
        for task in tasks:
            lanes = lanes_for(options.lanes, task.seeds)
            choose = by_agent(task.agent, task.params(), lanes, options.seed, options.sampling, self._batch)
            self._play(game, task.agent.actions, task.seeds, choose, options, progress, task.on_game)

    def play_expert(
        self,
        expert: Expert,
        seeds: Sequence[int],
        options: PlayOptions,
        *,
        progress: bool = True,
        on_game: OnGame | None = None,
    ) -> list[EpisodeRow]:
        """Play games with an expert. See `eval.play.options.Play`."""
        choose = by_expert(expert, self._each)
        return self._play(expert.game, expert.actions, seeds, choose, options, progress, on_game)

    def _play(
        self,
        game: str,
        actions: int | None,
        seeds: Sequence[int],
        choose: Chooser,
        options: PlayOptions,
        progress: bool,
        on_game: OnGame | None,
    ) -> list[EpisodeRow]:
        if not seeds:
            return []
        lanes = lanes_for(options.lanes, seeds)
        env = self._make(game, lanes, options.workers, actions)
        return play_lanes(env, lanes, seeds, choose, max_steps=options.max_steps, progress=progress, on_game=on_game)
