"""Configuration of behavioural cloning."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agents.cost import Convention
from data.common.cli import UserError
from data.common.paths import Location, location
from data.store.episodes import EpisodeFilter

Remat = Literal["auto", "none", "layers"]


@dataclass(frozen=True)
class Optimizer:
    """AdamW with gradient clipping and a learning-rate schedule."""

    lr: float | Literal["auto"] = "auto"
    """Peak learning rate; "auto" is that of the run, for a new run by its size and batch (`train.scaling.rule`)."""
    scaling: Literal["standard", "mup"] = "standard"
    """How learning rates and initial values follow the width: as they are, or by µP, whose lr is that of width 64."""
    schedule: Literal["auto", "wsd", "cosine", "constant"] = "auto"
    """Learning rate after the warmup. wsd: constant, with a branch for each budget that decays to `final_lr`; cosine:
    decay to `final_lr` at the largest budget; constant. "auto" is wsd for several budgets, cosine for one."""
    decay: float = 0.2
    """Fraction of each budget's samples over which wsd decays, in a branch whose FLOPs count within the budget."""
    final_lr: float = 1e-4
    """Learning rate at the end of the decay."""
    warmup_samples: int = 200_000
    """Samples of linear warmup; with cosine or constant, at most a tenth of the run."""
    clip: float = 1.0
    """Gradient clipping: maximum global norm."""
    b1: float = 0.9
    """Adam's decay rate of the first moment."""
    b2: float = 0.98
    """Adam's decay rate of the second moment."""
    eps: float = 1e-8
    """Adam's epsilon."""
    weight_decay: float = 0.0
    """Weight decay of AdamW; biases and scales are not decayed."""
    average: float = 0.1
    """Parameter averaging: fraction of the steps so far that the average spans. 0 evaluates the last parameters."""

    def at(self, lr: float) -> "Optimizer":
        """The same with this peak learning rate, above which none decays."""
        return dataclasses.replace(self, lr=lr, final_lr=min(self.final_lr, lr))

    @property
    def peak(self) -> float:
        """Peak learning rate, of a run's configuration (`train.plan.Plan.config`)."""
        if self.lr == "auto":
            raise ValueError("no learning rate: Plan.of resolves auto")
        return self.lr

    @property
    def decay_to(self) -> float:
        """Learning rate at the end of the decay over that before it."""
        return self.final_lr / self.peak


