"""`python -m train`: train agents on a store of expert games."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tyro

from data.command import exit_with, use_huge_pages
from train.config import TrainConfig

app = tyro.extras.SubcommandApp()


@app.command
def bc(config: tyro.conf.OmitArgPrefixes[TrainConfig]) -> None:
    """Behavioural cloning: learn what the expert does on each screen. The same command again goes on."""
    from train.loop import train

    train(config)


@app.command
def presets() -> None:
    """Print the known settings, each with its command and what to expect."""
    print("paper")


if __name__ == "__main__":
    use_huge_pages()
    exit_with(lambda: app.cli(prog="python -m train"))
