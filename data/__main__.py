"""`python -m data`: play, import, look at and check expert games."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import tyro
from tyro.conf import Positional

from data.common.cli import UserError, exit_with, lazy_command
from data.games.registry import FAMILIES, module

if TYPE_CHECKING:
    from data.importers.base import Report

app = tyro.extras.SubcommandApp()
importers = tyro.extras.SubcommandApp()
app.command(importers, name="import", help="Turn recorded games into a store.")


@dataclass(frozen=True)
class Importing:
    """What every importer has."""

    expert: str | None = None
    """Who played, for the manifest of a new store; default unknown."""
    dev_fraction: float | None = None
    """Share of the episodes of a new store that is held out for measuring loss; default 0.1."""
    workers: int | None = None
    """Processes that convert; default one per core."""
    strict: bool = False
    """Exit with 1 if a recording of a game was damaged or could not be used."""

    def run(self, importer: "Callable[..., Report]") -> int:
        """Import, print the report, return the exit code."""
        report = importer(expert=self.expert, dev_fraction=self.dev_fraction, workers=self.workers)
        print(report)
        return int(self.strict and report.harmed > 0)


Options = Annotated[Importing, tyro.conf.arg(name="")]


@importers.command(name="nld")
@lazy_command
def import_nld(
    folder: Positional[Path],
    store: Positional[Path],
    options: Options = Importing(),
    allow_no_actions: bool = False,
) -> int:
    """Import NetHack recordings of NLE (ttyrec2, ttyrec3) with their xlogfiles, as in NLD-AA.

    Recordings that hold no finished game, or are damaged, are skipped, named and counted. Started again, whether
    after an interruption or with more recordings in the folder, it adds what the store does not hold yet.

    Args:
        folder: Folder with *.ttyrec*.bz2 files and xlogfiles beside them, at any depth.
        store: The store to write, or to add to.
        options: What every importer has.
        allow_no_actions: Import NLD-NAO instead, recordings of alt.org (ttyrec version 1) that hold screens but no
            keys: a store to look at, with nothing to imitate.
    """
    if allow_no_actions:
        from data.importers.nao import import_nao

        return options.run(partial(import_nao, folder, store))
    from data.importers.nld import import_nld

    return options.run(partial(import_nld, folder, store))


@importers.command(name="parquet")
@lazy_command
def import_parquet(folder: Positional[Path], store: Positional[Path], game: str, options: Options = Importing()) -> int:
    """Import Atari episodes in Parquet, as the paper's code writes them: a folder each, with states and actions.

    Each folder holds rollout.parquet (states: flattened stacks of four 84×84 frames; actions) and metadata.parquet
    (score, steps). Episodes that are damaged are skipped, named and counted. Started again, it adds what is new.

    Args:
        folder: Folder with a folder for each episode, at any depth.
        store: The store to write, or to add to.
        game: The Atari game, for example Breakout or BankHeist.
        options: What every importer has.
    """
    from data.importers.parquet import import_parquet

    return options.run(partial(import_parquet, folder, store, game=game))


@importers.command(name="minari")
@lazy_command
def import_minari(folder: Positional[Path], store: Positional[Path], game: str, options: Options = Importing()) -> int:
    """Import the Atari episodes of a Minari dataset: stacked or single frames of 84×84, or whole screens.

    Args:
        folder: Folder of the dataset, as Minari keeps it.
        store: The store to write, or to add to.
        game: The Atari game, for example Breakout or BankHeist.
        options: What every importer has.
    """
    from data.importers.minari import import_minari

    return options.run(partial(import_minari, folder, store, game=game))


@app.command
@lazy_command
def info(store: Positional[Path], png: Path | None = None) -> None:
    """Show what a store holds: games, split, scores, actions, size, provenance.

    Args:
        store: Folder of the store.
        png: Also draw the distribution of scores into this file.
    """
    from data.view.info import draw_scores, info

    print(info(store))
    if png is not None:
        draw_scores(store, png)


@app.command
@lazy_command
def verify(store: Positional[Path]) -> int:
    """Check every byte of a store; exit with 1 and name what is damaged.

    Args:
        store: Folder of the store.
    """
    from data.store.verify import verify

    faults = verify(store)
    print("\n".join(faults) or f"{store} is whole")
    return int(bool(faults))


@app.command
@lazy_command
def play(
    store: Positional[Path],
    episode: str = "0",
    start: int = 0,
    steps: int | None = None,
    speed: float = 10.0,
    gif: Path | None = None,
) -> None:
    """Show a recorded game in the terminal, with the expert's keys; Ctrl-C ends it.

    Args:
        store: Folder of the store.
        episode: Number of the game in the store, or the beginning of its id.
        start: First step to show.
        steps: How many steps to show; default all.
        speed: Steps per second.
        gif: Write a GIF there instead.
    """
    from data.view.play import play

    print(play(store, episode, start=start, steps=steps, speed=speed, gif=gif, out=sys.stdout))


@app.command
@lazy_command
def bench(folder: Positional[Path | None] = None, seconds: float = 4.0, rounds: int = 3) -> None:
    """Measure the data layer beside Parquet and NLE's own loader and converter; print the ratios.

    Args:
        folder: Recordings in NLE's layout, *.ttyrec*.bz2 and xlogfiles one folder down; default Atari alone, which
            is played for the purpose.
        seconds: How long each loader runs at a time.
        rounds: How often each loader runs; medians count.
    """
    from data.bench import bench_atari, bench_nethack, memory
    from data.common.comparison import HEADER

    if not seconds > 0 or rounds < 1:
        raise UserError(f"--seconds {seconds:g} and --rounds {rounds}: give more than 0 seconds and at least 1 round")

    print(HEADER)
    for line in chain(bench_nethack(folder, seconds, rounds) if folder else (), bench_atari(seconds, rounds)):
        print(line, flush=True)
    print(memory())


def _add_collectors() -> None:
    """A subcommand of `collect` for each family of games."""
    collectors = tyro.extras.SubcommandApp()
    # What plays the games takes seconds to import, so that other commands only hear of the name.
    for family in FAMILIES if sys.argv[1:2] == ["collect"] else ():
        collectors.command(name=family)(lazy_command(module("data.collect", family).command))
    app.command(collectors, name="collect", help="Let experts play.")


def main(prog: str = "python -m data") -> NoReturn:
    """Parse the command line, run the command and exit; `prog` is the program's name in help and errors."""
    _add_collectors()
    exit_with(lambda: app.cli(prog=prog, description=__doc__))


if __name__ == "__main__":
    main()
