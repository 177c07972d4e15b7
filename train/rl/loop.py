"""The training loop of reinforcement learning: PPO plays an Atari game, learns from what it played, and plays on.

The games are those that imitators play (`data.games.arcade`): sticky actions, full games, the minimal action set.
Rewards are clipped to their sign for learning only; logged returns are unclipped.

An uninterrupted run is a function of its configuration. The state of a game can't be saved: a run that is resumed after
update k starts new games, whose seeds are a function of (seed, k). So an interrupted run is a function of its
configuration and of the updates at which it was interrupted.
"""

import contextlib
import math

import jax
import numpy as np

from agents.atari.actor_critic import init, make_network
from agents.cpu.devices import on_cpu
from data.common.cli import DelayedInterrupt
from data.common.machine import cores
from data.experts.trained import ppo as policy_file
from data.games import atari
from train.checkpoint import Checkpoints
from train.config import defaults_of, to_json
from train.failure.determinism import require_deterministic_kernels
from train.failure.divergence import Diverged
from train.folder import claimed, record_start
from train.log import Log, Stopwatch
from train.mesh import make_mesh, replicated
from train.rl.config import RlConfig, result_fields
from train.rl.metrics import rows_of
from train.rl.ppo import make_update, ppo_optimizer
from train.rl.rollout import Act, VectorActor, collect_rollout, make_act
from train.state import init_state

LEAST = 8
"""Fewest samples of a minibatch per device: with fewer, the replicated optimiser takes longer than the gradients."""
SAVED = {"step": "update", "params": "params", "opt_state": "opt_state"}
"""Fields of the state in a checkpoint, and their names there."""


def train_expert(config: RlConfig, *, progress: bool = True) -> None:
    """Train to the last update, from the last checkpoint if the run was interrupted.

    Raises: UserError: the configuration cannot be run (nothing is written then), or the disk is full; `Diverged`:
        `config.max_skipped` updates in a row were not finite.
    """
    if config.deterministic:
        require_deterministic_kernels()
    actions = [str(action) for action in atari.content(config.game).actions]
    values = {"kind": policy_file.KIND, "game": config.game, "actions": actions, "config": to_json(config)}
    # Acting for a few lanes takes one device less time than sharding them.
    mesh, one = make_mesh(minibatch_parts(config)), make_mesh(1)
    update = make_update(config.ppo, config.updates, make_network(mesh), mesh, config.max_skipped)
    act = make_act(make_network(one), one)
    of_params, of_actions, of_minibatches = jax.random.split(jax.random.key(config.seed), 3)
    state = init_state(init(of_params, len(actions)), ppo_optimizer(config.ppo, config.updates))
    state = jax.device_put(state, replicated(mesh))
    with contextlib.ExitStack() as stack:
        stack.enter_context(claimed(config.run, values, result_fields(config), defaults_of(RlConfig)))
        record_start(config.run)
        checkpoints = Checkpoints(config.run, config.checkpoint_seconds, SAVED)
        stack.enter_context(contextlib.closing(checkpoints))
        restored = checkpoints.restore(state)
        state = restored.state if restored else state
        start, last = int(state.step), config.updates
        playing, steps = Stopwatch(), range(start * config.batch, last * config.batch)
        every, row_of = config.log_every * config.batch, rows_of(config)
        log = Log(config.run, steps, every, playing, row_of, progress=progress)
        stack.enter_context(contextlib.closing(log))
        interrupt = stack.enter_context(DelayedInterrupt())
        actors = make_actors(config, start, act) if start < last else []
        for done in range(start + 1, last + 1):
            params, key = jax.device_put(state.params, replicated(one)), jax.random.fold_in(of_actions, done)
            with playing:
                rollout, finished = collect_rollout(actors, params, key, config.ppo.horizon)
            state, metrics = update(state, rollout, of_minibatches)
            # Waits for the update, which the next rollout needs.
            log.add(done * config.batch, (jax.device_get(metrics), finished))
            log.write_due()
            failed = int(state.skipped) >= config.max_skipped
            if checkpoints.due or interrupt.requested or done == last or failed:
                policy_file.write(config.run, jax.device_get(state.params))
                checkpoints.save(state)
            if failed:
                raise Diverged(
                    f"{config.run} diverged: losses or gradient not finite in {config.max_skipped} updates in a row,"
                    f" up to update {done}; the policy before them is kept: choose another --run with a lower --lr"
                )
            interrupt.raise_if_requested()


def minibatch_parts(config: RlConfig) -> int:
    """Number of equal parts into which a minibatch may be sharded."""
    minibatch = config.batch // config.ppo.minibatches
    return math.gcd(minibatch, max(1, minibatch // LEAST))


def make_actors(config: RlConfig, start: int, act: Act) -> list[VectorActor]:
    """Start the games of a run that is resumed after `start` updates.

    With an accelerator there are two actors of half the lanes: the device acts for one while the other's games step. On
    a CPU both would compete for the cores.
    """
    seeds = np.random.default_rng((config.seed, start)).integers(2**31, size=config.lanes)
    count = 2 if not on_cpu() and config.lanes % 2 == 0 else 1
    threads = min(config.threads or cores(), config.lanes)
    return [
        VectorActor(config.game, part, act, threads=threads, life_loss=config.life_loss)
        for part in np.split(seeds, count)
    ]
