"""Play complete NetHack games with an agent or an expert, one result row per game."""

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

import jax
import jax.numpy as jnp
import numpy as np

from agents.spec import Agent, Carry, Params
from data.common.workers import SPAWN
from data.experts.registry import Expert
from data.games.nethack import CHARACTER
from eval.play.nethack.game import GameRow, enlist, play_expert_game
from eval.play.nethack.vector import NetHackVector
from eval.play.policy import Progress, act

GROUPS = 2
"""Number of lane groups: the environments of one group step while the policy computes the actions of the other."""


def play_agents(
    agent: Agent,
    params: Params,
    seeds: Sequence[int],
    *,
    lanes: int,
    workers: int,
    key_seed: int,
    temperature: float = 1.0,
    max_steps: int | None = None,
    character: str = CHARACTER,
    progress: bool = True,
    on_game: Callable[[GameRow], None] | None = None,
) -> list[GameRow]:
    """Play one game per seed with an agent.

    The random key of an action depends on `key_seed`, the game's seed and the timestep. Results therefore do not depend
    on the number of lanes or workers.

    Args:
        agent: The agent.
        params: Its parameters.
        seeds: Seeds of the games, distinct integers below 2^32.
        lanes: Number of games played in parallel.
        workers: Number of processes that step the games.
        key_seed: Seed for sampling actions.
        temperature: Softmax temperature; 0 selects the most probable action.
        max_steps: Truncate games after this many steps; None keeps the environment's own limit.
        character: NetHack's character.
        progress: Whether to show a progress bar on stderr.
        on_game: Called with each row as soon as its game has ended.

    Returns:
        One row per game, ordered by seed.

    Raises:
        ValueError: The temperature is negative, or the seeds are not distinct or out of range.
        WorkerFailed: A worker process failed.
    """
    if temperature < 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")
    if not seeds:
        return []
    lanes = min(lanes, len(seeds))
    key = jax.random.key(key_seed)
    rows: list[GameRow] = []
    with (
        NetHackVector(seeds, lanes, min(workers, lanes), character, max_steps, min(GROUPS, lanes)) as games,
        Progress(len(seeds), progress) as bar,
    ):
        carries = [_fresh(agent, group.stop - group.start) for group in games.groups]
        actions: list[jax.Array | None] = [None] * len(games.groups)

        def compute_actions(group: int) -> None:
            part = games.groups[group]
            # Copy, because the games overwrite these arrays while the device may still read them.
            observation = {name: array[part][:, None].copy() for name, array in games.observation.items()}
            actions[group], carries[group] = act(
                agent,
                temperature,
                params,
                key,
                observation,
                games.first[part][:, None].copy(),
                games.seed[part].copy(),
                games.timestep[part].copy(),
                carries[group],
            )

        for group in range(len(games.groups)):
            compute_actions(group)
        while games.active.any():
            playing = [group for group, part in enumerate(games.groups) if games.active[part].any()]
            for group in playing:
                games.send(group, np.asarray(actions[group]))
            for group in playing:
                steps = int(games.active[games.groups[group]].sum())
                ended = games.receive(group)
                compute_actions(group)
                bar.add(steps, len(ended))
                for row in ended:
                    rows.append(row)
                    if on_game is not None:
                        on_game(row)
    return sorted(rows, key=lambda row: row.seed)


def play_experts(
    expert: Expert,
    seeds: Sequence[int],
    *,
    workers: int,
    max_steps: int | None = None,
    character: str = CHARACTER,
    progress: bool = True,
    on_game: Callable[[GameRow], None] | None = None,
) -> list[GameRow]:
    """Play one game per seed with an expert, whose player is seeded with the game's seed.

    Args:
        expert: The expert.
        seeds: Seeds of the games, distinct.
        workers: Number of processes that play.
        max_steps: Truncate games after this many steps; None keeps the environment's own limit.
        character: NetHack's character.
        progress: Whether to show a progress bar on stderr.
        on_game: Called with each row as soon as its game has ended.

    Returns:
        One row per game, ordered by seed.

    Raises:
        ValueError: The seeds are not distinct.
    """
    if len(set(seeds)) != len(seeds):
        raise ValueError("seeds must be distinct")
    rows: list[GameRow] = []
    halt = SPAWN.RawValue(ctypes.c_bool, False)
    with (
        ProcessPoolExecutor(max(1, min(workers, len(seeds))), SPAWN, enlist, (halt,)) as pool,
        Progress(len(seeds), progress) as bar,
    ):
        games = [pool.submit(play_expert_game, expert, seed, character, max_steps) for seed in seeds]
        try:
            for game in as_completed(games):
                row = game.result()
                rows.append(row)
                bar.add(row.steps, 1)
                if on_game is not None:
                    on_game(row)
        except BaseException:
            halt.value = True
            pool.shutdown(cancel_futures=True)
            raise
    return sorted(rows, key=lambda row: row.seed)


def _fresh(agent: Agent, lanes: int) -> Carry:
    # Copy, because donation requires that no two leaves share a buffer.
    return jax.tree.map(jnp.copy, agent.initial_carry(lanes))
