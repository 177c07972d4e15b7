"""Configurations of PPO."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from data.common.cli import UserError
from tests.train.rl.runs import config
from train.rl.config import Ppo, RlConfig


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lanes": 0}, "lanes"),
        ({"steps": -1}, "steps"),
        ({"threads": 0}, "threads"),
        ({"seed": -1}, "seed"),
        ({"checkpoint_seconds": float("nan")}, "checkpoint_seconds"),
        ({"ppo": Ppo(gamma=1.1)}, "ppo.gamma"),
        ({"ppo": Ppo(gae_lambda=-0.1)}, "ppo.gae_lambda"),
        ({"ppo": Ppo(lr=0)}, "ppo.lr"),
        ({"ppo": Ppo(entropy=-1)}, "ppo.entropy"),
        ({"ppo": Ppo(minibatches=3)}, "ppo.minibatches must divide the 256 steps"),
    ],
)
def test_impossible_values_are_named(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        dataclasses.replace(config(tmp_path), **changes)


def test_steps_are_whole_updates(tmp_path: Path) -> None:
    assert RlConfig("Breakout", tmp_path).updates == 9766
    assert RlConfig("Breakout", tmp_path, steps=1).updates == 1
