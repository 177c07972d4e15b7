"""Play on small vector environments, while the policy computes the actions of others: one row per finished game.

Dimension in names: L lanes, the games that a tile plays side by side. A lane whose game has ended starts the game of
the next seed. A game depends on its seed and the policy, not on its lane: the policy always computes the actions of
a whole tile.
"""

import functools
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import numpy as np

from agents.spec import Agent, Params
from data.common.cli import UserError
from data.experts.registry import Expert
from data.games.base import Player
from eval.film import Film
from eval.play.options import OnGame, PlayOptions, Task, check_seeds
from eval.play.policy import act, fresh_carry
from eval.play.records import EpisodeRow
from eval.play.sampling import Sampling
from eval.progress import Progress, Shares

TILES = 2
"""Tiles by default: one steps its games while the actions of the other are computed."""
TILE, TILE_OF_ACCELERATORS = 16, 64
"""Lanes of a compiled step: always the same, since XLA may round a batch of another shape otherwise."""


class VectorGame(Protocol):
    """A vector environment of a few lanes, which all step together."""

    truncated: np.ndarray
    """bool [lanes]: the last step truncated the game (the environment's own limit)."""
    anew: np.ndarray
    """bool [lanes]: the observation does not continue the one before, though it is of the same game."""

    def reset(self, seeds: np.ndarray, mask: np.ndarray, /) -> list[Any]:
        """Start new games in the lanes where `mask` is true, one for each seed; the observations of all lanes."""
        ...

    def send(self, actions: np.ndarray, /) -> None:
        """Begin to step every lane, by indices into the action table."""
        ...

    def receive(self) -> tuple[list[Any], np.ndarray, np.ndarray]:
        """Wait for the step: observations, rewards float64, and bool whether the game ended (also by truncation)."""
        ...


class Feed(Protocol):
    """Makes the agent's observations, arrays [L, 1, ...], of those of the lanes of a tile, step by step."""

    def __call__(self, observations: Sequence[Any], first_L: np.ndarray, /) -> dict[str, Any]:
        """Observations of the lanes (None where there is no game), and where one does not continue the one before."""
        ...


@dataclass(frozen=True)
class Family:
    """What differs between families of games."""

    make: Callable[[str, int, int | None, PlayOptions], VectorGame]
    """From the name of the game, lanes, and length of the action table (None: the usual one) to an environment."""
    cell: Callable[[PlayOptions], int]
    """Lanes of an environment. Fewer idle at the end of an evaluation, more cost less of Python's time."""
    environment: Callable[[str, PlayOptions], str]
    """From the name of the game to a description of the environment and its settings."""
    feed: Callable[[int], Feed]
    """From the number of lanes of a tile to what feeds an agent."""
    step: Callable[[str, Any, int], Any]
    """From the name of the game, an observation and an action to a step of the game's own steps type, to show."""


Chooser = Callable[["Tile"], np.ndarray]
"""Chooses the actions of a tile, int [L]."""


@dataclass
class _Job:
    """The games of one policy."""

    chooser: Callable[[], Chooser]
    """Begins to play a tile."""
    seeds: deque[int]
    on_game: OnGame
    actions: int | None
    """Length of the action table."""
    films: dict[int, Film] = field(default_factory=dict)
    """Films of the games by seed, to which each step is added, or none."""


