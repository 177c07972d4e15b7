"""What a training run is: frozen dataclasses, one line of help per field."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agents.cost import Convention
from data.common.cli import UserError
from data.store.episodes import EpisodeFilter


@dataclass(frozen=True)
class Optimizer:
    """Adam with gradient clipping, warmup and a schedule."""

    lr: float = 3e-3
    """Peak learning rate."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """What follows the warmup: constant, or a cosine down to `final_lr` at the largest budget."""
    final_lr: float = 1e-4
    """Learning rate at the end of the cosine."""
    warmup_samples: int = 200_000
    """Samples over which the learning rate rises from 0; at most a tenth of the run."""
    clip: float = 1.0
    """Largest global norm of a gradient."""
    b1: float = 0.9
    """Adam's decay of the mean."""
    b2: float = 0.98
    """Adam's decay of the square."""
    eps: float = 1e-8
    """Adam's epsilon."""
    weight_decay: float = 0.0
    """Decoupled weight decay of matrices, per step and unit of learning rate (AdamW)."""
    average: float = 0.1
    """Fraction of the run so far that the kept average of the parameters spans; 0 keeps the parameters."""


@dataclass(frozen=True)
class TrainConfig:
    """One behavioural cloning run. The run is a function of it."""

    store: Path
    """TrajectoryStore to learn from."""
    run: Path
    """Folder of the run: checkpoints, metrics and results. An interrupted run in it is continued."""
    agent: str
    """Name in the ladder, for example nethack/lstm/64 (`python -m agents` lists them)."""
    flops: tuple[float, ...]
    """Training budgets in FLOPs: the parameters are saved as each is passed; training ends at the largest."""
    convention: Convention = "exact"
    """How FLOPs are counted."""
    lanes: int = 64
    """Rows of the batch over all devices; each reads its own stretch of the data in order."""
    window: int = 32
    """Steps per lane and batch, through which gradients flow."""
    seed: int = 0
    """Seed of the parameters and of the order of the data."""
    order: Literal["lanes", "windows"] = "lanes"
    """How batches follow each other: lanes that read on and on, or shuffled windows, each without a past."""
    games: EpisodeFilter = field(default_factory=EpisodeFilter)
    """Which of the store's games to learn from, and to measure the loss on."""
    mix: tuple[Path, ...] = ()
    """Further stores to learn from: each lane reads one store."""
    weights: tuple[float, ...] = ()
    """Share of the lanes of each store, the first one and those mixed in; default equal shares."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """The optimiser."""
    dropout: float = 0.0
    """Fraction of the features dropped before and after the core in training."""
    compute: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of the computation: auto is bfloat16 on accelerators and float32 on a CPU."""
    checkpoint_seconds: float = 60.0
    """Least time between checkpoints for resuming."""
    log_every: int = 50
    """Optimiser steps per row of metrics."""
    threads: int = 1
    """Threads that read the store."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained; every message names the field."""
        optimizer = self.optimizer
        positive = {
            "lanes": self.lanes,
            "window": self.window,
            "log_every": self.log_every,
            "threads": self.threads,
            "optimizer.lr": optimizer.lr,
            "optimizer.clip": optimizer.clip,
            "optimizer.eps": optimizer.eps,
            **{f"flops {budget:g}": budget for budget in self.flops},
        }
        for name, value in positive.items():
            if not value > 0:
                raise UserError(f"{name} must be more than 0, not {value}")
        shares = {
            "dropout": self.dropout,
            "optimizer.b1": optimizer.b1,
            "optimizer.b2": optimizer.b2,
            "optimizer.average": optimizer.average,
        }
        for name, value in shares.items():
            if not 0 <= value < 1:
                raise UserError(f"{name} must be at least 0 and less than 1, not {value}")
        least = {
            "optimizer.warmup_samples": optimizer.warmup_samples,
            "optimizer.weight_decay": optimizer.weight_decay,
            "optimizer.final_lr": optimizer.final_lr,
            "checkpoint_seconds": self.checkpoint_seconds,
            "seed": self.seed,
        }
        for name, value in least.items():
            if not value >= 0:
                raise UserError(f"{name} must not be negative, not {value}")
        if not self.flops:
            raise UserError("flops names no budget: give at least one, for example --flops 1e12")
        if len(set(self.flops)) < len(self.flops):
            raise UserError("flops names a budget twice: give each once")

    @property
    def stores(self) -> tuple[Path, ...]:
        """All that is learned from."""
        return self.store, *self.mix

    @property
    def batch(self) -> int:
        """Samples per optimiser step."""
        return self.lanes * self.window


def to_json(config: TrainConfig) -> dict[str, Any]:
    """The configuration as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def from_json(values: dict[str, Any]) -> TrainConfig:
    """The configuration that `to_json` wrote."""
    known = {f.name for f in dataclasses.fields(TrainConfig)}
    if set(values) != known:
        raise UserError(f"configuration of another version: it differs in {sorted(set(values) ^ known)}")
    values = dict(values)
    for name in ("store", "run"):
        values[name] = Path(values[name])
    values["flops"] = tuple(values["flops"])
    values["mix"] = tuple(map(Path, values["mix"]))
    values["weights"] = tuple(values["weights"])
    values["optimizer"] = Optimizer(**values["optimizer"])
    values["games"] = EpisodeFilter(**values["games"] | {"roles": tuple(values["games"]["roles"])})
    return TrainConfig(**values)


def result_fields(config: TrainConfig) -> dict[str, Any]:
    """The part of the configuration that decides the parameters: not where things lie or how often they log."""
    values = to_json(config)
    for name in ("run", "store", "mix", "checkpoint_seconds", "log_every", "threads"):
        del values[name]
    return values


def config_hash(config: TrainConfig) -> str:
    """Twelve hex digits that stand for `result_fields`."""
    return hashlib.sha256(json.dumps(result_fields(config), sort_keys=True).encode()).hexdigest()[:12]
