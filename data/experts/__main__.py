"""`python -m data.experts`: compare the embedded NetHack expert with the random policy on the same seeded games."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from data.common.cli import run
from data.games import registry


def compare(
    games: int = 50,
    workers: int | None = None,
    seed: int = 0,
    character: str = "mon-hum-neu-mal",
    max_steps: int = 5000,
) -> None:
    """Play the same seeded games with each player and print a table of results.

    Example: `python -m data.experts --games 50`

    Args:
        games: Number of games per player.
        workers: Number of processes that play; default one per core.
        seed: Seed; game i depends only on (seed, i).
        character: Role-race-alignment-gender; @ selects one by the seed.
        max_steps: Limit on the key presses of a game, after which it is quit.
    """
    print("player   mean score [95 % interval]   median   depth   steps   died   left capped   steps/s")
    for player in ("expert", "random"):
        with TemporaryDirectory() as folder:
            start = time.perf_counter()
            results = registry.module("data.collect", "nethack").collect(
                Path(folder),
                episodes=games,
                workers=workers,
                seed=seed,
                character=character,
                max_steps=max_steps,
                player=player,
            )
            seconds = time.perf_counter() - start
        print(row(player, results, max_steps, seconds), flush=True)


def row(player: str, results: Sequence[Any], max_steps: int, seconds: float) -> str:
    """Format one line of the table, with counts of games ended by death, by leaving, and by the step limit."""
    score = np.array([result.score for result in results], np.float64)
    steps = np.array([result.steps for result in results])
    low, high = bootstrap_interval(score)
    depth = np.mean([result.depth for result in results])
    capped = sum(result.steps >= max_steps for result in results)
    left = sum(result.steps < max_steps and result.end in ("quit", "escaped") for result in results)
    return (
        f"{player:<8} {score.mean():8.1f} [{low:7.1f}, {high:7.1f}] {np.median(score):10.1f} {depth:7.1f}"
        f" {steps.mean():7.0f} {len(results) - capped - left:6} {left:6} {capped:6}"
        f" {steps.sum() / seconds:9.0f}"
    )


def bootstrap_interval(score: np.ndarray, resamples: int = 10_000) -> tuple[float, float]:
    """Compute the 95 % percentile bootstrap interval of the mean of float64 scores, [games]."""
    means = np.random.default_rng(0).choice(score, (resamples, score.size)).mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


if __name__ == "__main__":
    run(compare, "python -m data.experts")
