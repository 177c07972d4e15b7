"""`python -m data.experts`: compare the embedded NetHack expert with the random policy on the same seeded games."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from data.common.cli import run
from data.common.rows import as_json, as_record
from data.games import registry


@dataclass(frozen=True)
class Player:
    """How a player did in its games."""

    player: str
    score_mean: float
    score_low: float
    score_high: float
    """95 % percentile bootstrap interval of the mean score."""
    score_median: float
    depth_mean: float
    """Deepest level reached, mean."""
    steps_mean: float
    died: int
    left: int
    """Games that ended by leaving: escaped, or quit."""
    capped: int
    """Games that the limit of steps ended."""
    steps_per_s: float

    def __str__(self) -> str:
        """One line of the table."""
        return (
            f"{self.player:<8}{self.score_mean:9,.1f}  {self.score_low:7,.1f} to {self.score_high:7,.1f}"
            f"{self.score_median:8,.0f}{self.depth_mean:6.1f}{self.steps_mean:8,.0f}{self.died:6}{self.left:6}"
            f"{self.capped:7}"
        )


HEADER = (
    f"{'player':<8}{'mean score':>9}  {'95 % interval':>17}{'median':>8}{'depth':>6}{'steps':>8}  died  left capped"
)


def compare(
    games: int = 50,
    workers: int | None = None,
    seed: int = 0,
    character: str = "mon-hum-neu-mal",
    max_steps: int = 5000,
    json: bool = False,
) -> None:
    """Play the same seeded games with each player and print a table of results.

    Example: `python -m data.experts --games 50`

    Args:
        games: Number of games per player.
        workers: Number of processes that play; default one per core.
        seed: Seed; game i depends only on (seed, i).
        character: Role-race-alignment-gender; @ selects one by the seed.
        max_steps: Limit on the key presses of a game, after which it is quit.
        json: Print one JSON object per player, in an array, with steps per second.
    """
    played = list[Player]()
    if not json:
        print(HEADER)
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
        played.append(summary(player, results, max_steps, seconds))
        if not json:
            print(played[-1], flush=True)
    if json:
        print(as_json([as_record(player) for player in played]))


def summary(player: str, results: Sequence[Any], max_steps: int, seconds: float) -> Player:
    """Summarise the games of a player, which it played in so many seconds."""
    score = np.array([result.score for result in results], np.float64)
    steps = np.array([result.steps for result in results])
    capped = sum(result.steps >= max_steps for result in results)
    left = sum(result.steps < max_steps and result.end in ("quit", "escaped") for result in results)
    return Player(
        player,
        float(score.mean()),
        *bootstrap_interval(score),
        float(np.median(score)),
        float(np.mean([result.depth for result in results])),
        float(steps.mean()),
        len(results) - capped - left,
        left,
        capped,
        float(steps.sum() / seconds),
    )


def bootstrap_interval(score: np.ndarray, resamples: int = 10_000) -> tuple[float, float]:
    """Compute the 95 % percentile bootstrap interval of the mean of float64 scores, [games]."""
    means = np.random.default_rng(0).choice(score, (resamples, score.size)).mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


if __name__ == "__main__":
    run(compare, "python -m data.experts")
