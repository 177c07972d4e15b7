"""Benchmark of evaluation in an Atari game: `python -m eval bench --game Breakout`.

All rates are steps per second, each of four frames, measured on this machine in this run; compare the ratios. Other
vector environments seed their emulators once. For a game that its seed determines, as evaluation plays it, ALE loads
its ROM again: games with and without that are compared, too.
"""

import itertools
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np

from agents.ladder import find
from agents.spec import Agent, Params
from data.common.comparison import Line
from data.common.machine import cores
from data.games import atari
from data.games.arcade import PAPER
from eval.config import BenchConfig
from eval.play.atari import FAMILY, OneArcade
from eval.play.lanes import TILE, TILE_OF_ACCELERATORS, Chooser, Family, Job, Rollout, Tile, by_agent
from eval.play.options import PlayOptions
from eval.play.sampling import Sampling

ROUNDS, AGENT = 3, "atari/cnn/13"
"""Times that each rate is measured, in turn, and the agent by default."""
FEWEST = 3
"""Actions of random play: every game has so many."""


class _Unseeded(OneArcade):
    """Plays on with the random numbers of the game before."""

    _seeded = False

    def reset(self, seed: int, /) -> np.ndarray:
        seed, self._seeded = -1 if self._seeded else seed, True
        return super().reset(seed)


UNSEEDED = replace(FAMILY, make=_Unseeded)


def bench(config: BenchConfig) -> Iterator[Line]:
    """Measure and compare, one line at a time."""
    game, seconds = config.game, config.seconds / ROUNDS
    width = TILE if jax.default_backend() == "cpu" else TILE_OF_ACCELERATORS
    for games in config.gymnasium:
        rivals = {"ALE's vector environment": _ale} | ({"EnvPool": _envpool} if find_spec("envpool") else {})
        for name, rival in rivals.items():
            ours = partial(_Playing, game, games, games, _random, UNSEEDED)
            ours, theirs = _in_turn([ours, partial(rival, game, games)], seconds)
            yield Line(f"{games} games, {cores()} cores ({name})", ours, theirs, "steps/s", ">= 1")
    games = max(config.gymnasium)
    pair = [partial(_Playing, game, games, games, _random, family) for family in (FAMILY, UNSEEDED)]
    seeded, other = _in_turn(pair, seconds)
    yield Line(f"{games} games from their seeds (unseeded)", seeded, other, "steps/s", "")
    agent = find(config.agent or AGENT).for_backend()
    params = jax.jit(agent.init)(jax.random.key(0))
    lanes = config.lanes or 2 * width

    def by_policy(lanes: int) -> Chooser:
        return by_agent(agent, params, 0, Sampling(), FAMILY.feed, lanes)

    def playing(chooser: Callable[[int], Chooser]) -> _Playing:
        return _Playing(game, lanes, width, chooser, actions=agent.actions)

    stepping, together = _in_turn([lambda: playing(_random), lambda: playing(by_policy)], seconds)
    alone = _policy_rate(game, agent, params, width, config.seconds)
    yield Line(f"{agent.name}: games alone (its policy alone)", stepping, alone, "steps/s", "")
    if jax.default_backend() == "cpu":
        bound = 1 / (1 / stepping + 1 / alone)
        yield Line(f"{agent.name}, {lanes} games (one after the other)", together, bound, "steps/s", ">= 0.85")
    else:
        bound = min(stepping, alone)
        yield Line(f"{agent.name}, {lanes} games (the slower alone)", together, bound, "steps/s", ">= 0.6")


def _in_turn(makers: Sequence[Callable[[], Callable[[], int]]], seconds: float) -> list[float]:
    """Medians of the rates of steppers that return their number of steps, measured in turn."""
    steppers = [make() for make in makers]
    rates: list[list[float]] = [[] for _ in steppers]
    for _, (step, found) in itertools.product(range(ROUNDS + 1), zip(steppers, rates, strict=True)):
        begin, steps = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            steps += step()
        found.append(steps / (time.perf_counter() - begin))
    return [statistics.median(found[1:]) for found in rates]


class _Playing:
    """Plays on tiles, as evaluation does; a call completes the step of one of them."""

    def __init__(
        self,
        game: str,
        lanes: int,
        width: int,
        chooser: Callable[[int], Chooser],
        family: Family = FAMILY,
        actions: int | None = None,
    ) -> None:
        job = Job(chooser, deque(range(100_000)), lambda row: None, actions)
        self._rollout = Rollout(family, game, PlayOptions(), [job], min(width, lanes))
        threads, tiles = ThreadPoolExecutor(cores()), -(-lanes // width)
        self._tiles = itertools.cycle([Tile(width, threads) for _ in range(tiles)])
        for _ in range(tiles):
            self._rollout.open(next(self._tiles))

    def __call__(self) -> int:
        return self._rollout.step(next(self._tiles))[0]


def _random(lanes: int) -> Chooser:
    random = np.random.default_rng(0)
    return lambda tile: random.integers(FEWEST, size=lanes)


def _ale(game: str, games: int) -> Callable[[], int]:
    """ALE's vector environment, with its own defaults but the sticky actions."""
    from ale_py.vector_env import AtariVectorEnv

    options: dict[str, Any] = {"num_threads": cores(), "repeat_action_probability": PAPER.sticky}
    env = AtariVectorEnv(atari.games()[game], games, **options)
    env.reset(seed=0)
    random = np.random.default_rng(0)

    def step() -> int:
        env.step(random.integers(FEWEST, size=games))
        return games

    return step


def _envpool(game: str, games: int) -> Callable[[], int]:
    import envpool  # pyright: ignore[reportMissingImports]

    options = {"num_threads": cores(), "repeat_action_probability": PAPER.sticky}
    env = envpool.make(f"{game}-v5", env_type="gymnasium", num_envs=games, **options)
    env.reset()
    random = np.random.default_rng(0)

    def step() -> int:
        env.step(random.integers(FEWEST, size=games).astype(np.int32))
        return games

    return step


def _policy_rate(game: str, agent: Agent, params: Params, width: int, seconds: float) -> float:
    """Actions per second of the policy alone."""
    with ThreadPoolExecutor(cores()) as threads:
        tile = Tile(width, threads)
        for lane in range(width):
            tile.begin(lane, lane, lambda: FAMILY.make(game, agent.actions, PlayOptions()))
        tile.admit()
    choose = by_agent(agent, params, 0, Sampling(), FAMILY.feed, width)
    choose(tile)
    tile.anew[:] = False
    begin, actions = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        choose(tile)
        actions += width
    return actions / (time.perf_counter() - begin)
