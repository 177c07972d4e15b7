"""`python -m data`: collect, import, view and check games of experts."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import tyro
from tyro.conf import Positional

from data.common.cli import CONFIG, UserError, exit_with, lazy_command, quoted
from data.common.rows import as_json
from data.games.registry import FAMILIES, module

if TYPE_CHECKING:
    from data.importers.base import Report

app = tyro.extras.SubcommandApp()
importers = tyro.extras.SubcommandApp()
app.command(importers, name="import", help="Import recorded games into a store.")


@dataclass(frozen=True)
class Importing:
    """Options of every importer."""

    expert: str | None = None
    """Who played, for the manifest of a new store. Default unknown."""
    dev_fraction: float | None = None
    """Fraction of the episodes of a new store that is held out in the dev split. Default 0.1."""
    dev_games: int | None = None
    """Instead of a fraction: number of episodes of a new store held out in the dev split, stratified by role and
    length. Games that are added later are in the train split."""
    workers: int | None = None
    """Number of worker processes. Default one per core."""
    strict: bool = False
    """Exit with code 1 if a recording of a game was damaged or could not be used."""

    def run(self, importer: "Callable[..., Report]", source: object, store: Path, **more: Any) -> int:
        """Import `source` into the store, print the report, and return the exit code. `more` are the importer's own."""
        report = importer(
            source,
            store,
            expert=self.expert,
            dev_fraction=self.dev_fraction,
            dev_games=self.dev_games,
            workers=self.workers,
            **more,
        )
        print(report)
        print(f"next: python -m data info {quoted(store)}")
        return int(self.strict and report.harmed > 0)


Options = Annotated[Importing, tyro.conf.arg(name="")]


@importers.command(name="nld")
@lazy_command
def import_nld(
    folder: Positional[Path],
    store: Positional[Path],
    options: Options = Importing(),
    allow_no_actions: bool = False,
    allow_unfinished: bool = False,
) -> int:
    """Import NetHack recordings of NLE with their xlogfiles, as in NLD-AA, and those of HiHack.

    Recordings that are damaged or hold no finished game are skipped and listed. Run again, after an interruption or
    with more recordings in the folder, the command adds what the store does not hold yet.

    Example: `python -m data import nld nld-aa/nle_data STORE --expert AutoAscend --dev-games 100`

    Args:
        folder: Folder with *.ttyrec*.bz2 files and xlogfiles beside them, at any depth.
        store: Folder of the store, new or existing.
        options: Options of every importer.
        allow_no_actions: Import NLD-NAO instead: recordings of alt.org (ttyrec version 1), which have screens but no
            key presses. The store can be viewed, but not used for training.
        allow_unfinished: Import recordings without a row in an xlogfile too: games that did not end, or lost theirs.
            Their score and character are read off the screen.
    """
    if allow_no_actions and allow_unfinished:
        raise UserError("give --allow-no-actions or --allow-unfinished: recordings of alt.org need their xlogfile")
    if allow_no_actions:
        from data.importers.nao import import_nao

        return options.run(import_nao, folder, store)
    from data.importers.nld import import_nld

    return options.run(import_nld, folder, store, allow_unfinished=allow_unfinished)


@importers.command(name="katakomba")
@lazy_command
def import_katakomba(paths: Positional[tuple[Path, ...]], options: Options = Importing()) -> int:
    """Import datasets of Katakomba: AutoAscend's games by role, race and alignment (Kurenkov et al., arXiv 2306.08772).

    Damaged games are skipped and listed. Run again, the command adds what the store does not hold yet.

    Example: `python -m data import katakomba data-mon-hum-neu.hdf5 STORE --expert AutoAscend`

    Args:
        paths: FILE… STORE: HDF5 files, or folders with them; last the folder of the store, new or existing.
        options: Options of every importer.
    """
    from data.importers.katakomba import import_katakomba

    if len(paths) < 2:
        raise UserError("name the files and the store: python -m data import katakomba FILE… STORE")
    return options.run(import_katakomba, paths[:-1], paths[-1])


@importers.command(name="parquet")
@lazy_command
def import_parquet(folder: Positional[Path], store: Positional[Path], game: str, options: Options = Importing()) -> int:
    """Import Atari episodes in Parquet, in the format of the code of Tuyls et al. (arXiv 2307.09423).

    Each episode is a folder with rollout.parquet (states: flattened stacks of four 84x84 frames; actions) and
    metadata.parquet (score, steps). Damaged episodes are skipped and listed. Run again, the command adds new episodes.

    Example: `python -m data import parquet episodes STORE --game BankHeist`

    Args:
        folder: Folder with a folder for each episode, at any depth.
        store: Folder of the store, new or existing.
        game: Atari game, for example Breakout or BankHeist.
        options: Options of every importer.
    """
    from data.importers.parquet import import_parquet

    return options.run(import_parquet, folder, store, game=game)


