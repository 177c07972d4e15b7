"""Play whole games of NetHack with an agent or an expert: one row per game.

L lanes of a group, A actions.
"""

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
"""Groups of lanes: one's games step while the policy reads the other's screens."""


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
    """Play the games of `seeds` with the agent; rows in the order of their seeds.

    Actions are sampled from the policy at `temperature` (the most probable one at 0), with randomness that
    depends on `key_seed`, the game's seed and the step within the game: neither the lane nor the number of
    lanes or workers matters. `on_game` gets each row as soon as its game is over.
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

        def think(group: int) -> None:
            part = games.groups[group]
            # Copies, because the games overwrite these arrays while the device may still read them.
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
            think(group)
        while games.active.any():
            playing = [group for group, part in enumerate(games.groups) if games.active[part].any()]
            for group in playing:
                games.send(group, np.asarray(actions[group]))
            for group in playing:
                steps = int(games.active[games.groups[group]].sum())
                ended = games.receive(group)
                think(group)
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
    """Play the games of `seeds` with an expert, seeded by each game's seed; rows in order of their seeds.

    Raises:
        ValueError: Two seeds are the same.
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
    # Copies, because donation needs every leaf to have a buffer of its own.
    return jax.tree.map(jnp.copy, agent.initial_carry(lanes))