@dataclass(frozen=True)
class TrainConfig:
    """One run of behavioural cloning, which is a function of this configuration."""

    store: Path
    """Folder of the store to learn from."""
    run: Location
    """Folder of the run, or gs://BUCKET/NAME: checkpoints, metrics, results. An interrupted run in it is resumed."""
    agent: str
    """Name of the agent, for example nethack/lstm/64 (`python -m agents` lists them)."""
    flops: tuple[float, ...]
    """Compute budgets in FLOPs: parameters are saved at each, training ends at the largest. With wsd, larger ones can
    be added later."""
    convention: Convention = "exact"
    """How FLOPs are counted: every operation at its true size, or as the paper does."""
    lanes: int = 64
    """Batch size in lanes, over all devices. A lane reads its part of the data in order."""
    window: int = 32
    """Steps per lane and batch (truncated backpropagation through time)."""
    init_seed: int = 0
    """Seed of the initial parameters and the dropout."""
    data_seed: int = 0
    """Seed of the order of the data."""
    population: str | None = None
    """Train many runs, the members, in one compiled step on one stream of data: values of the options in which they
    differ, for example "init_seed=0..7 lr=1e-3,3e-3" for sixteen, each in a folder below --run."""
    order: Literal["lanes", "windows"] = "lanes"
    """Order of the data: lanes that read episodes in order and keep the carry, or shuffled windows without one."""
    games: EpisodeFilter = field(default_factory=EpisodeFilter)
    """Which of the store's games to train and evaluate on."""
    mix: tuple[Path, ...] = ()
    """Further stores to learn from. A lane reads one store."""
    weights: tuple[float, ...] = ()
    """Fraction of the lanes for each store, in the order of --store and --mix; by default equal."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """The optimiser."""
    dropout: float = 0.0
    """Dropout rate before and after the core."""
    compute: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of the computation: "auto" is that of the run; for a new run bfloat16 on accelerators, float32 on a CPU."""
    fsdp: int = 1
    """Devices over which parameters, average and optimiser state are sharded; a divisor of the number of devices."""
    microbatch: int | Literal["auto"] = "auto"
    """Gradient accumulation: most samples per device in a microbatch, in whole lanes; "auto" is as many as fit,
    at most 16,384."""
    remat: Remat = "auto"
    """Rematerialisation: recompute the layers' activations in the backward pass. "auto" does where memory needs it."""
    steps_per_dispatch: int | Literal["auto"] = "auto"
    """Most steps that one dispatch computes in a compiled loop; "auto": several if they are short."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints for resuming."""
    log_every: int = 50
    """Optimiser steps per row of metrics."""
    max_skipped: int = 10
    """Fail after so many steps in a row whose loss or gradient was not finite; such a step is skipped."""
    threads: int | Literal["auto"] = "auto"
    """Number of threads that read the store; "auto": one if the CPU computes the steps, too, else up to eight."""
    deterministic: bool = False
    """Compute with GPU kernels that give the same bits each time; they may be slower."""
    dev_every: int | Literal["auto", "never"] = "auto"
    """Optimiser steps between measurements of the dev loss; "auto": about a hundredth of the compute."""
    dev_samples: int = 32_768
    """Upper bound on the held-out samples of a measurement, which are the same for all runs on a store."""
    tensorboard_axis: Literal["steps", "samples", "flops"] = "steps"
    """Horizontal axis of TensorBoard: optimiser steps, samples or training FLOPs."""
    profile: bool = False
    """Write a trace of ten dispatches into RUN/plugins/profile, for TensorBoard with the xprof package."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises: UserError: a value is out of range; the message names the field.
        """
        optimizer = self.optimizer
        positive = {
            "lanes": self.lanes,
            "window": self.window,
            "log_every": self.log_every,
            "max_skipped": self.max_skipped,
            "threads": 1 if self.threads == "auto" else self.threads,
            "fsdp": self.fsdp,
            "microbatch": 1 if self.microbatch == "auto" else self.microbatch,
            "steps_per_dispatch": 1 if self.steps_per_dispatch == "auto" else self.steps_per_dispatch,
            "dev_samples": self.dev_samples,
            **({"dev_every": self.dev_every} if isinstance(self.dev_every, int) else {}),
            **({} if optimizer.lr == "auto" else {"optimizer.lr": optimizer.lr}),
            "optimizer.clip": optimizer.clip,
            "optimizer.eps": optimizer.eps,
            "optimizer.decay": optimizer.decay,
            **{f"flops {budget:g}": budget for budget in self.flops},
        }
        for name, value in positive.items():
            if not 0 < value < math.inf:
                raise UserError(f"{name} must be more than 0, not {value}")
        shares = {
            "dropout": self.dropout,
            "optimizer.b1": optimizer.b1,
            "optimizer.b2": optimizer.b2,
            "optimizer.average": optimizer.average,
            "optimizer.decay": optimizer.decay,
        }
        for name, value in shares.items():
            if not 0 <= value < 1:
                raise UserError(f"{name} must be at least 0 and less than 1, not {value}")
        least = {
            "optimizer.warmup_samples": optimizer.warmup_samples,
            "optimizer.weight_decay": optimizer.weight_decay,
            "optimizer.final_lr": optimizer.final_lr,
            "checkpoint_seconds": self.checkpoint_seconds,
            "init_seed": self.init_seed,
            "data_seed": self.data_seed,
        }
        for name, value in least.items():
            if not value >= 0:
                raise UserError(f"{name} must not be negative, not {value}")
        if not self.flops:
            raise UserError("flops names no budget: give at least one, for example --flops 1e12")
        if len(set(self.flops)) < len(self.flops):
            raise UserError("flops names a budget twice: give each once")
        if self.tensorboard_axis == "flops" and not max(self.flops) < 2**63:
            raise UserError(
                f"TensorBoard's axis ends at 2^63, below {max(self.flops):g} FLOPs: choose steps or samples"
            )

    @property
    def stores(self) -> tuple[Path, ...]:
        """All stores to learn from."""
        return self.store, *self.mix

    @property
    def batch(self) -> int:
        """Samples per optimiser step."""
        return self.lanes * self.window

    @property
    def schedule(self) -> Literal["wsd", "cosine", "constant"]:
        """The learning-rate schedule; of "auto", that of a new run."""
        if self.optimizer.schedule == "auto":
            return "wsd" if len(self.flops) > 1 else "cosine"
        return self.optimizer.schedule

    @property
    def measure_every(self) -> int | None:
        """Optimiser steps between measurements of the dev loss; None: never.

        "auto": a multiple of `log_every` so large that they take about 1 % of the FLOPs. A sample costs a third of what
        it costs in training, which has a backward pass.
        """
        if self.dev_every == "never":
            return None
        if self.dev_every == "auto":
            rows = self.dev_samples / 3 / (0.01 * self.batch * self.log_every)
            return self.log_every * math.ceil(rows)
        return self.dev_every


