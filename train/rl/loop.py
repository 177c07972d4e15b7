"""Atari experts by reinforcement learning: PPO plays, learns from what it played, and plays on.

What learns sees and plays what imitators see and play (`data.games.arcade`): sticky actions, full games, the minimal
action set. Rewards are clipped to their sign for learning alone; the scores that are logged are the games' own.

An uninterrupted run is a function of its configuration. Games can't be saved: a run that goes on after update k does so
with new games, whose seeds are a function of (seed, k); so a run that was interrupted is a function of its
configuration and of where that was.
"""

import contextlib
import math
import os
import sys
import time
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh
from tqdm import tqdm

from data.common.cli import DelayedInterrupt
from data.experts.trained.nature import Params
from data.games import atari
from train.checkpoint import Checkpoints, save_policy
from train.folder import claim
from train.mesh import replicated
from train.metrics import MetricsWriter, RlRow
from train.rl.actorcritic import make_network
from train.rl.config import RlConfig, result_fields, to_json
from train.rl.ppo import PpoMetrics, Rollout, init_state, make_update
from train.rl.rollout import Act, Finished, Table, make_act, play

KIND = "ppo"

LEAST = 8
"""Samples of a minibatch to a device, at least: fewer are quicker than the optimiser, which each device runs whole."""


def train_expert(config: RlConfig, *, progress: bool = True) -> None:
    """Train to the last step; goes on where an interrupted run of the same configuration stopped.

    Raises `UserError` for a configuration that cannot be run, before anything is written.
    """
    actions = [str(action) for action in atari.content(config.game).actions]
    values = {"kind": KIND, "game": config.game, "actions": actions, "config": to_json(config)}
    claim(config.run, values, result_fields(config))
    # To choose for a few lanes takes a device less time than to divide them among several.
    mesh, one = make_mesh(parts(config)), make_mesh(1)
    update = make_update(config.ppo, config.updates, make_network(mesh), mesh)
    act = make_act(make_network(one), one)
    of_params, of_actions, of_minibatches = jax.random.split(jax.random.key(config.seed), 3)
    state = init_state(config.ppo, config.updates, len(actions), of_params)
    state = jax.device_put(state, replicated(mesh))
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(contextlib.closing(Checkpoints(config.run)))
        state = checkpoints.restore(state) or state
        start, last = int(state.update), config.updates
        log = stack.enter_context(contextlib.closing(Log(config, start)))
        bar = stack.enter_context(progress_bar(config, start, shown=progress))
        interrupt = stack.enter_context(DelayedInterrupt())
        tables = open_tables(config, start, act) if start < last else []
        saved = time.monotonic()
        for done in range(start + 1, last + 1):
            params = jax.device_put(state.params, replicated(one))
            rollout = log.timed(tables, params, jax.random.fold_in(of_actions, done))
            state, metrics = update(state, rollout, of_minibatches)
            log.learned(done, metrics, bar)
            due = time.monotonic() - saved > config.checkpoint_seconds
            if due or interrupt.requested or done == last:
                save_policy(config.run, state.params)
                checkpoints.save(done, state)
                saved = time.monotonic()
            if interrupt.requested:
                raise KeyboardInterrupt


def progress_bar(config: RlConfig, start: int, *, shown: bool) -> tqdm:
    """A bar of steps on stderr, with the time left."""
    return tqdm(
        total=config.updates * config.batch,
        initial=start * config.batch,
        desc=config.game,
        unit="step",
        unit_scale=True,
        disable=not shown,
        file=sys.stderr,
        dynamic_ncols=True,
    )


def parts(config: RlConfig) -> int:
    """Equal parts into which a minibatch can be divided among devices."""
    minibatch = config.batch // config.ppo.minibatches
    return math.gcd(minibatch, max(1, minibatch // LEAST))


def make_mesh(parts: int) -> Mesh:
    """As many of this host's devices as share so many parts evenly."""
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if parts % n == 0)
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=devices[:count])


def open_tables(config: RlConfig, start: int, act: Act) -> list[Table]:
    """Begin the games of a run that goes on after `start` updates.

    An accelerator chooses for the lanes of one table while the games of the other are played; on a CPU both would want
    the same cores.
    """
    seeds = np.random.default_rng((config.seed, start)).integers(2**31, size=config.lanes)
    count = 2 if jax.default_backend() != "cpu" and config.lanes % 2 == 0 else 1
    threads = min(config.threads or os.cpu_count() or 1, config.lanes)
    return [
        Table(config.game, part, act, threads=threads, life_loss=config.life_loss) for part in np.split(seeds, count)
    ]


class Log:
    """Turns updates into rows of metrics."""

    def __init__(self, config: RlConfig, start: int) -> None:
        self._config = config
        self._writer = MetricsWriter(config.run, start * config.batch)
        self._pending: list[PpoMetrics] = []
        self._finished: list[Finished] = []
        self._row_update, self._row_time, self._playing = start, time.perf_counter(), 0.0

    def timed(self, tables: Sequence[Table], params: Params, key: jax.Array) -> Rollout:
        """Play on at all tables; the time that takes, and the games that end, are counted."""
        begin = time.perf_counter()
        rollout, finished = play(tables, params, key, self._config.ppo.horizon)
        self._playing += time.perf_counter() - begin
        self._finished += finished
        return rollout

    def learned(self, update: int, metrics: PpoMetrics, bar: tqdm) -> None:
        """Take the metrics of an update, once it is done: the next rollout needs it anyway."""
        self._pending.append(jax.device_get(metrics))
        if update % self._config.log_every == 0:
            row = self._row(update)
            told = "no game over" if row.episode_return is None else f"return {row.episode_return:.1f}"
            bar.set_postfix_str(f"{told}, {row.steps_per_s:,.0f} steps/s", refresh=False)
        bar.update(update * self._config.batch - bar.n)

    def _row(self, update: int) -> RlRow:
        config, now = self._config, time.perf_counter()
        seconds = now - self._row_time
        told = np.array(self._pending, np.float64).mean(axis=0)
        row = RlRow(
            step=update * config.batch,
            update=update,
            episodes=len(self._finished),
            episode_return=_mean([game.score for game in self._finished]),
            episode_length=_mean([game.length for game in self._finished]),
            lr=config.ppo.lr * (1 - update / config.updates),
            steps_per_s=(update - self._row_update) * config.batch / seconds,
            playing=self._playing / seconds,
            **dict(zip(PpoMetrics._fields, told.tolist(), strict=True)),
        )
        self._writer.write(row)
        self._pending, self._finished = [], []
        self._row_update, self._row_time, self._playing = update, now, 0.0
        return row

    def close(self) -> None:
        """Write what is pending and close the files."""
        if self._pending:
            self._row(self._row_update + len(self._pending))
        self._writer.close()


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
