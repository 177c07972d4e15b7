"""A worker process that plays NetHack games alone: it steps them and computes their actions, on one core.

Dimension in names: L lanes.
"""

import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.common.cli import UserError
from data.common.machine import allowed, take_core
from data.spec import NETHACK
from eval.engine.game import ChallengeGame, GameRow
from eval.engine.worker import own_folder
from eval.play.players import Policy

TILE = 16
"""Lanes of a compiled step of the policy: always the same, since a step of another shape might round otherwise."""


@dataclass(frozen=True)
class Orders:
    """What a worker is to play: the games of a policy, at most one for each lane at first, later one at a time."""

    task: int
    policy: Policy
    seeds: list[int]
    record: Path | None
    """Folder in which the games are recorded."""


@dataclass(frozen=True)
class Finished:
    """A game that has ended. The answer is the next seed, or None."""

    task: int
    row: GameRow


@dataclass(frozen=True)
class Post:
    """What a worker is started with; the first fields are those of all workers."""

    width: int
    """L: lanes of each worker, which may be more than there are games."""
    character: str
    max_steps: int | None
    index: int = -1
    connection: Any = None
    """Pipe to the parent: None asks for `Orders`, `Finished` tells of a game; or what the policy's user did wrong, or a
    traceback."""
    clock: Any = None
    """Shared int64 [W, 4]: of each worker the steps so far, the nanoseconds spent on games and on the policy, and 1
    while it steps games, which must not take long."""
    folder: str = ""
    """Folder for its temporary files, in that of all workers, which it removes if the parent dies."""


def work(post: Post) -> None:
    """Play what the parent orders, until it ends this process, or dies."""
    # Before this process has a folder for temporary files of its own: cores are locked in that of all.
    _stay_on_one_core(post.index)
    with own_folder(Path(post.folder)):
        try:
            player = Player(post)
            while True:
                player.play(_asked(post.connection, None))
        except UserError as error:
            post.connection.send(error)
        except Exception:
            post.connection.send(traceback.format_exc())


def _asked(connection: Any, question: Any) -> Any:
    connection.send(question)
    return connection.recv()


def _stay_on_one_core(index: int) -> None:
    """Run on one core, where this process's part of the caches is, with as many threads of XLA: one.

    It is one on which no other evaluation plays, if there is any.
    """
    if take_core() is None:
        mine = allowed()
        os.sched_setaffinity(0, {mine[index % len(mine)]})


class Player:
    """The lanes of a worker. Implements `eval.play.players.Lanes`."""

    def __init__(self, post: Post) -> None:
        width = post.width
        self._post = post
        self._clock = np.frombuffer(memoryview(post.clock), np.uint8).view(np.int64).reshape(-1, 4)[post.index]
        self._games: list[ChallengeGame | None] = [None] * width
        self.observation = {name: np.zeros((width, *field.shape), field.dtype) for name, field in NETHACK.items()}
        self.active = np.zeros(width, bool)
        self.seed, self.timestep = np.zeros(width, np.uint32), np.zeros(width, np.uint32)

    def play(self, orders: Orders) -> None:
        """Play these games, and those that the parent adds."""
        self._record = orders.record
        for lane, seed in enumerate(orders.seeds):
            self._start(lane, seed)
        choose = orders.policy.chooser(self)
        while self.active.any():
            begin = time.perf_counter_ns()
            actions = choose()
            self._clock[2] += time.perf_counter_ns() - begin
            self._step(orders.task, actions)

    def game(self, lane: int) -> ChallengeGame:
        """The game of an active lane."""
        game = self._games[lane]
        assert game is not None, "an active lane has a game"
        return game

    def _step(self, task: int, actions: list[int]) -> None:
        """Step all games, and start others in place of those that end."""
        begin, self._clock[3] = time.perf_counter_ns(), 1
        lanes = np.flatnonzero(self.active).tolist()
        self.timestep += 1
        for lane in lanes:
            game = self.game(lane)
            row = game.step(actions[lane])
            if row is None:
                self.observation["prev_action"][lane] = game.prev_action
                continue
            self.active[lane] = False
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
            screen = tuple(self.observation[name][lane] for name in ("chars", "colors", "cursor"))
            game = self._games[lane] = ChallengeGame(self._post.character, self._post.max_steps, screen)
        game.start(seed, self._record)
        self.observation["prev_action"][lane] = game.prev_action
        self.active[lane], self.seed[lane], self.timestep[lane] = True, seed, 0
        self._clock[0] += 1
