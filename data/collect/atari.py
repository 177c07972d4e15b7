"""Atari games played by an expert into a store: `collect atari`."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from data.codec.frames import FRAMES
from data.collect.base import ToPlay, collect
from data.experts.registry import EMBEDDED
from data.games.arcade import Arcade
from data.games.atari import AtariGame
from data.games.base import Player
from data.importers.base import Report
from data.spec import AtariSteps
from data.store.pack import CHUNK_STEPS, PackedEpisode, pack


def command(
    store: Positional[Path],
    game: str,
    expert: str = EMBEDDED,
    episodes: int = 100,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Play seeded Atari games into a store; started again, play those that are missing.

    Args:
        store: The store, new or of the same game.
        game: Name of the game, as in result rows: Breakout, BankHeist.
        expert: Who plays: "embedded", the game's scripted expert; "random"; module:function; or the path of a
            trained policy: a folder of `python -m train rl`, a CleanRL *.cleanrl_model that Flax saved, or a zip of
            Stable-Baselines3's PPO or A2C.
        episodes: Number of games. Games already in the store count.
        seed: Game i is a function of (seed, i).
        workers: Processes that play; default one per core. Changes nothing about the games.
    """
    print(collect_atari(store, game=game, expert=expert, episodes=episodes, seed=seed, workers=workers))


def collect_atari(
    store: Path,
    *,
    game: str,
    expert: str = EMBEDDED,
    episodes: int = 100,
    seed: int = 0,
    workers: int | None = None,
    dev_fraction: float | None = None,
) -> Report:
    """See `data.collect.base.collect`. A policy of ALE's full action set plays, and is stored, in that."""
    options = {"expert": expert, "episodes": episodes, "seed": seed, "workers": workers, "dev_fraction": dev_fraction}
    return collect(store, AtariGame(game), play, **options)


def play(recording: ToPlay) -> PackedEpisode:
    """Play one game to its end."""
    expert = recording.expert
    arcade, player = _arcade(expert.game, expert.actions), expert.player(recording.seed)
    score: list[float] = []
    pieces = _pieces(arcade, player, recording.seed, score)
    game = pack(FRAMES, pieces, score=0.0, source=recording.source, seed=recording.seed)
    return replace(game, score=score[-1])


@functools.cache
def _arcade(game: str, actions: int | None) -> Arcade:
    """One environment for all games that this process plays."""
    return Arcade(game, actions=actions)


def _pieces(arcade: Arcade, player: Player, seed: int, score: list[float]) -> Iterator[AtariSteps]:
    """The game's steps, a chunk at a time; its score is appended to `score` once it is over."""
    [stack] = arcade.reset(np.array([seed % 2**31]))
    total, done = 0.0, False
    stacks, actions, scores = [], [], []
    while not done:
        action = player.act(stack)
        stacks.append(stack)
        actions.append(action)
        scores.append(total)
        [stack], [reward], [done] = arcade.step(np.array([action]))
        total += float(reward)
        if done or len(actions) == CHUNK_STEPS:
            yield AtariSteps(np.stack(stacks), np.array(actions, np.uint8), np.array(scores, np.int32))
            stacks, actions, scores = [], [], []
    score.append(total)
