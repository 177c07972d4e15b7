"""Play games side by side, while the policy computes the actions of others: one row per finished game.

Dimension in names: L lanes, the games that a tile plays side by side. A lane whose game has ended starts the game of
the next seed. A game depends on its seed and the policy, not on its lane: the policy always computes the actions of
a whole tile.
"""

import functools
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
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
from eval.play.policy import sampler
from eval.play.records import EpisodeRow
from eval.play.sampling import Sampling
from eval.progress import Progress, Shares

TILES = 2
"""Tiles by default: one steps its games while the actions of the other are computed."""
TILE, TILE_OF_ACCELERATORS = 16, 64
"""Lanes of a compiled step: always the same, since XLA may round a batch of another shape otherwise."""


class LaneGame(Protocol):
    """An environment, which plays one game after the other."""

    truncated: bool
    """Whether the last step truncated the game (the environment's own limit)."""
    anew: bool
    """Whether the last observation does not continue the one before, though it is of the same game."""

    def reset(self, seed: int, /) -> Any:
        """Start the game of a seed, and return its first observation. Called in any thread."""
        ...

    def send(self, action: int, /) -> None:
        """Begin a step, by the index of its action."""
        ...

    def receive(self) -> tuple[Any, float, bool]:
        """Wait for the step: the observation, the reward, and whether the game ended (also by truncation)."""
        ...


class Feed(Protocol):
    """Makes the agent's observations, arrays [L, 1, ...], of those of the lanes of a tile, step by step."""

    def __call__(self, observations: Sequence[Any], first_L: np.ndarray, /) -> dict[str, Any]:
        """Observations of the lanes (None where there is no game), and where one does not continue the one before."""
        ...


@dataclass(frozen=True)
class Family:
    """What differs between families of games."""

    make: Callable[[str, int | None, PlayOptions], LaneGame]
    """From the name of the game and the length of the action table (None: the usual one) to an environment."""
    environment: Callable[[str, PlayOptions], str]
    """From the name of the game to a description of the environment and its settings."""
    feed: Callable[[int], Feed]
    """From the number of lanes of a tile to what feeds an agent."""
    step: Callable[[str, Any, int], Any]
    """From the name of the game, an observation and an action to a step of the game's own steps type, to show."""


Chooser = Callable[["Tile"], np.ndarray]
"""Chooses the actions of a tile, int [L]."""


@dataclass
class Job:
    """The games of one policy."""

    chooser: Callable[[int], Chooser]
    """Begins to play a tile of so many lanes."""
    seeds: deque[int]
    on_game: OnGame
    actions: int | None
    """Length of the action table."""
    films: dict[int, Film] = field(default_factory=dict)
    """Films of the games by seed, to which each step is added, or none."""


class Tile:
    """Lanes whose actions a policy computes together, and their environments."""

    job: Job
    choose: Chooser
    """What it plays, and how."""

    def __init__(self, width: int, threads: ThreadPoolExecutor) -> None:
        """Arrange for so many lanes; `threads` start their games."""
        self._threads = threads
        self._envs: list[LaneGame | None] = [None] * width
        self._actions: int | None = None
        self._starting: dict[int, Future[Any]] = {}
        self.observations: list[Any] = [None] * width
        """The observation of each lane, as players see it; None without a game so far."""
        self.active, self.anew = np.zeros(width, bool), np.zeros(width, bool)
        """bool [L]: whether the lane has a game, and whether its observation does not continue the one before."""
        self.seed, self.timestep = np.zeros(width, np.uint32), np.zeros(width, np.uint32)
        """uint32 [L]."""
        self.truncated, self.ended = np.zeros(width, bool), np.zeros(width, bool)
        """bool [L]: how the last step left the game."""
        self.score = np.zeros(width)
        """float64 [L]: the sum of the rewards so far."""

    @property
    def lanes(self) -> list[int]:
        """The lanes that have a game."""
        return np.flatnonzero(self.active).tolist()

    @property
    def busy(self) -> bool:
        """Whether a lane has a game, or will have one."""
        return bool(self._starting) or bool(self.active.any())

    def furnish(self, actions: int | None) -> None:
        """Keep only environments with an action table of this length."""
        if self._actions != actions:
            self._envs, self._actions = [None] * len(self._envs), actions

    def begin(self, lane: int, seed: int, make: Callable[[], LaneGame]) -> None:
        """Let the game of a seed start in the background: an Atari game takes as long for it as for 200 steps."""

        def start() -> Any:
            env = self._envs[lane] = self._envs[lane] or make()
            return env.reset(seed)

        self.seed[lane], self.timestep[lane], self.score[lane] = seed, 0, 0
        self._starting[lane] = self._threads.submit(start)

    def admit(self) -> None:
        """Take in the games that have started; without others, wait for all that are starting."""
        if not self.active.any():
            wait(self._starting.values())
        for lane in [lane for lane, future in self._starting.items() if future.done()]:
            self.observations[lane] = self._starting.pop(lane).result()
            self.active[lane] = self.anew[lane] = True

    def send(self, actions: np.ndarray) -> None:
        """Begin a step of the lanes with games."""
        self.anew[:] = False
        for lane in self.lanes:
            self._env(lane).send(int(actions[lane]))

    def receive(self) -> None:
        """Wait for the step."""
        self.timestep[self.active] += 1
        self.ended[:] = self.truncated[:] = False
        for lane in self.lanes:
            env = self._env(lane)
            self.observations[lane], reward, self.ended[lane] = env.receive()
            self.score[lane] += reward
            self.truncated[lane], self.anew[lane] = env.truncated, env.anew

    def _env(self, lane: int) -> LaneGame:
        env = self._envs[lane]
        assert env is not None, "a lane with a game has an environment"
        return env


