"""Episodes of Gymnasium environments played by an expert into a store: `collect gym`."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tyro.conf import Positional

from data.codec.generic import GenericSteps, packed
from data.collect.base import ToPlay, collect
from data.common.cli import UserError
from data.experts.registry import EMBEDDED
from data.games.base import Content, Player
from data.games.gym import PREFIX, GymGame, by_field, make, whole
from data.importers.base import Report
from data.store.pack import CHUNK_STEPS, PackedEpisode, pack


def command(
    store: Positional[Path],
    env: str,
    expert: str = EMBEDDED,
    episodes: int = 100,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Play seeded episodes of a Gymnasium environment into a store; started again, play those that are missing.

    Args:
        store: The store, new or of the same environment.
        env: The environment's id, with a Discrete action space and a Box or Dict-of-Box observation space:
            CartPole-v1, or module:ENV where importing a module registers it.
        expert: Who plays: module:function, "random", or "embedded" (CartPole-v1 has one). The function takes the
            observation and returns the action; if its first parameter is called seed, it is called once an episode
            and returns an object with a method act(observation).
        episodes: Number of episodes. Those already in the store count.
        seed: Episode i is a function of (seed, i).
        workers: Processes that play; default one per core. Changes nothing about the episodes.
    """
    print(collect_gym(store, env=env, expert=expert, episodes=episodes, seed=seed, workers=workers))


def collect_gym(
    store: Path,
    *,
    env: str,
    expert: str = EMBEDDED,
    episodes: int = 100,
    seed: int = 0,
    workers: int | None = None,
    dev_fraction: float | None = None,
) -> Report:
    """See `data.collect.base.collect`."""
    options = {"expert": expert, "episodes": episodes, "seed": seed, "workers": workers, "dev_fraction": dev_fraction}
    return collect(store, GymGame(PREFIX + env.removeprefix(PREFIX)), play, **options)


def play(recording: ToPlay) -> PackedEpisode:
    """Play one episode to its end."""
    expert = recording.expert
    total: list[float] = []
    pieces = _pieces(_env(expert.game), expert.content, expert.player(recording.seed), recording.seed, total)
    game = pack(expert.content.codec, pieces, score=0.0, source=recording.source, seed=recording.seed)
    return replace(game, score=total[-1])


@functools.cache
def _env(name: str) -> Any:
    """One environment for all episodes that this process plays."""
    return make(name)


def _pieces(env: Any, content: Content, player: Player, seed: int, total: list[float]) -> Iterator[GenericSteps]:
    """The episode's timesteps, a chunk at a time; its return is appended to `total` once it is over."""
    fields, first = content.codec.observation, int(content.actions[0])
    observation, _ = env.reset(seed=seed)
    score, done = 0.0, False
    seen, actions, scores = [], [], []
    while not done:
        action = player.act(observation)
        seen.append(by_field(observation))
        actions.append(action)
        scores.append(whole(score))
        observation, reward, terminated, truncated, _ = env.step(first + action)
        score, done = score + float(reward), terminated or truncated
        if not np.isfinite(score):
            raise UserError(f"{content.game} gave a reward of {reward}: only finite rewards add up to a return")
        if done or len(actions) == CHUNK_STEPS:
            columns = {name: np.stack([np.asarray(each[name]) for each in seen]) for name in fields}
            yield GenericSteps(packed(fields, columns), np.array(actions, np.uint8), np.array(scores, np.int32))
            seen, actions, scores = [], [], []
    total.append(score)
