"""Benchmark of NetHack evaluation: `python -m eval bench`.

All rates are environment steps per second, measured on this machine in this run; compare the ratios. What is stepped
are games of the embedded expert: uniformly random keys soon stand in a prompt, where a step costs a tenth.
"""

import contextlib
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from gymnasium.vector import AsyncVectorEnv

from agents.ladder import find
from agents.spec import Agent, Params
from data.common.comparison import Line
from data.common.machine import cores
from data.experts.nethack.player import NetHackExpert
from data.games.challenge import CHARACTER, SCREEN, SeededChallenge
from data.games.keys import KEYS
from eval.checkpoints import load_checkpoint
from eval.config import BenchConfig
from eval.engine.game import ChallengeGame
from eval.engine.vector import NetHackVector
from eval.play.apart import Job, Solos
from eval.play.options import Task
from eval.play.players import AgentPolicy, Chooser, Lanes, Policy
from eval.play.policy import act, fresh_carry
from eval.play.rollout import TILE_OF_ACCELERATORS, Rollout
from eval.play.sampling import Sampling
from eval.play.solo import TILE, Post

GAMES, STEPS, OPENING = 16, 1000, 8
"""Games of the expert, most steps of one, and room for the screens that NLE pages past before the first turn."""

AGENT = "nethack/lstm/64"
"""The agent by default."""

SHORT = 300
"""Steps of a short game, whose start counts."""


@dataclass(frozen=True)
class Moves:
    """Games of the embedded expert, whose actions are played again: the same games for all that is measured."""

    actions_SxT: np.ndarray
    """uint8 [S, T]: the action of the game of seed s at timestep t; games are truncated after T - `OPENING` steps."""
    games: tuple[int, ...] = ()
    """The seeds, if not all."""

    @classmethod
    def recorded(cls, games: int, steps: int) -> "Moves":
        """Let the expert play so many games of at most so many steps."""
        game, actions = ChallengeGame(max_steps=steps), np.zeros((games, steps + OPENING), np.uint8)
        for seed in range(games):
            player, row, timestep = NetHackExpert(seed), None, 0
            game.start(seed)
            while row is None:
                action = 0 if game.opening else player.act(game.observation)
                actions[seed, timestep] = action
                row, timestep = game.step(action), timestep + 1
        game.close()
        return cls(actions)

    @classmethod
    def of(cls, actions: dict[int, list[int]]) -> "Moves":
        """The games, by seed, that have come at least half as far as the longest, so far."""
        steps = max(map(len, actions.values())) // 2
        table = np.zeros((max(actions) + 1, steps), np.uint8)
        far = tuple(sorted(seed for seed, chosen in actions.items() if len(chosen) >= steps))
        for seed in far:
            table[seed] = actions[seed][:steps]
        return cls(table, far)

    @property
    def seeds(self) -> Iterator[int]:
        """The seeds of these games, again and again."""
        return itertools.cycle(self.games or range(len(self.actions_SxT)))

    @property
    def max_steps(self) -> int:
        """Steps after which a game is truncated."""
        return self.actions_SxT.shape[1] - OPENING


def bench(config: BenchConfig) -> Iterator[Line]:
    """Measure and compare, one line at a time."""
    moves = Moves.recorded(GAMES, STEPS)
    raw = raw_rate(moves, config.seconds)
    yield Line("one NLE instance, terminal only", raw, raw, "steps/s", "")
    for games in config.games:
        one = games_rate(moves, games, 1, config.seconds)
        goal = ">= 0.35" if games == 8 else ""
        yield Line(f"{games} games, one core (one instance)", one, raw, "steps/s", goal)
        if cores() > 1:
            goal = f">= {0.9 * cores():.2g}" if games == 8 else ""
            every = games_rate(moves, games, cores(), config.seconds)
            yield Line(f"{games} games a core, {cores()} cores (one core)", every, one, "steps/s", goal)
    for games in config.gymnasium:
        ours = games_rate(moves, math.ceil(games / cores()), cores(), config.seconds)
        theirs = gymnasium_rate(moves, games, config.seconds)
        yield Line(f"{games} games, {cores()} cores (AsyncVectorEnv)", ours, theirs, "steps/s", ">= 3")
    long, short = (games_rate(moves, 8, 1, config.seconds, steps) for steps in (None, SHORT))
    yield Line(f"games of {SHORT} steps (of {STEPS:,})", short, long, "steps/s", ">= 0.77")
    yield from policy_lines(*_policy(config), config.lanes, config.seconds)


