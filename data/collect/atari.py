"""Collect Atari games of an expert into a store: `collect atari`."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np
from tyro.conf import Positional

from data.codec.frames import FRAMES
from data.collect.base import Collecting, CollectingArg, Options, ToPlay, collect
from data.common.cli import quoted
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
    options: CollectingArg = Collecting(),
) -> None:
    """Play seeded Atari games into a store. Running it again adds the missing games.

    Example: `python -m data collect atari STORE --game Breakout --episodes 100`

    Args:
        store: A new store, or one of the same game.
        game: Name of the game, for example Breakout or BankHeist.
        expert: Policy: "embedded", the game's scripted expert; "random"; module:function; or the path of a
            trained policy: a folder of `python -m train rl`, a CleanRL *.cleanrl_model saved by Flax, or a
            Stable-Baselines3 zip of PPO or A2C.
        options: Options of every collector.
    """
    print(collect_atari(store, game=game, expert=expert, **vars(options)))
    print(f"next: python -m data info {quoted(store)}")


def collect_atari(store: Path, *, game: str, expert: str = EMBEDDED, **options: Unpack[Options]) -> Report:
    """Collect Atari games; see `data.collect.base.collect`. The store has the expert's action set, minimal or full."""
    return collect(store, AtariGame(game), play, expert=expert, **options)


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
    """Create the environment. Cached, so that a process reuses it for all its games."""
    return Arcade(game, actions=actions)


def _pieces(arcade: Arcade, player: Player, seed: int, score: list[float]) -> Iterator[AtariSteps]:
    """Yield the timesteps of a game in chunks, and append its final score to `score`."""
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
