"""Many Atari games at once, played to their end by a policy or a scripted player: one row per game.

L lanes; a lane plays one game after another, the next of the seeds as it becomes free. A game is a function of its
seed and of who plays, not of its lane.
"""

from collections import deque
from collections.abc import Callable, Sequence

import jax
import numpy as np

from agents.spec import Agent, Params
from data.collect.atari import EMBEDDED, RANDOM, Player, scripted
from data.games.arcade import Arcade
from eval.play.players import Progress, act
from eval.play.records import AtariRow, Scripted

Chooser = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Keys int [L] from stacks uint8 [L, 84, 84, 4], the seeds of the lanes' games and the steps before this one."""


def play_atari(
    game: str,
    seeds: Sequence[int],
    choose: Chooser,
    *,
    lanes: int,
    threads: int,
    actions: int | None = None,
    max_steps: int | None = None,
    progress: bool = True,
    on_game: Callable[[AtariRow], None] | None = None,
) -> list[AtariRow]:
    """Play the games of `seeds`, below 2^31; rows in their order.

    Keys are of the game's minimal action set, or of the full one if that has as many `actions`. `on_game` gets each
    row as soon as it is over.
    """
    if len(set(seeds)) != len(seeds) or not all(0 <= seed < 2**31 for seed in seeds):
        raise ValueError("seeds must be distinct integers from 0 to 2**31 - 1")
    if not seeds:
        return []
    # Not one lane alone: XLA computes a batch of one otherwise than the same sample in any larger one.
    lanes = max(2, min(lanes, len(seeds)))
    arcade, left = Arcade(game, lanes, threads, actions), deque(seeds[lanes:])
    seed_L = np.resize(np.array(seeds[:lanes], np.uint32), lanes)
    age_L, score_L, plays_L = np.zeros(lanes, np.uint32), np.zeros(lanes), np.arange(lanes) < len(seeds)
    rows: list[AtariRow] = []
    stacks = arcade.reset(seed_L)
    with Progress(len(seeds), progress) as bar:
        while plays_L.any():
            stacks, rewards, over_L = arcade.step(choose(stacks, seed_L, age_L))
            score_L += rewards
            age_L += 1
            cut_L = arcade.cut | (~over_L & (age_L == (max_steps or 0)))
            ended = np.flatnonzero(plays_L & (over_L | cut_L))
            bar.add(int(plays_L.sum()), len(ended))
            for lane in ended:
                row = AtariRow(int(seed_L[lane]), float(score_L[lane]), int(age_L[lane]), bool(cut_L[lane]))
                rows.append(row)
                if on_game is not None:
                    on_game(row)
            fresh, plays_L[ended] = ended[: len(left)], False
            if len(fresh):
                plays_L[fresh] = True
                seed_L[fresh] = [left.popleft() for _ in fresh]
                age_L[fresh], score_L[fresh] = 0, 0
                stacks = arcade.reset(seed_L[fresh], np.isin(np.arange(lanes), fresh))
    return sorted(rows, key=lambda row: row.seed)


def by_policy(agent: Agent, params: Params, key_seed: int, temperature: float = 1.0) -> Chooser:
    """Actions sampled from the policy as `eval.play.players.act` does."""
    key = jax.random.key(key_seed)

    def choose(stacks_Lx84x84x4: np.ndarray, seed_L: np.ndarray, age_L: np.ndarray) -> np.ndarray:
        observation = {
            "frames": np.ascontiguousarray(np.moveaxis(stacks_Lx84x84x4, -1, 1)),
            "oldest": np.zeros((len(seed_L), 1), np.int32),
        }
        first_Lx1 = (age_L == 0)[:, None]
        keys, _ = act(agent, temperature, params, key, observation, first_Lx1, seed_L, age_L, ())
        return np.asarray(keys)

    return choose


def by_script(player: Scripted, game: str) -> Chooser:
    """The game's embedded expert, or random keys; a player of its own, seeded by the game's seed, for every game."""
    player_of, playing = scripted(RANDOM if player == "random" else EMBEDDED, game), dict[int, Player]()

    def player_on(lane: int, seed: int, age: int) -> Player:
        if age == 0:
            playing[lane] = player_of(seed)
        return playing[lane]

    def choose(stacks_Lx84x84x4: np.ndarray, seed_L: np.ndarray, age_L: np.ndarray) -> np.ndarray:
        lanes = enumerate(zip(stacks_Lx84x84x4, seed_L.tolist(), age_L.tolist(), strict=True))
        return np.array([player_on(lane, seed, age).act(stack) for lane, (stack, seed, age) in lanes])

    return choose