def raw_rate(moves: Moves, seconds: float) -> float:
    """Steps per second of one instance of NLE that fills the terminal's arrays alone; starting games is left out."""
    env = SeededChallenge(character=CHARACTER, observation_keys=(*SCREEN, "blstats"))
    nethack: Any = env.nethack._pynethack
    steps, spent = 0, 0.0
    for seed in moves.seeds:
        game = ChallengeGame()
        game.start(seed)
        opening = 0
        while game.opening:
            game.step(0)
            opening += 1
        game.close()
        env.reset_to(seed)
        keys = np.array(KEYS)[moves.actions_SxT[seed, opening:-OPENING]].tolist()
        begin = time.perf_counter()
        for key in keys:
            nethack.step(key)
            steps += 1
            if nethack.done():
                break
        spent += time.perf_counter() - begin
        if spent > seconds:
            break
    env.close()
    return steps / spent


def games_rate(moves: Moves, games: int, workers: int, seconds: float, max_steps: int | None = None) -> float:
    """Steps per second of so many games per worker, with given actions."""
    if jax.default_backend() == "cpu":
        return alone_rate(Replay(moves), moves.seeds, games, workers, seconds, max_steps or moves.max_steps)
    return vector_rate(moves, games, workers, seconds, max_steps)


@dataclass(frozen=True)
class Replay:
    """Plays moves again. Implements `eval.play.players.Policy`."""

    moves: Moves

    def chooser(self, games: Lanes) -> Chooser:
        """See `Policy`."""
        table = self.moves.actions_SxT
        return lambda: table[games.seed, games.timestep].tolist()


def alone_rate(
    policy: Policy, seeds: Iterator[int], games: int, workers: int, seconds: float, max_steps: int | None
) -> float:
    """Steps per second of workers that play alone, so many games each."""
    job = Job(lambda: policy, list(itertools.islice(seeds, 100_000)), lambda row: None)
    with Solos([job], Post(games, CHARACTER, max_steps), workers, games * workers) as solos:
        playing = solos.play()
        while not solos.started:
            next(playing)
        begin, steps = time.perf_counter(), solos.shares().steps
        while time.perf_counter() - begin < seconds:
            next(playing)
        return (solos.shares().steps - steps) / (time.perf_counter() - begin)


