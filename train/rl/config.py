"""What a reinforcement learning run is: frozen dataclasses, one line of help per field."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.common.cli import UserError


@dataclass(frozen=True)
class Ppo:
    """How PPO learns; the defaults are those for Atari of Schulman et al. (2017), see `train.rl.ppo`."""

    horizon: int = 128
    """Steps that each lane plays between two updates."""
    epochs: int = 4
    """How often an update goes through what was played."""
    minibatches: int = 4
    """Parts of what was played, each an optimiser step, in every epoch."""
    lr: float = 2.5e-4
    """Learning rate at the start; it falls to 0 along a line."""
    gamma: float = 0.99
    """Discount of future rewards, per step."""
    gae_lambda: float = 0.95
    """Decay of the generalised advantage estimate: 0 trusts the critic, 1 the rewards."""
    clip: float = 0.1
    """How far an update is rewarded for moving an action's probability, as a share of what it was."""
    entropy: float = 0.01
    """Weight of the policy's entropy, which keeps it trying."""
    value: float = 0.5
    """Weight of the critic's error."""
    max_grad_norm: float = 0.5
    """Largest global norm of a gradient."""


@dataclass(frozen=True)
class RlConfig:
    """One run of PPO on an Atari game. An uninterrupted run is a function of it."""

    game: str
    """Name of the game, as in result rows: Breakout, BankHeist."""
    run: Path
    """Folder of the run: checkpoints, metrics and the policy. An interrupted run in it is continued."""
    steps: int = 10_000_000
    """Steps to play on all lanes together, each of four frames; rounded up to whole updates."""
    lanes: int = 8
    """Games played at once."""
    ppo: Ppo = field(default_factory=Ppo)
    """The algorithm."""
    life_loss: bool = True
    """Whether the critic looks no further than a lost life; the game itself goes on."""
    seed: int = 0
    """Seed of the parameters, the games, the actions and the minibatches."""
    threads: int | None = None
    """Threads that play the games; default one per core. Changes nothing about them."""
    checkpoint_seconds: float = 60.0
    """Least time between checkpoints for resuming; the policy is written with each."""
    log_every: int = 10
    """Updates per row of metrics."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained; every message names the field."""
        ppo = self.ppo
        positive = {
            "steps": self.steps,
            "lanes": self.lanes,
            "log_every": self.log_every,
            "threads": 1 if self.threads is None else self.threads,
            "ppo.horizon": ppo.horizon,
            "ppo.epochs": ppo.epochs,
            "ppo.minibatches": ppo.minibatches,
            "ppo.lr": ppo.lr,
            "ppo.clip": ppo.clip,
            "ppo.max_grad_norm": ppo.max_grad_norm,
        }
        for name, value in positive.items():
            if not 0 < value < math.inf:
                raise UserError(f"{name} must be more than 0, not {value}")
        for name, value in {"ppo.gamma": ppo.gamma, "ppo.gae_lambda": ppo.gae_lambda}.items():
            if not 0 <= value <= 1:
                raise UserError(f"{name} must be between 0 and 1, not {value}")
        least = {
            "ppo.entropy": ppo.entropy,
            "ppo.value": ppo.value,
            "checkpoint_seconds": self.checkpoint_seconds,
            "seed": self.seed,
        }
        for name, value in least.items():
            if not 0 <= value < math.inf:
                raise UserError(f"{name} must not be negative, not {value}")
        if self.batch % ppo.minibatches:
            raise UserError(
                f"ppo.minibatches must divide the {self.batch} steps of an update"
                f" ({self.lanes} lanes of {ppo.horizon} steps), not be {ppo.minibatches}"
            )

    @property
    def batch(self) -> int:
        """Steps played between two updates."""
        return self.lanes * self.ppo.horizon

    @property
    def updates(self) -> int:
        """Updates of the whole run."""
        return math.ceil(self.steps / self.batch)


def to_json(config: RlConfig) -> dict[str, Any]:
    """The configuration as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def result_fields(config: RlConfig) -> dict[str, Any]:
    """The part of the configuration that decides the parameters: not where things lie or how often they are kept."""
    values = to_json(config)
    for name in ("run", "threads", "checkpoint_seconds", "log_every"):
        del values[name]
    return values