class LanePlay:
    """Evaluation on lanes, each with an environment of its own. Implements `eval.play.options.Play`."""

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
        job = Job(lambda lanes: by_expert(expert), deque(seeds), add, expert.actions)
        self._play([job], expert.game, options, progress)
        return sorted(rows, key=lambda row: row.seed)

    def _job(self, task: Task, options: PlayOptions, films: dict[int, Film] | None = None) -> Job:
        check_seeds(task.seeds)
        params = functools.cache(task.params)

        def chooser(lanes: int) -> Chooser:
            return by_agent(task.agent, params(), options.seed, options.sampling, self._family.feed, lanes)

        return Job(chooser, deque(task.seeds), task.on_game, task.agent.actions, films or {})

    def _play(self, jobs: Sequence[Job], game: str, options: PlayOptions, progress: bool) -> None:
        """Play jobs, one after the other; while the last games of one are played, those of the next begin."""
        total, begin = sum(len(job.seeds) for job in jobs), time.perf_counter()
        width = TILE if jax.default_backend() == "cpu" else TILE_OF_ACCELERATORS
        lanes = min(options.lanes or TILES * width, total)
        with Progress(total, progress) as bar, ThreadPoolExecutor(options.workers) as threads:
            rollout = Rollout(self._family, game, options, jobs, min(width, lanes))
            tiles = [Tile(width, threads) for _ in range(math.ceil(lanes / width))]
            playing = deque(tile for tile in tiles if rollout.open(tile))
            while playing:
                tile = playing.popleft()
                bar.add(*rollout.step(tile))
                if tile.busy or rollout.open(tile):
                    playing.append(tile)
        if progress and total:
            rollout.shares.wall = time.perf_counter() - begin
            print(rollout.shares, file=sys.stderr)


class Rollout:
    """The jobs that tiles play, one tile after the other: while one chooses its actions, others step their games."""

    def __init__(self, family: Family, game: str, options: PlayOptions, jobs: Sequence[Job], lanes: int) -> None:
        """Play in so many lanes of each tile."""
        self.shares = Shares()
        self._family, self._game, self._options, self._jobs = family, game, options, deque(jobs)
        self._lanes = lanes

    def open(self, tile: Tile) -> bool:
        """Let a tile without games begin those of the next job; whether there is one."""
        while self._jobs and not self._jobs[0].seeds:
            self._jobs.popleft()
        if not self._jobs:
            return False
        job = self._jobs[0]
        tile.job, tile.choose = job, job.chooser(len(tile.active))
        tile.furnish(job.actions)
        self._begin(tile, range(self._lanes))
        return True

    def step(self, tile: Tile) -> tuple[int, int]:
        """Complete a step of a tile and begin the next; the number of steps and of ended games."""
        begin = time.perf_counter()
        tile.receive()
        self.shares.idle += time.perf_counter() - begin
        truncated = tile.truncated | (~tile.ended & (tile.timestep == (self._options.max_steps or 0)))
        over, steps = np.flatnonzero(tile.active & (tile.ended | truncated)).tolist(), len(tile.lanes)
        for lane in over:
            seed, score, length = int(tile.seed[lane]), float(tile.score[lane]), int(tile.timestep[lane])
            tile.active[lane] = False
            tile.job.on_game(EpisodeRow(seed, score, length, bool(truncated[lane])))
        self._begin(tile, over)
        tile.admit()
        if tile.active.any():
            self._send(tile)
        self.shares.steps += steps
        return steps, len(over)

    def _begin(self, tile: Tile, lanes: Sequence[int]) -> None:
        job = tile.job
        for lane in lanes[: len(job.seeds)]:
            make = functools.partial(self._family.make, self._game, job.actions, self._options)
            tile.begin(lane, job.seeds.popleft(), make)

    def _send(self, tile: Tile) -> None:
        begin = time.perf_counter()
        actions = tile.choose(tile)
        self.shares.inference += time.perf_counter() - begin
        films = tile.job.films
        for lane in tile.lanes if films else ():
            film = films[int(tile.seed[lane])]
            film.add(self._family.step(self._game, tile.observations[lane], int(actions[lane])))
        tile.send(actions)


def by_agent(
    agent: Agent, params: Params, seed: int, sampling: Sampling, make_feed: Callable[[int], Feed], lanes: int
) -> Chooser:
    """Sample actions from an agent's policy; see `eval.play.policy.sampler`.

    Args:
        agent: The agent.
        params: Its parameters.
        seed: Seed of the sampling of actions.
        sampling: How actions are chosen.
        make_feed: See `Family.feed`.
        lanes: L, the lanes of the tile.
    """
    feed, sample = make_feed(lanes), sampler(agent, sampling, params, seed, lanes)
    return lambda tile: sample(feed(tile.observations, tile.anew), tile.seed, tile.timestep)


def by_expert(expert: Expert) -> Chooser:
    """Play with an expert: every game gets a new player, seeded with the game's seed."""
    players: dict[int, Player] = {}

    def choose(tile: Tile) -> np.ndarray:
        actions = np.zeros(len(tile.active), np.int64)
        for lane in tile.lanes:
            if not tile.timestep[lane]:
                players[lane] = expert.player(int(tile.seed[lane]))
            actions[lane] = players[lane].act(tile.observations[lane])
        return actions

    return choose