def vector_rate(moves: Moves, games: int, workers: int, seconds: float, max_steps: int | None = None) -> float:
    """Steps per second of so many games per worker in shared memory, in two tiles of each."""
    with NetHackVector(2 * workers, max(1, games // 2), workers, max_steps=max_steps or moves.max_steps) as vector:
        return _Drive(
            vector, lambda lanes: moves.actions_SxT[vector.seed[lanes], vector.timestep[lanes]], moves.seeds
        ).rate(seconds)


class _Drive:
    """Steps a vector environment with given actions."""

    def __init__(self, vector: NetHackVector, actions: Callable[[slice], np.ndarray], seeds: Iterator[int]) -> None:
        self._vector, self._actions, self._seeds = vector, actions, seeds
        for tile, lanes in enumerate(vector.tiles):
            for lane in range(lanes.start, lanes.stop):
                self._fill(lane)
            vector.send(tile, np.zeros(vector.tile, np.uint8))
        for _ in vector.tiles:
            self._step()

    def rate(self, seconds: float) -> float:
        """Steps per second."""
        begin, steps = time.perf_counter(), self._vector.steps
        while self._vector.stepping and time.perf_counter() - begin < seconds:
            self._step()
        return (self._vector.steps - steps) / (time.perf_counter() - begin)

    def _step(self) -> None:
        received = self._vector.receive()
        assert received is not None, "it waits"
        tile, ended = received
        for game in ended:
            self._fill(game.lane)
        lanes = self._vector.tiles[tile]
        if self._vector.active[lanes].any():
            self._vector.send(tile, self._actions(lanes))

    def _fill(self, lane: int) -> None:
        seed = next(self._seeds, None)
        if seed is not None:
            self._vector.begin(lane, seed)


def gymnasium_rate(moves: Moves, games: int, seconds: float) -> float:
    """Steps per second of Gymnasium's AsyncVectorEnv."""
    options = {"character": CHARACTER, "observation_keys": SCREEN, "max_episode_steps": moves.max_steps}
    seeds = [seed for seed, _ in zip(moves.seeds, range(games), strict=False)]
    env = AsyncVectorEnv([partial(_Replayed, seed, **options) for seed in seeds], context="spawn")
    with contextlib.closing(env):
        env.reset()
        begin, steps = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            env.step(moves.actions_SxT[seeds, steps // games % moves.max_steps])
            steps += games
        return steps / (time.perf_counter() - begin)


class _Replayed(SeededChallenge):
    """Plays one seed again and again."""

    def __init__(self, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self._seed, self._starting = seed, False

    def reset(self, *args: Any, **options: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        if self._starting:
            return super().reset(*args, **options)
        self._starting = True
        start = self.reset_to(self._seed)
        self._starting = False
        return start


def _policy(config: BenchConfig) -> tuple[Agent, Params]:
    if config.run is not None:
        return load_checkpoint(config.run)
    agent = find(config.agent or AGENT).for_backend()
    return agent, jax.jit(agent.init)(jax.random.key(0))


class _Recorded(NetHackVector):
    """Keeps the actions of each game."""

    actions: dict[int, list[int]]

    def send(self, tile: int, action: np.ndarray) -> None:
        lanes = self.tiles[tile]
        for lane, one in zip(range(lanes.start, lanes.stop), action.tolist(), strict=True):
            if self.active[lane]:
                self.actions.setdefault(int(self.seed[lane]), []).append(one)
        super().send(tile, action)


def policy_lines(agent: Agent, params: Params, lanes: int | None, seconds: float) -> Iterator[Line]:
    """The rate at which an agent plays, over that of its games and its policy one after the other.

    The games alone are stepped again with the actions of the agent.
    """
    tile = TILE if jax.default_backend() == "cpu" else TILE_OF_ACCELERATORS
    lanes = lanes or max(4 * tile, 16 * cores())
    alone = policy_rate(agent, params, tile, seconds)
    tiles, tasks = math.ceil(lanes / tile), [Task(agent, lambda: params, range(100_000), lambda row: None)]
    with _Recorded(tiles, tile, cores()) as vector:
        vector.actions = {}
        rollout = Rollout(vector, tasks, lanes, jax.random.key(0), Sampling())
        playing = iter(rollout)
        for _ in range(2 * tiles):
            next(playing)
        begin, steps = time.perf_counter(), rollout.shares.steps
        while time.perf_counter() - begin < seconds:
            next(playing)
        together = (rollout.shares.steps - steps) / (time.perf_counter() - begin)
        actions = vector.actions
    if jax.default_backend() != "cpu":
        games = replay_rate(actions, tiles, tile, seconds)
        yield Line(f"{agent.name}'s games alone (its policy alone)", games, alone, "steps/s", "")
        yield Line(f"{agent.name}, {lanes} games (the slower alone)", together, min(games, alone), "steps/s", ">= 0.6")
        return
    moves = Moves.of(actions)
    games = alone_rate(Replay(moves), moves.seeds, TILE, cores(), seconds, moves.max_steps)
    yield Line(f"{agent.name}'s games alone (its policy alone)", games, alone, "steps/s", "")
    policy = AgentPolicy(agent, jax.tree.map(np.asarray, params), 0, Sampling())
    together = alone_rate(policy, iter(range(100_000)), TILE, cores(), seconds, moves.max_steps)
    yield Line(f"{agent.name} (one after the other)", together, 1 / (1 / games + 1 / alone), "steps/s", ">= 0.85")


def policy_rate(agent: Agent, params: Params, tile: int, seconds: float) -> float:
    """Actions per second of the policy alone, for one tile after the other."""
    game = ChallengeGame()
    game.start(0)
    one: dict[str, Any] = {**game.observation, "prev_action": np.uint8(game.prev_action)}
    observation = {name: np.repeat(np.asarray(array)[None, None], tile, axis=0) for name, array in one.items()}
    game.close()
    key, first, numbers = jax.random.key(0), np.zeros((tile, 1), bool), np.arange(tile, dtype=np.uint32)
    carry = fresh_carry(agent, tile)
    actions, begin = 0, math.inf
    while (now := time.perf_counter()) - begin < seconds:
        chosen, carry = act(agent, Sampling(), params, key, observation, first, numbers, numbers, carry)
        np.asarray(chosen)
        if math.isinf(begin):
            begin = time.perf_counter()
            continue
        actions += tile
    return actions / (now - begin)


def replay_rate(actions: dict[int, list[int]], tiles: int, tile: int, seconds: float) -> float:
    """Steps per second of games whose actions are known."""
    left = {seed: deque(moves[1:]) for seed, moves in actions.items()}

    with NetHackVector(tiles, tile, cores()) as vector:

        def moves(lanes: slice) -> np.ndarray:
            return np.array([_pop(left[int(vector.seed[lane])]) for lane in range(lanes.start, lanes.stop)], np.uint8)

        return _Drive(vector, moves, iter(left)).rate(seconds)


def _pop(moves: deque[int]) -> int:
    """The next action, or any once they are over: the game was cut off there."""
    return moves.popleft() if moves else 0