@importers.command(name="minari")
@lazy_command
def import_minari(folder: Positional[Path], store: Positional[Path], game: str, options: Options = Importing()) -> int:
    """Import the episodes of a Minari dataset, of an Atari game or a Gymnasium environment.

    Atari's observations may be stacked or single 84x84 frames, or full screens.

    Example: `python -m data import minari ~/.minari/datasets/atari/breakout/expert-v0 STORE --game Breakout`

    Args:
        folder: Folder of the dataset, as Minari stores it.
        store: Folder of the store, new or existing.
        game: Atari game, for example Breakout, or gym/ENV, for example gym/CartPole-v1.
        options: Options of every importer.
    """
    from data.importers.minari.dataset import import_minari

    return options.run(import_minari, folder, store, game=game)


@app.command
@lazy_command
def info(store: Positional[Path], png: Path | None = None, json: bool = False) -> None:
    """Summarise a store: episodes, splits, scores, actions, size, provenance.

    Example: `python -m data info STORE --png scores.png`

    Args:
        store: Folder of the store.
        png: Also draw the distribution of scores to this PNG file.
        json: Print one JSON object instead.
    """
    from data.view.info import draw_scores, facts, info

    print(as_json(facts(store)) if json else info(store))
    if png is not None:
        draw_scores(store, png)


@app.command
@lazy_command
def verify(store: Positional[Path], json: bool = False) -> int:
    """Check every byte of a store. Lists all damage and exits with code 1 if there is any.

    Example: `python -m data verify STORE`

    Args:
        store: Folder of the store.
        json: Print a JSON list of the damage instead.
    """
    from data.store.verify import verify

    faults = verify(store)
    print(as_json(faults) if json else "\n".join(faults) or f"{store} is whole")
    return int(bool(faults))


@app.command
@lazy_command
def play(
    store: Positional[Path],
    episode: str = "0",
    start: Annotated[int, tyro.conf.arg(name="from", aliases=["--start"])] = 0,
    steps: int | None = None,
    speed: float = 10.0,
    gif: Path | None = None,
) -> None:
    """Play back a game in the terminal, with the expert's actions. Ctrl-C ends it.

    Example: `python -m data play STORE --episode 3 --gif game.gif --from 900 --steps 200`

    Args:
        store: Folder of the store.
        episode: Number of the episode in the store, or a prefix of its id.
        start: First step to show.
        steps: Number of steps to show. Default all; in a GIF the first 500.
        speed: Steps per second.
        gif: Write a GIF to this file instead.
    """
    from data.view.play import play

    print(play(store, episode, start=start, steps=steps, speed=speed, gif=gif, out=sys.stdout))


@app.command
@lazy_command
def bench(folder: Positional[Path | None] = None, seconds: float = 4.0, rounds: int = 3, json: bool = False) -> None:
    """Benchmark reading and importing against Parquet and NLE's loader and converter; print the ratios.

    Example: `python -m data bench GAMES`

    Args:
        folder: NetHack recordings in NLE's layout: *.ttyrec*.bz2 and xlogfiles in subfolders. Default: measure Atari
            only, on random play of Breakout.
        seconds: Duration of each measurement.
        rounds: Number of measurements of each loader. Medians are reported.
        json: Print one JSON object instead.
    """
    from data.bench import bench_atari, bench_nethack, memory
    from data.common.comparison import report

    if not seconds > 0 or rounds < 1:
        raise UserError(f"--seconds {seconds:g} and --rounds {rounds}: give more than 0 seconds and at least 1 round")

    lines = chain(bench_nethack(folder, seconds, rounds) if folder else (), bench_atari(seconds, rounds))
    report(lines, as_json=json)
    if not json:
        print(memory())


def _add_collectors() -> None:
    """Add a subcommand of `collect` for each family of games."""
    collectors = tyro.extras.SubcommandApp()
    # Imported only for this command: environments take seconds to import.
    imported = sys.argv[1:2] == ["collect"]
    for family in FAMILIES:
        command = module("data.collect", family).command if imported else _unnamed
        collectors.command(name=family)(lazy_command(command))
    app.command(collectors, name="collect", help="Play games with an expert.")


def _unnamed() -> None:
    """Stand for a collector where the command line names another command."""


def main(prog: str = "python -m data") -> NoReturn:
    """Parse the command line, run the command and exit; `prog` is the program's name in help and errors."""
    _add_collectors()
    exit_with(lambda words: app.cli(prog=prog, description=__doc__, args=words, config=CONFIG), sys.argv[1:])


if __name__ == "__main__":
    main()
