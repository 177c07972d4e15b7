"""`python -m train`: train agents on expert games, or experts by reinforcement learning."""

import math
import os
import sys
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tyro

from agents.overrides import fold
from data.common.cli import UserError, exit_with, lazy_command, use_huge_pages
from train.compile.cache import keep_programs
from train.compile.config import CompileConfig
from train.config import TrainConfig
from train.failure.determinism import use_deterministic_kernels
from train.hosts.leave import leaving
from train.hosts.options import Hosts
from train.presets import PRESETS, expand
from train.rl.config import RlConfig

app = tyro.extras.SubcommandApp()


@app.command
@lazy_command
def bc(
    config: tyro.conf.OmitArgPrefixes[TrainConfig],
    hosts: tyro.conf.OmitArgPrefixes[Hosts] = Hosts(),  # noqa: B008 frozen
) -> None:
    """Behavioural cloning of the games in a store. Started again, the same command resumes.

    `--preset NAME` stands for a set of options (`python -m train presets` lists them).
    """
    from agents.cpu.devices import spread_over_cores
    from agents.ladder import find
    from train.hosts.start import start
    from train.loop import train
    from train.population.members import members_of

    if config.deterministic:
        use_deterministic_kernels()
    members = members_of(config)
    if not start(hosts, config.run) and (config.population or not find(config.agent).recurrent):
        spread_over_cores(math.gcd(config.lanes, len(members)) if config.population else config.lanes)
    train(config)


@app.command
@lazy_command
def rl(config: tyro.conf.OmitArgPrefixes[RlConfig]) -> None:
    """Reinforcement learning of an expert for an Atari game, by PPO. Started again, the same command resumes."""
    from agents.cpu.devices import spread_over_cores
    from train.rl.loop import minibatch_parts, train_expert

    if config.deterministic:
        use_deterministic_kernels()
    spread_over_cores(minibatch_parts(config))
    train_expert(config)


@app.command
@lazy_command
def bench(
    game: str = "Breakout",
    widths: tuple[int, ...] = (3, 13, 50, 167),
    batch: int = 256,
    seconds: float = 4.0,
    rounds: int = 3,
    store: Path | None = None,
) -> None:
    """Compare the training speed of the paper's Atari networks with a plain PyTorch loop.

    Args:
        game: Name of the Atari game.
        widths: Widths w of the networks.
        batch: Samples per optimiser step.
        seconds: Seconds of each measurement.
        rounds: Number of measurements, of which the median is printed.
        store: Store to learn from; by default a few games of random play.
    """
    from agents.cpu.devices import spread_over_cores
    from data.common.comparison import HEADER
    from train.bench import WINDOW, bench

    if not seconds > 0 or rounds < 1 or batch < 1 or not widths or min(widths) < 1:
        raise UserError("--seconds, --rounds, --batch and --widths: give more than 0 of each")
    spread_over_cores(batch // WINDOW)
    for number, line in enumerate(bench(game, widths, batch, seconds, rounds, store)):
        print(line if number else f"{HEADER}\n{line}", flush=True)


@app.command(name="compile")
@lazy_command
def compile_(config: tyro.conf.OmitArgPrefixes[CompileConfig]) -> None:
    """What a training step costs on a TPU slice or GPUs that need not be here, by compiling it for them."""
    from train.compile.report import run

    run(config)


@app.command
@lazy_command
def presets() -> None:
    """Print the presets: their purpose, and the options that each stands for."""
    for name, preset in PRESETS.items():
        print(f"{name}: {preset.about}\n  python -m train bc --store STORE --run RUN {preset.options}")


def main(prog: str = "python -m train") -> NoReturn:
    """Parse the command line, run the command and exit; `prog` is the program's name in help and errors."""
    use_huge_pages()
    keep_programs()
    with leaving():
        exit_with(lambda: app.cli(prog=prog, args=fold(expand(sys.argv[1:]))))


if __name__ == "__main__":
    main()
