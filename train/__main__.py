"""`python -m train`: train agents on a store of expert games."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tyro

from data.command import deferred, exit_with, use_huge_pages
from train.config import TrainConfig
from train.presets import PRESETS, expand

app = tyro.extras.SubcommandApp()


@app.command
@deferred
def bc(config: tyro.conf.OmitArgPrefixes[TrainConfig]) -> None:
    """Behavioural cloning: learn what the expert does on each screen. The same command again goes on.

    `--preset NAME` first fills in known settings (`python -m train presets` lists them).
    """
    from train.loop import train

    train(config)


@app.command
@deferred
def presets() -> None:
    """Show the known settings: what they are for, and the options that each stands for."""
    for name, preset in PRESETS.items():
        print(f"{name}: {preset.about}\n  python -m train bc --store STORE --run RUN {preset.options}")


if __name__ == "__main__":
    use_huge_pages()
    exit_with(lambda: app.cli(prog="python -m train", args=expand(sys.argv[1:])))
