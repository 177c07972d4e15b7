"""Configuration of reinforcement learning."""

import math
from dataclasses import dataclass, field
from typing import Any

from data.common.cli import UserError
from data.common.paths import Location
from train.config import to_json


@dataclass(frozen=True)
class Ppo:
    """PPO, by default with the settings of Schulman et al. (2017) for Atari; see `train.rl.ppo`."""

    horizon: int = 128
    """Steps per lane and rollout."""
    epochs: int = 4
    """Epochs over a rollout per update."""
    minibatches: int = 4
    """Minibatches per epoch."""
    lr: float = 2.5e-4
    """Initial learning rate, which decays linearly to 0."""
    gamma: float = 0.99
    """Discount factor."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation (GAE)."""
    clip: float = 0.1
    """PPO clip range (epsilon)."""
    entropy: float = 0.01
    """Coefficient of the entropy bonus."""
    value: float = 0.5
    """Coefficient of the value loss."""
    max_grad_norm: float = 0.5
    """Gradient clipping: maximum global norm."""


@dataclass(frozen=True)
class RlConfig:
    """One run of PPO on an Atari game. An uninterrupted run is a function of this configuration."""

    game: str
    """Name of the Atari game, for example Breakout or BankHeist."""
    run: Location
    """Folder of the run, for checkpoints, metrics and the policy. An interrupted run in it is resumed."""
    steps: int = 10_000_000
    """Environment steps of all lanes together, each of four frames; rounded up to whole updates."""
    lanes: int = 8
    """Number of environments played in parallel."""
    ppo: Ppo = field(default_factory=Ppo)
    """PPO."""
    life_loss: bool = True
    """Treat a lost life as terminal for bootstrapping; the game goes on."""
    seed: int = 0
    """Seed of the parameters, the games, the actions and the minibatches."""
    threads: int | None = None
    """Number of threads that step the games; by default one per core. Results don't depend on it."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints for resuming; the policy is written with each."""
    log_every: int = 10
    """Updates per row of metrics."""
    deterministic: bool = False
    """Compute with GPU kernels that give the same bits each time; they may be slower."""
    max_skipped: int = 10
    """Fail after so many updates in a row whose losses or gradient were not finite; such an update is skipped."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises: UserError: a value is out of range; the message names the field.
        """
        ppo = self.ppo
        positive = {
            "steps": self.steps,
            "lanes": self.lanes,
            "log_every": self.log_every,
            "max_skipped": self.max_skipped,
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
        """Environment steps per update."""
        return self.lanes * self.ppo.horizon

    @property
    def updates(self) -> int:
        """Number of updates of the whole run."""
        return math.ceil(self.steps / self.batch)


def result_fields(config: RlConfig) -> dict[str, Any]:
    """The fields that determine the parameters: without the path, intervals and threads."""
    values = to_json(config)
    for name in ("run", "threads", "checkpoint_seconds", "log_every", "deterministic", "max_skipped"):
        del values[name]
    return values
