"""Atari games played by an expert, straight into a store: what `collect atari` does.

A game to play is a recording to import: all cores play, what is written is whole or as it was before, and playing
again adds only the games that are missing.
"""

import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from data.codec.frames import FRAMES
from data.collect.nethack import game_seed
from data.common.cli import UserError
from data.experts.breakout import BreakoutExpert
from data.experts.trained.policies import Policy, load, players
from data.games import atari
from data.games.arcade import Arcade
from data.games.nethack import RandomPlayer
from data.importers.base import Report, import_games
from data.spec import AtariSteps
from data.store.reader import CHUNK_STEPS
from data.store.writer import Game, pack

RANDOM, EMBEDDED = "random", "embedded"


class Player(Protocol):
    """Plays one game. A new instance for every game."""

    def act(self, stack_84x84x4: np.ndarray, /) -> int:
        """The key to press on seeing the last four frames, uint8, the newest last: an index of the action set."""
        ...


EXPERTS: dict[str, Callable[[int], Player]] = {"Breakout": BreakoutExpert}
"""The embedded expert of each game that has one."""


@dataclass(frozen=True)
class ToPlay:
    """A game that was not played yet, as `data.importers.base` wants a recording."""

    game: str
    player: str
    """`random` or `embedded`, or the digest of a trained policy."""
    seed: int
    source: str
    checkpoint: Path | None = None
    """Where the trained policy lies."""
    actions: int | None = None
    """How many it has; default the game's minimal set."""

    def fingerprint(self) -> str:
        """Tells it from other games: who plays what."""
        return hashlib.sha256(f"{self.game} {self.player} {self.seed}".encode()).hexdigest()[:32]


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
    """Play `episodes` games, of which game i is a function of (seed, i), and add to the store what it lacks.

    `expert` is `embedded`, `random`, or the path of a trained policy (see `data.experts.trained.policies`); of the
    last, games are a function of its weights too. One of ALE's full action set plays, and is stored, in that.
    """
    if episodes < 1 or seed < 0:
        raise UserError(f"--episodes {episodes} and --seed {seed}: give at least 1 and 0")
    policy = _policy(expert, game)
    actions = len(policy.actions) if policy else None
    return import_games(
        store,
        atari.content(game, actions),
        store,
        functools.partial(to_play, game, expert, policy, seed, episodes),
        play,
        importer="collect atari",
        expert=policy.name if policy else expert,
        workers=workers,
        dev_fraction=dev_fraction,
    )


def to_play(game: str, expert: str, policy: Policy | None, seed: int, episodes: int, _: Path) -> list[ToPlay]:
    """The games of a collection."""
    one = ToPlay(game, expert, 0, "")
    if policy is not None:
        one = replace(one, player=policy.digest, checkpoint=Path(expert), actions=len(policy.actions))
    return [replace(one, seed=game_seed(seed, number), source=f"game-{number:05d}") for number in range(episodes)]


def play(recording: ToPlay) -> Game:
    """Play the game to its end."""
    arcade = _arcade(recording.game, recording.actions)
    if recording.checkpoint is not None:
        player = _trained(recording.checkpoint, recording.game, recording.player)(recording.seed)
    else:
        player = scripted(recording.player, recording.game)(recording.seed)
    score: list[float] = []
    pieces = _pieces(arcade, player, recording.seed, score)
    game = pack(FRAMES, pieces, score=0.0, source=recording.source, seed=recording.seed)
    return replace(game, score=score[-1])


def scripted(player: str, game: str) -> Callable[[int], Player]:
    """Makes the players of a game's seed: the embedded expert, or random keys of the minimal action set."""
    if player == RANDOM:
        keys = len(atari.content(game).actions)
        return lambda seed: RandomPlayer(seed, keys)
    return EXPERTS[game]


def _policy(expert: str, game: str) -> Policy | None:
    """The trained policy that an expert is; None if it is none."""
    atari.content(game)
    if expert == EMBEDDED and game not in EXPERTS:
        others = f"--expert {RANDOM} or the path of a trained policy"
        raise UserError(f"{game} has no embedded expert ({', '.join(EXPERTS)} has): choose {others}")
    if expert in (EMBEDDED, RANDOM):
        return None
    if not os.path.exists(expert):
        raise UserError(f"unknown expert {expert!r}: choose {EMBEDDED}, {RANDOM}, or the path of a trained policy")
    return load(Path(expert), game)


@functools.cache
def _arcade(game: str, actions: int | None) -> Arcade:
    """One for all games that this process plays."""
    return Arcade(game, actions=actions)


@functools.cache
def _trained(checkpoint: Path, game: str, digest: str) -> Callable[[int], Player]:
    """Makes the players of a policy; loaded once by a process, which leaves accelerators to others."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    policy = load(checkpoint, game)
    if policy.digest != digest:
        raise UserError(f"{checkpoint} changed while it played: start the same command again")
    return players(policy)


def _pieces(arcade: Arcade, player: Player, seed: int, score: list[float]) -> Iterator[AtariSteps]:
    """The game's steps, a chunk at a time; its score is put into `score` once it is over."""
    [stack] = arcade.reset(np.array([seed % 2**31]))
    total, over = 0.0, False
    stacks, keys, scores = [], [], []
    while not over:
        key = player.act(stack)
        stacks.append(stack)
        keys.append(key)
        scores.append(total)
        [stack], [reward], [over] = arcade.step(np.array([key]))
        total += float(reward)
        if over or len(keys) == CHUNK_STEPS:
            yield AtariSteps(np.stack(stacks), np.array(keys, np.uint8), np.array(scores, np.int32))
            stacks, keys, scores = [], [], []
    score.append(total)