class Tile:
    """Lanes whose actions a policy computes together, and their environments."""

    job: _Job
    choose: Chooser
    """What it plays, and how."""

    def __init__(self, width: int) -> None:
        self._envs: list[VectorGame] = []
        self._made: tuple[int | None, int] = None, 0
        self.observations: list[Any] = [None] * width
        """The observation of each lane, as players see it; None without a game."""
        self.active, self.anew = np.zeros(width, bool), np.zeros(width, bool)
        """bool [L]: whether the lane has a game, and whether its observation does not continue the one before."""
        self.seed, self.timestep = np.zeros(width, np.uint32), np.zeros(width, np.uint32)
        """uint32 [L]."""
        self.truncated, self.ended = np.zeros(width, bool), np.zeros(width, bool)
        """bool [L]: how the last step left the game."""
        self.score = np.zeros(width)
        """float64 [L]: the sum of the rewards so far."""

    def furnish(
        self, lanes: int, cell: int, actions: int | None, make: Callable[[int, int | None], VectorGame]
    ) -> None:
        """Have environments for so many lanes, of `cell` lanes each."""
        if self._made != (actions, cell):
            self._envs, self._made = [], (actions, cell)
        while len(self._envs) * cell < lanes:
            self._envs.append(make(cell, actions))

    def begin(self, seeds: dict[int, int]) -> None:
        """Start the games of these seeds, by lane."""
        for env, lanes in self._cells():
            fresh = [lane for lane in range(lanes.start, lanes.stop) if lane in seeds]
            if not fresh:
                continue
            mask = np.isin(np.arange(lanes.start, lanes.stop), fresh)
            found = env.reset(np.array([seeds[lane] for lane in fresh], np.uint32), mask)
            for lane in fresh:
                self.observations[lane] = found[lane - lanes.start]
                self.active[lane], self.anew[lane] = True, True
                self.seed[lane], self.timestep[lane], self.score[lane] = seeds[lane], 0, 0

    def send(self, actions: np.ndarray) -> None:
        """Begin a step of the lanes with games."""
        for env, lanes in self._cells():
            if self.active[lanes].any():
                env.send(actions[lanes])

    def receive(self) -> None:
        """Wait for the step."""
        self.timestep[self.active] += 1
        self.ended[:] = self.truncated[:] = False
        for env, lanes in self._cells():
            if self.active[lanes].any():
                self.observations[lanes], rewards, self.ended[lanes] = env.receive()
                self.score[lanes] += rewards
                self.truncated[lanes], self.anew[lanes] = env.truncated, env.anew

    def _cells(self) -> Iterator[tuple[VectorGame, slice]]:
        cell = self._made[1]
        return ((env, slice(number * cell, (number + 1) * cell)) for number, env in enumerate(self._envs))


class LanePlay:
    """Evaluation on the lanes of small vector environments. Implements `eval.play.options.Play`."""

    Row = EpisodeRow
    records = False

    def __init__(self, family: Family) -> None:
        self._family = family

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
        return self._family.environment(game, options)

    def play_agents(self, tasks: Sequence[Task], game: str, options: PlayOptions, *, progress: bool = True) -> None:
        """Play games with agents. See `eval.play.options.Play`."""
        self._play([self._job(task, options) for task in tasks], game, options, progress)

    def film_agents(self, tasks: Sequence[Task], game: str, options: PlayOptions) -> list[dict[int, Film]]:
        """Films of the games of agents. See `eval.play.options.Play`."""
        jobs = [self._job(task, options, {seed: Film() for seed in task.seeds}) for task in tasks]
        self._play(jobs, game, options, progress=False)
        return [job.films for job in jobs]

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
        rows: list[EpisodeRow] = []

        def add(row: EpisodeRow) -> None:
            rows.append(row)
            if on_game is not None:
                on_game(row)

        check_seeds(seeds)
        job = _Job(lambda: by_expert(expert), deque(seeds), add, expert.actions)
        self._play([job], expert.game, options, progress)
        return sorted(rows, key=lambda row: row.seed)

    def _job(self, task: Task, options: PlayOptions, films: dict[int, Film] | None = None) -> _Job:
        check_seeds(task.seeds)
        params = functools.cache(task.params)

        def chooser() -> Chooser:
            return by_agent(task.agent, params(), options.seed, options.sampling, self._family.feed)

        return _Job(chooser, deque(task.seeds), task.on_game, task.agent.actions, films or {})

    def _play(self, jobs: Sequence[_Job], game: str, options: PlayOptions, progress: bool) -> None:
        """Play jobs, one after the other; while the last games of one are played, those of the next begin."""
        total, begin = sum(len(job.seeds) for job in jobs), time.perf_counter()
        width = TILE if jax.default_backend() == "cpu" else TILE_OF_ACCELERATORS
        lanes = min(options.lanes or TILES * width, total)
        rollout = _Rollout(self._family, game, options, jobs)
        tiles = deque(Tile(width) for _ in range(math.ceil(lanes / width)))
        with Progress(total, progress) as bar:
            tiles = deque(tile for tile in tiles if rollout.open(tile, min(width, lanes)))
            while tiles:
                tile = tiles.popleft()
                bar.add(*rollout.step(tile))
                if tile.active.any() or rollout.open(tile, min(width, lanes)):
                    tiles.append(tile)
        if progress and total:
            rollout.shares.wall = time.perf_counter() - begin
            print(rollout.shares, file=sys.stderr)


