"""Collect episodes of Gymnasium environments with an expert into a store: `collect gym`."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from tyro.conf import Positional

from data.codec.generic import GenericSteps, packed
from data.collect.base import Collecting, CollectingArg, Options, ToPlay, collect
from data.common.cli import UserError, quoted
from data.experts.registry import EMBEDDED
from data.games.base import Content, Player
from data.games.gym import PREFIX, GymGame, by_field, make, whole
from data.importers.base import Report
from data.store.pack import CHUNK_STEPS, PackedEpisode, pack


def command(
    store: Positional[Path],
    env: str,
    expert: str = EMBEDDED,
    options: CollectingArg = Collecting(),
) -> None:
    """Play seeded episodes of a Gymnasium environment into a store. Running it again adds the missing ones.

    Example: `python -m data collect gym STORE --env CartPole-v1 --expert module:function`

    Args:
        store: A new store, or one of the same environment.
        env: Id of an environment with a Discrete action space and a Box or Dict-of-Box observation space:
            CartPole-v1, or module:ENV if importing a module registers it.
        expert: Policy: module:function, "random", or "embedded" (CartPole-v1 has one). The function takes the
            observation and returns the action; if its first parameter is called seed, it is called once per episode
            and returns an object with a method act(observation).
        options: Options of every collector.
    """
    print(collect_gym(store, env=env, expert=expert, **vars(options)))
    print(f"next: python -m data info {quoted(store)}")


def collect_gym(store: Path, *, env: str, expert: str = EMBEDDED, **options: Unpack[Options]) -> Report:
    """Collect episodes of a Gymnasium environment; see `data.collect.base.collect`."""
    return collect(store, GymGame(PREFIX + env.removeprefix(PREFIX)), play, expert=expert, **options)


def play(recording: ToPlay) -> PackedEpisode:
    """Play one episode to its end."""
    expert = recording.expert
    total: list[float] = []
    pieces = _pieces(_env(expert.game), expert.content, expert.player(recording.seed), recording.seed, total)
    game = pack(expert.content.codec, pieces, score=0.0, source=recording.source, seed=recording.seed)
    return replace(game, score=total[-1])


@functools.cache
def _env(name: str) -> Any:
    """Create the environment. Cached, so that a process reuses it for all its episodes."""
    return make(name)


def _pieces(env: Any, content: Content, player: Player, seed: int, total: list[float]) -> Iterator[GenericSteps]:
    """Yield the timesteps of an episode in chunks, and append its return to `total`."""
    fields, first = content.codec.observation, int(content.actions[0])
    observation, _ = env.reset(seed=seed)
    score, done = 0.0, False
    seen, actions, scores = [], [], []
    while not done:
        action = player.act(observation)
        # A copy: an environment may write each observation into the same array.
        seen.append({name: np.array(value) for name, value in by_field(observation).items()})
        actions.append(action)
        scores.append(whole(score))
        observation, reward, terminated, truncated, _ = env.step(first + action)
        score, done = score + float(reward), terminated or truncated
        if not np.isfinite(score):
            raise UserError(f"{content.game} gave a reward of {reward}: only finite rewards add up to a return")
        if done or len(actions) == CHUNK_STEPS:
            columns = {name: np.stack([each[name] for each in seen]) for name in fields}
            yield GenericSteps(packed(fields, columns), np.array(actions, np.uint8), np.array(scores, np.int32))
            seen, actions, scores = [], [], []
    total.append(score)