SPLIT = {"seed": ("init_seed", "data_seed")}
"""Fields of earlier versions, and those that they have become."""


def to_json(config: Any) -> dict[str, Any]:
    """A configuration, a dataclass, as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def defaults_of(kind: type) -> dict[str, Any]:
    """The defaults of a configuration's fields as JSON values: what a run of a version without these fields did."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    values = {name: f.default for name, f in fields.items() if f.default is not dataclasses.MISSING}
    made = {name: f.default_factory() for name, f in fields.items() if f.default_factory is not dataclasses.MISSING}
    nested = {name: dataclasses.asdict(value) for name, value in made.items()}
    return json.loads(json.dumps(values | nested, default=str))


def completed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of this or an earlier version as JSON values, with the fields of this one.

    Fields that the earlier version did not have are at their defaults, those that it had under one name are split.
    """
    names = {old: new if new[0] in defaults else (old,) for old, new in SPLIT.items()}
    both = {**defaults, **{name: value for old, value in values.items() for name in names.get(old, (old,))}}
    return {
        name: completed(value, defaults[name]) if isinstance(value, dict) and name in defaults else value
        for name, value in both.items()
    }


def from_json(values: Mapping[str, Any]) -> TrainConfig:
    """The configuration that `to_json` wrote, in this or an earlier version.

    Raises: UserError: it is of a later version, with fields that this one does not know.
    """
    values = completed(values, defaults_of(TrainConfig))
    unknown = [
        f"{kind.__name__}.{name}"
        for kind, names in ((TrainConfig, values), (Optimizer, values["optimizer"]), (EpisodeFilter, values["games"]))
        for name in set(names) - {f.name for f in dataclasses.fields(kind)}
    ]
    if unknown:
        raise UserError(f"configuration of a later version, with {', '.join(sorted(unknown))}: update isoplay")
    values["store"], values["run"] = Path(values["store"]), location(values["run"])
    values["flops"] = tuple(values["flops"])
    values["mix"] = tuple(map(Path, values["mix"]))
    values["weights"] = tuple(values["weights"])
    values["optimizer"] = Optimizer(**values["optimizer"])
    values["games"] = EpisodeFilter(**values["games"] | {"roles": tuple(values["games"]["roles"])})
    return TrainConfig(**values)


def result_fields(config: TrainConfig) -> dict[str, Any]:
    """The fields that determine the parameters: without paths, what changes only rounding, and what is only shown."""
    values = to_json(config)
    elsewhere = ("run", "store", "mix")
    rounding = ("fsdp", "microbatch", "remat", "steps_per_dispatch", "deterministic")
    watching = (
        "checkpoint_seconds",
        "log_every",
        "max_skipped",
        "dev_every",
        "dev_samples",
        "tensorboard_axis",
        "profile",
    )
    for name in (*elsewhere, *rounding, *watching, "threads"):
        del values[name]
    if config.optimizer.schedule == "wsd":
        # The parameters at a budget don't depend on the other budgets.
        del values["flops"]
    return values


def config_hash(config: TrainConfig) -> str:
    """First twelve hex digits of the SHA-256 of `result_fields`."""
    return hashlib.sha256(json.dumps(result_fields(config), sort_keys=True).encode()).hexdigest()[:12]
