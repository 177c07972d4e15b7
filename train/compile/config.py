"""Configuration of `python -m train compile`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.common.cli import UserError
from train.config import Optimizer, Remat, TrainConfig


@dataclass(frozen=True)
class CompileConfig:
    """A training step to compile for devices that need not be here."""

    target: str
    """Devices: a TPU slice, v4:, v5e:, v5p: or v6e: with its topology (v5e:4x4), or GPUs (a100:1, h100:8, h200:8)."""
    agent: str | None = None
    """Name of the agent, for example nethack/lstm/256 (`python -m agents` lists them)."""
    lanes: int = TrainConfig.lanes
    """Batch size in lanes, over all devices."""
    window: int = TrainConfig.window
    """Steps per lane and batch."""
    order: Literal["lanes", "windows"] = TrainConfig.order
    """Order of the data: lanes keep the carry from batch to batch, shuffled windows have none."""
    dropout: float = TrainConfig.dropout
    """Dropout rate before and after the core."""
    average: float = Optimizer.average
    """Parameter averaging, as `--average` of `train bc`; 0 keeps no average."""
    compute: Literal["float32", "bfloat16"] = "bfloat16"
    """Dtype of the computation."""
    fsdp: int = TrainConfig.fsdp
    """Devices over which parameters, average and optimiser state are sharded."""
    microbatch: int | Literal["auto"] = TrainConfig.microbatch
    """Gradient accumulation: most samples per device in a microbatch; "auto" is as many as fit."""
    remat: Remat = TrainConfig.remat
    """Rematerialisation: recompute the layers' activations in the backward pass. "auto" does where memory needs it."""
    members: int = 1
    """Runs of a population, which are trained in one step."""
    json: bool = False
    """Print one JSON object."""
    top: int = 0
    """Print as many instructions, those that move most bytes."""
    dump: Path | None = None
    """File to write the compiled program to (HLO)."""
    ladder: tuple[str, ...] | None = None
    """Print a Markdown table of these agents, a row each; without names, of a dozen from the smallest to 1B."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises: UserError: a value is out of range; the message names the option.
        """
        counts = {"lanes": self.lanes, "window": self.window, "members": self.members}
        counts["microbatch"] = 1 if self.microbatch == "auto" else self.microbatch
        for name, value in counts.items():
            if value < 1:
                raise UserError(f"--{name} must be at least 1, not {value}")
        if self.fsdp < 1 or self.top < 0:
            raise UserError("--fsdp must be at least 1, and --top not negative")
        for name, value in {"dropout": self.dropout, "average": self.average}.items():
            if not 0 <= value < 1 or math.isnan(value):
                raise UserError(f"--{name} must be at least 0 and less than 1, not {value}")
        if (self.agent is None) == (self.ladder is None):
            raise UserError("give --agent NAME, or --ladder for a table of several")
        if self.dump is not None and not self.dump.parent.is_dir():
            raise UserError(f"--dump {self.dump}: there is no folder {self.dump.parent}")
        if self.json and self.top:
            raise UserError("--top prints text: leave --json out")
        if self.ladder is not None and (self.json or self.dump or self.top):
            raise UserError("--ladder prints a table: leave --json, --top and --dump out")
