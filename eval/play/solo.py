"""A worker process that plays NetHack games alone: it steps them and computes their actions, on one core.

Dimension in names: T lanes.
"""

import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.spec import NETHACK
from eval.engine.game import ChallengeGame, GameRow, recorded
from eval.engine.worker import own_folder
from eval.play.sampling import Sampling

TILE = 16
"""Lanes of a compiled step of the policy: always the same, since a step of another shape might round otherwise."""


@dataclass(frozen=True)
class Orders:
    """What a worker is to play: the games of a policy, at most one for each lane at first, later one at a time."""

    task: int
    agent: Any
    params: Any
    """Parameters, NumPy arrays."""
    seeds: list[int]


@dataclass(frozen=True)
class Finished:
    """A game that has ended. The answer is the next seed, or None."""

    task: int
    row: GameRow


@dataclass(frozen=True)
class Post:
    """What a worker is started with."""

    index: int
    connection: Any
    """Pipe to the parent: None asks for `Orders`, `Finished` tells of a game; or a traceback."""
    clock: Any
    """Shared int64 [W, 4]: of each worker the steps so far, the nanoseconds spent on games and on the policy, and 1
    while it steps games, which must not take long."""
    folder: str
    """Folder for its temporary files, in that of all workers, which it removes if the parent dies."""
    key_seed: int
    sampling: Sampling
    character: str
    max_steps: int | None


def work(post: Post) -> None:
    """Play what the parent orders, until it ends this process, or dies."""
    with own_folder(Path(post.folder)):
        try:
            _stay_on_one_core(post.index)
            player = Player(post)
            while True:
                player.play(_asked(post.connection, None))
        except Exception:
            post.connection.send(traceback.format_exc())


def _asked(connection: Any, question: Any) -> Any:
    connection.send(question)
    return connection.recv()


def _stay_on_one_core(index: int) -> None:
    """Run on one core, where this process's part of the caches is, with as many threads of XLA: one."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[index % len(allowed)]})


class Player:
    """The lanes of a worker."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._clock = np.frombuffer(memoryview(post.clock), np.uint8).view(np.int64).reshape(-1, 4)[post.index]
        self._observation = {name: np.zeros((TILE, *field.shape), field.dtype) for name, field in NETHACK.items()}
        self._games: list[ChallengeGame | None] = [None] * TILE
        self._active = np.zeros(TILE, bool)
        self._seed, self._timestep = np.zeros(TILE, np.uint32), np.zeros(TILE, np.uint32)

    def play(self, orders: Orders) -> None:
        """Play these games, and those that the parent adds."""
        import jax

        from eval.play.policy import act, fresh_carry

        agent, params, key = orders.agent, jax.device_put(orders.params), jax.random.key(self._post.key_seed)
        carry = fresh_carry(agent, TILE)
        for lane, seed in enumerate(orders.seeds):
            self._start(lane, seed)
        while self._active.any():
            begin = time.perf_counter_ns()
            observation = {name: array[:, None] for name, array in self._observation.items()}
            actions, carry = act(
                agent,
                self._post.sampling,
                params,
                key,
                {**observation, "chars": recorded(observation["chars"])},
                (self._timestep == 0)[:, None],
                self._seed.copy(),
                self._timestep.copy(),
                carry,
            )
            chosen = np.asarray(actions).tolist()
            self._clock[2] += time.perf_counter_ns() - begin
            self._step(orders.task, chosen)

    def _step(self, task: int, actions: list[int]) -> None:
        """Step all games, and start others in place of those that end."""
        begin, self._clock[3] = time.perf_counter_ns(), 1
        lanes = np.flatnonzero(self._active).tolist()
        self._timestep += 1
        for lane in lanes:
            game = self._games[lane]
            assert game is not None, "an active lane has a game"
            row = game.step(actions[lane])
            if row is None:
                self._observation["prev_action"][lane] = game.prev_action
                continue
            self._active[lane] = False
            self._clock[3] = 0  # The parent may take its time.
            seed = _asked(self._post.connection, Finished(task, row))
            self._clock[3] = 1
            if seed is not None:
                self._start(lane, seed)
        self._clock[0] += len(lanes)
        self._clock[1] += time.perf_counter_ns() - begin
        self._clock[3] = 0

    def _start(self, lane: int, seed: int) -> None:
        game = self._games[lane]
        if game is None:
            screen = tuple(self._observation[name][lane] for name in ("chars", "colors", "cursor"))
            game = self._games[lane] = ChallengeGame(self._post.character, self._post.max_steps, screen)
        game.start(seed)
        self._observation["prev_action"][lane] = game.prev_action
        self._active[lane], self._seed[lane], self._timestep[lane] = True, seed, 0
        self._clock[0] += 1
