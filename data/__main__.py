"""`python -m data`: play, import, look at and check expert games."""

import sys
from pathlib import Path
from typing import Literal

import tyro
from tyro.conf import Positional

from data.command import deferred, exit_with

app = tyro.extras.SubcommandApp()
importers = tyro.extras.SubcommandApp()
app.command(importers, name="import", help="Turn recorded games into a store.")


@app.command
@deferred
def collect(
    game: Positional[Literal["nethack"]],
    out: Positional[Path] = Path("games"),
    episodes: int = 100,
    workers: int | None = None,
    seed: int = 0,
    character: str = "mon-hum-neu-mal",
    max_steps: int = 5000,
    player: Literal["expert", "random"] = "expert",
) -> None:
    """Play seeded games and record them; started again after an interruption, go on where it stopped.

    Args:
        game: The game to play.
        out: Folder for the recordings; each game gets its own folder inside.
        episodes: Number of games. Games already in the folder count.
        workers: Processes that play; default one per core. Changes nothing about the games.
        seed: Game i is a function of (seed, i).
        character: Role-race-alignment-gender, for example val-dwa-law-fem; @ for one chosen by the seed.
        max_steps: Key presses after which a game is quit.
        player: Who plays: the embedded scripted expert, or uniformly random keys.
    """
    from data.collect import collect

    games = collect(
        game,
        out,
        episodes=episodes,
        workers=workers,
        seed=seed,
        character=character,
        max_steps=max_steps,
        player=player,
    )
    scores = sorted(game.score for game in games)
    steps = sum(game.steps for game in games)
    print(f"{len(games)} games, {steps:,} steps in {out}; median score {scores[len(scores) // 2]}")
    print(f"next: python -m data import nld {out} STORE --expert {player}")


@importers.command(name="nld")
@deferred
def import_nld(
    folder: Positional[Path],
    store: Positional[Path],
    expert: str | None = None,
    dev_fraction: float | None = None,
    workers: int | None = None,
    strict: bool = False,
) -> int:
    """Import NetHack recordings of NLE (ttyrec2, ttyrec3) with their xlogfiles, as in NLD-AA.

    Recordings that hold no finished game, or are damaged, are skipped, named and counted. Started again, whether
    after an interruption or with more recordings in the folder, it adds what the store does not hold yet.

    Args:
        folder: Folder with *.ttyrec*.bz2 files and xlogfiles beside them, at any depth.
        store: The store to write, or to add to.
        expert: Who played, for the manifest of a new store; default unknown.
        dev_fraction: Share of the games of a new store that is held out for measuring loss; default 0.1.
        workers: Processes that convert; default one per core.
        strict: Exit with 1 if a recording of a game was damaged or could not be used.
    """
    from data import nld

    report = nld.import_nld(folder, store, expert=expert, dev_fraction=dev_fraction, workers=workers)
    print(report)
    return int(strict and report.harmed > 0)


@app.command
@deferred
def info(store: Positional[Path], png: Path | None = None) -> None:
    """Show what a store holds: games, split, scores, actions, size, provenance.

    Args:
        store: Folder of the store.
        png: Also draw the distribution of scores into this file.
    """
    from data.info import draw_scores, info

    print(info(store))
    if png is not None:
        draw_scores(store, png)


@app.command
@deferred
def verify(store: Positional[Path]) -> int:
    """Check every byte of a store; exit with 1 and name what is damaged.

    Args:
        store: Folder of the store.
    """
    from data.verify import verify

    faults = verify(store)
    print("\n".join(faults) or f"{store} is whole")
    return int(bool(faults))


@app.command
@deferred
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
    from data.play import play

    print(play(store, episode, start=start, steps=steps, speed=speed, gif=gif, out=sys.stdout))


@app.command
@deferred
def bench(folder: Positional[Path], seconds: float = 4.0, rounds: int = 3) -> None:
    """Measure the data layer beside NLE's own loader and converter, on one's own games; print the ratios.

    Args:
        folder: Folder of recordings in NLE's layout: *.ttyrec*.bz2 and xlogfiles one folder down.
        seconds: How long each loader runs at a time.
        rounds: How often each loader runs; medians count.
    """
    from data.bench import bench, memory

    print(f"{'what (beside what)':44} {'ours':>12} {'theirs':>12} {'unit':14} {'ratio':>8} goal")
    for line in bench(folder, seconds, rounds):
        print(line, flush=True)
    print(memory())


if __name__ == "__main__":
    exit_with(lambda: app.cli(prog="python -m data", description=__doc__))
