"""What is compared: agents, and batches of the shape that they are trained with."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agents.ladder import find
from data.common.cli import UserError
from data.store.reader import TrajectoryStore
from train.bench.config import BenchConfig, Order


@dataclass(frozen=True)
class Case:
    """An agent and the shape of its batches."""

    agent: Any
    lanes: int
    window: int
    order: Order


def cases(config: BenchConfig, store: TrajectoryStore) -> Iterator[Case]:
    """What to compare on a store.

    Raises: UserError: the store is of another game, or an agent is not for the game.
    """
    if store.manifest["game"] != config.game:
        raise UserError(f"{store.path} holds games of {store.manifest['game']}, not {config.game}")
    setting = config.setting
    for name in config.agents or setting.agents:
        if not name.startswith(setting.family):
            raise UserError(f"--agents {name}: give agents whose names begin with {setting.family} for {config.game}")
        agent = find(name, len(store.manifest["actions"]), store.codec.observation)
        yield Case(agent, config.lanes, setting.window, setting.order)