class _Rollout:
    """The jobs that tiles play, one tile after the other: while one chooses its actions, others step their games."""

    def __init__(self, family: Family, game: str, options: PlayOptions, jobs: Sequence[_Job]) -> None:
        self.shares = Shares()
        self._family, self._game, self._options, self._jobs = family, game, options, deque(jobs)

    def open(self, tile: Tile, lanes: int) -> bool:
        """Let a tile without games begin those of the next job; whether there is one."""
        while self._jobs and not self._jobs[0].seeds:
            self._jobs.popleft()
        if not self._jobs:
            return False
        job = self._jobs[0]
        tile.job, tile.choose = job, job.chooser()
        cell, count = self._family.cell(self._options), min(lanes, len(job.seeds))
        make = self._family.make
        tile.furnish(count, cell, job.actions, lambda lanes, table: make(self._game, lanes, table, self._options))
        tile.begin({lane: job.seeds.popleft() for lane in range(count)})
        self._send(tile)
        return True

    def step(self, tile: Tile) -> tuple[int, int]:
        """Complete a step of a tile and begin the next; the number of steps and of ended games."""
        begin = time.perf_counter()
        tile.receive()
        self.shares.idle += time.perf_counter() - begin
        truncated = tile.truncated | (~tile.ended & (tile.timestep == (self._options.max_steps or 0)))
        over, steps = np.flatnonzero(tile.active & (tile.ended | truncated)).tolist(), int(tile.active.sum())
        for lane in over:
            seed, score, length = int(tile.seed[lane]), float(tile.score[lane]), int(tile.timestep[lane])
            tile.active[lane] = False
            tile.job.on_game(EpisodeRow(seed, score, length, bool(truncated[lane])))
        seeds = tile.job.seeds
        tile.begin({lane: seeds.popleft() for lane in over[: len(seeds)]})
        if tile.active.any():
            self._send(tile)
        self.shares.steps += steps
        return steps, len(over)

    def _send(self, tile: Tile) -> None:
        begin = time.perf_counter()
        actions = tile.choose(tile)
        self.shares.inference += time.perf_counter() - begin
        films = tile.job.films
        for lane in np.flatnonzero(tile.active).tolist() if films else ():
            film = films[int(tile.seed[lane])]
            film.add(self._family.step(self._game, tile.observations[lane], int(actions[lane])))
        tile.send(actions)


def by_agent(agent: Agent, params: Params, seed: int, sampling: Sampling, make_feed: Callable[[int], Feed]) -> Chooser:
    """Sample actions from an agent's policy; see `eval.play.policy.act`. The chooser keeps the agent's carry.

    Args:
        agent: The agent.
        params: Its parameters.
        seed: Seed of the sampling of actions.
        sampling: How actions are chosen.
        make_feed: See `Family.feed`.
    """
    key, feed, carry = jax.random.key(seed), None, None

    def choose(tile: Tile) -> np.ndarray:
        nonlocal feed, carry
        width = len(tile.active)
        feed, carry = feed or make_feed(width), fresh_carry(agent, width) if carry is None else carry
        first_Lx1 = (tile.timestep == 0)[:, None]
        observation = feed(tile.observations, tile.anew)
        actions, carry = act(
            agent, sampling, params, key, observation, first_Lx1, tile.seed.copy(), tile.timestep.copy(), carry
        )
        return np.asarray(actions)

    return choose


def by_expert(expert: Expert) -> Chooser:
    """Play with an expert: every game gets a new player, seeded with the game's seed."""
    players: dict[int, Player] = {}

    def choose(tile: Tile) -> np.ndarray:
        actions = np.zeros(len(tile.active), np.int64)
        for lane in np.flatnonzero(tile.active).tolist():
            if not tile.timestep[lane]:
                players[lane] = expert.player(int(tile.seed[lane]))
            actions[lane] = players[lane].act(tile.observations[lane])
        return actions

    return choose
