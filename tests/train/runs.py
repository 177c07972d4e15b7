"""Small runs of behavioural cloning."""

from pathlib import Path

from agents.ladder import find
from train.config import Optimizer, TrainConfig

AGENT = "nethack/lstm/16"
LANES, WINDOW = 8, 8
STEP = find(AGENT).cost(WINDOW).train_flops("exact") * LANES * WINDOW
"""FLOPs of one optimiser step."""


def config(store: Path, run: Path, steps: tuple[int, ...] = (4, 12), **changes) -> TrainConfig:
    optimizer = Optimizer(lr=3e-3, schedule="cosine")
    defaults = {"lanes": LANES, "window": WINDOW, "log_every": 3, "optimizer": optimizer}
    return TrainConfig(
        store=store,
        run=run,
        agent=AGENT,
        flops=tuple(float(step * STEP) for step in steps),
        **{**defaults, **changes},
    )
