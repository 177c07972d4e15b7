"""`python -m train`: train agents on expert games, or experts by reinforcement learning."""

import math
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tyro

from agents.overrides import fold
from data.common.cli import CONFIG, exit_with, lazy_command, quoted, use_huge_pages
from data.common.rows import as_json
from train.bench.config import BenchConfig
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

    Example: `python -m train bc --store STORE --run RUN --agent nethack/lstm/64 --flops 1e12 3e12`

    Most used: --lanes, --window, --lr, --schedule, --population, --compute, --roles, --min-score.
    """
    from agents.cpu.devices import spread_over_cores
    from agents.ladder import find
    from train.hosts.agree import first
    from train.hosts.start import start
    from train.loop import train
    from train.population.members import members_of

    if config.deterministic:
        use_deterministic_kernels()
    members = members_of(config)
    if not start(hosts, config.run) and (config.population or not find(config.agent).recurrent):
        spread_over_cores(math.gcd(config.lanes, len(members)) if config.population else config.lanes)
    train(config)
    if first() and not config.population:
        print(f"next: python -m eval {quoted(config.run)}")


@app.command
@lazy_command
def sweep() -> None:
    """Train a family of agents through compute budgets, evaluate them, and write one table. See laws/README.md."""
    raise AssertionError("parsed by laws.sweep.command, which imports JAX")


@app.command
@lazy_command
def rl(config: tyro.conf.OmitArgPrefixes[RlConfig]) -> None:
    """Reinforcement learning of an expert for an Atari game, by PPO. Started again, the same command resumes.

    Example: `python -m train rl --game Breakout --run EXPERT`
    """
    from agents.cpu.devices import spread_over_cores
    from train.rl.loop import minibatch_parts, train_expert

    if config.deterministic:
        use_deterministic_kernels()
    spread_over_cores(minibatch_parts(config))
    train_expert(config)


@app.command
@lazy_command
def bench(config: tyro.conf.OmitArgPrefixes[BenchConfig] = BenchConfig()) -> None:  # noqa: B008 frozen
    """Compare the training speed of agents with that of the same networks in plain PyTorch.

    Ours is measured from the store to the updated parameters. PyTorch trains on batches that are in memory already.
    `--members N` compares a population of N runs with one run alone, in samples/s of all runs together.

    Example: `python -m train bench --game nethack --store STORE`
    """
    from agents.cpu.devices import spread_over_cores
    from data.common.comparison import report
    from train.bench.compare import bench as compare

    if config.members > 1 or config.setting.order == "windows":
        spread_over_cores(config.lanes)
    report(compare(config), as_json=config.json)


@app.command(name="compile")
@lazy_command
def compile_(config: tyro.conf.OmitArgPrefixes[CompileConfig]) -> None:
    """What a training step costs on a TPU slice or GPUs that need not be here, by compiling it for them.

    Example: `python -m train compile --target v5e:4x4 --agent nethack/lstm/256 --lanes 256`
    """
    from train.compile.report import run

    run(config)


@app.command
@lazy_command
def presets(json: bool = False) -> None:
    """Print the presets: their purpose, and the options that each stands for.

    Example: `python -m train presets`

    Args:
        json: Print a JSON list instead.
    """
    from laws.design.presets import PRESETS as SWEEPS

    commands = {
        "python -m train bc --store STORE --run RUN": PRESETS,
        "python -m train sweep FOLDER --store STORE": SWEEPS,
    }
    found = [
        {"name": name, "about": preset.about, "command": f"{command} {preset.options}"}
        for command, presets in commands.items()
        for name, preset in presets.items()
    ]
    if json:
        print(as_json(found))
        return
    for preset in found:
        print("{name}: {about}\n  {command}".format(**preset))


def _parsed(words: list[str], prog: str) -> Callable[[], Any]:
    if words[:1] == ["sweep"]:
        from laws.sweep.command import parsed

        return parsed(words, f"{prog} sweep")
    return app.cli(prog=prog, args=fold(expand(words)), config=CONFIG)


def main(prog: str = "python -m train") -> NoReturn:
    """Parse the command line, run the command and exit; `prog` is the program's name in help and errors."""
    use_huge_pages()
    keep_programs()
    with leaving():
        exit_with(lambda words: _parsed(words, prog), sys.argv[1:])


if __name__ == "__main__":
    main()
