"""Play whole games with a policy or a scripted player: one row per game.

L lanes of a group, A actions.
"""

import ctypes
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from agents.spec import Agent, Carry, Params
from data.files import replace_text
from data.workers import SPAWN
from eval.envs import NetHackVector
from eval.games import CHARACTER, GameRow, Scripted, enlist, play_scripted_game

GROUPS = 2
"""Groups of lanes: one's games step while the policy reads the other's screens."""


def play(
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
        _Progress(len(seeds), progress) as bar,
    ):
        carries = [_fresh(agent, group.stop - group.start) for group in games.groups]
        actions: list[jax.Array | None] = [None] * len(games.groups)

        def think(group: int) -> None:
            part = games.groups[group]
            # Copies, because the games overwrite these arrays while the device may still read them.
            observation = {name: array[part][:, None].copy() for name, array in games.observation.items()}
            actions[group], carries[group] = _act(
                agent,
                temperature,
                params,
                key,
                observation,
                games.first[part][:, None].copy(),
                games.seed[part].copy(),
                games.age[part].copy(),
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


def play_scripted(
    player: Scripted,
    seeds: Sequence[int],
    *,
    workers: int,
    max_steps: int | None = None,
    character: str = CHARACTER,
    progress: bool = True,
    on_game: Callable[[GameRow], None] | None = None,
) -> list[GameRow]:
    """Play the games of `seeds` with a player that needs no network, seeded by each game's seed."""
    if len(set(seeds)) != len(seeds):
        raise ValueError("seeds must be distinct")
    rows: list[GameRow] = []
    halt = SPAWN.RawValue(ctypes.c_bool, False)
    with (
        ProcessPoolExecutor(max(1, min(workers, len(seeds))), SPAWN, enlist, (halt,)) as pool,
        _Progress(len(seeds), progress) as bar,
    ):
        games = [pool.submit(play_scripted_game, player, seed, character, max_steps) for seed in seeds]
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


def write_games(path: Path, rows: Iterable[GameRow]) -> None:
    """Write one JSON object per game to `path`, replaced atomically."""
    replace_text(path, "".join(json.dumps(asdict(row)) + "\n" for row in rows))


def read_games(path: Path) -> list[GameRow]:
    """The rows that `write_games` wrote."""
    return [GameRow(**json.loads(line)) for line in path.read_text().splitlines()]


def _fresh(agent: Agent, lanes: int) -> Carry:
    # Copies, because donation needs every leaf to have a buffer of its own.
    return jax.tree.map(jnp.copy, agent.initial_carry(lanes))


@partial(jax.jit, static_argnames=("agent", "temperature"), donate_argnames="carry")
def _act(
    agent: Agent,
    temperature: float,
    params: Params,
    key: jax.Array,
    observation: dict[str, jax.Array],
    first_Lx1: jax.Array,
    seed_L: jax.Array,
    age_L: jax.Array,
    carry: Carry,
) -> tuple[jax.Array, Carry]:
    """Actions int32 [L] on seeing observations [L, 1, ...], and the carry after them."""
    logits_Lx1xA, carry = agent.apply(params, observation, first_Lx1, carry)
    logits_LxA = logits_Lx1xA[:, 0]
    if temperature == 0:
        return jnp.argmax(logits_LxA, axis=-1).astype(jnp.int32), carry

    def sample(seed: jax.Array, age: jax.Array, logits_A: jax.Array) -> jax.Array:
        mine = jax.random.fold_in(jax.random.fold_in(key, seed), age)
        return jax.random.categorical(mine, logits_A / temperature)

    return jax.vmap(sample)(seed_L, age_L, logits_LxA).astype(jnp.int32), carry


class _Progress:
    """A bar of finished games on stderr, with steps per second and the time left."""

    def __init__(self, games: int, shown: bool) -> None:
        # A log gets a line every ten seconds.
        interval = 0.5 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(total=games, unit="game", miniters=0, mininterval=interval, disable=not shown)
        self._steps = 0
        self._start = time.perf_counter()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, steps: int, games: int) -> None:
        self._steps += steps
        rate = self._steps / (time.perf_counter() - self._start)
        self._bar.set_postfix_str(f"{rate:.0f} steps/s", refresh=False)
        self._bar.update(games)
